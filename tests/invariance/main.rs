//! A sequence's logits are the same bits whatever runs beside it, however it was cut into calls, whatever was cached, and
//! on any number of threads. Logits are compared as bits, not as text: a small model's text hides small differences.
//!
//! The number of trials is small here; `cargo test --test invariance -- --ignored` runs the full counts, and GPT-2 124M's shape.

mod mixes;
mod rig;

use halfwarp::{
    Engine, Weights,
    backend::cpu::{CpuBackend, simd::Isa},
    batch::{Batch, Rows},
    engine::GenerateParams,
    sampler::SamplingParams,
};
use rig::{Random, Rig, assert_same, model};
use std::{process::Command, sync::Arc};

#[test]
fn repeating_a_call_gives_the_same_bits() {
    repeat(20);
}

#[test]
#[ignore = "slow: 250 repetitions"]
fn repeating_a_call_gives_the_same_bits_250_times() {
    repeat(250);
}

fn repeat(n_times: usize) {
    let weights = model();
    let ids = Random(1).tokens(300);
    let expected = Rig::new(&weights, 1).all(&ids);
    let mut rig = Rig::new(&weights, 3);
    for _ in 0..n_times {
        assert_same(&rig.all(&ids), &expected, "the same call again");
    }
}

#[test]
fn another_process_gives_the_same_bits() {
    let run = || {
        let args = ["--exact", "prints_a_hash_of_logits", "--include-ignored", "--nocapture"];
        let output = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let at = text.find("hash ").unwrap_or_else(|| panic!("no hash in {text}"));
        text[at..][..21].to_string()
    };
    let first = run();
    for _ in 0..3 {
        assert_eq!(run(), first);
    }
}

#[test]
#[ignore = "only a part of another_process_gives_the_same_bits"]
fn prints_a_hash_of_logits() {
    let logits = Rig::new(&model(), 2).all(&Random(2).tokens(100));
    let hash = logits.iter().fold(0_u64, |h, v| (h ^ v.to_bits() as u64).wrapping_mul(0x100_0000_01b3));
    println!("hash {hash:016x}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let weights = model();
    let ids = Random(3).tokens(150);
    for isa in Isa::available() {
        let expected = Rig::with_isa(&weights, 1, isa).all(&ids);
        for n_threads in [2, 3, 4, 9] {
            let mut rig = Rig::with_isa(&weights, n_threads, isa);
            assert_same(&rig.all(&ids), &expected, &format!("{isa}, {n_threads} threads, prefill"));
            assert_same(&rig.chunked(&ids, 1), &expected, &format!("{isa}, {n_threads} threads, decode"));
        }
    }
}

#[test]
fn any_cut_of_the_prompt_gives_the_same_bits() {
    let weights = model();
    // Longer than one micro-batch of the backend.
    let ids = Random(4).tokens(600);
    for isa in Isa::available() {
        let mut rig = Rig::with_isa(&weights, 2, isa);
        let expected = rig.all(&ids);
        for len in [1, 7, 32, 64, 513] {
            assert_same(&rig.chunked(&ids, len), &expected, &format!("{isa}, chunks of {len}"));
        }
    }
}

#[test]
fn asking_for_fewer_rows_gives_the_same_bits() {
    let weights = model();
    let ids = Random(5).tokens(90);
    let mut rig = Rig::new(&weights, 2);
    let expected = rig.all(&ids);
    let n_vocab = weights.config.n_vocab;
    let seq = rig.cache.open();
    assert!(rig.forward(&Batch::one(seq, &ids[..40], Rows::None)).is_empty());
    let last = rig.forward(&Batch::one(seq, &ids[40..], Rows::Last));
    assert_same(&last, &expected[89 * n_vocab..], "the last row alone");
}

#[test]
fn a_cached_prefix_gives_the_same_bits() {
    let weights = model();
    let mut random = Random(6);
    let (ids, other) = (random.tokens(560), random.tokens(560));
    let n_vocab = weights.config.n_vocab;
    let mut rig = Rig::new(&weights, 2);
    let expected = rig.all(&ids);
    for n_shared in [0, 1, 31, 32, 64, 500] {
        let source = rig.cache.open();
        rig.forward(&Batch::one(source, &ids, Rows::None));
        let fork = rig.cache.fork(source, n_shared).unwrap();
        let n_cached = rig.cache.tokens(fork).unwrap().len();
        assert!(
            n_cached <= n_shared && n_shared - n_cached < 32,
            "{n_cached} of {n_shared} tokens are shared"
        );
        let y = rig.forward(&Batch::one(fork, &ids[n_cached..], Rows::All));
        assert_same(&y, &expected[n_cached * n_vocab..], &format!("a fork of {n_shared} tokens"));
        rig.cache.release(source).unwrap();

        // Another text after the prefix, cut off again: a rewind.
        rig.cache.truncate(fork, n_shared).unwrap();
        rig.forward(&Batch::one(fork, &other[..60.min(640 - n_shared)], Rows::None));
        let n_cached = rig.cache.truncate(fork, n_shared).unwrap();
        let y = rig.forward(&Batch::one(fork, &ids[n_cached..], Rows::All));
        assert_same(&y, &expected[n_cached * n_vocab..], &format!("a rewind to {n_shared} tokens"));
        rig.cache.release(fork).unwrap();
    }
}

#[test]
fn pages_that_another_text_left_behind_are_never_read() {
    let weights = model();
    let mut random = Random(7);
    let (long, short) = (random.tokens(600), random.tokens(5));
    let expected = Rig::new(&weights, 2).all(&short);
    let mut rig = Rig::new(&weights, 2);
    // In debug builds the backend fills every page with NaN when a sequence gets it.
    rig.all(&long);
    assert_same(&rig.all(&short), &expected, "5 tokens where 600 were");
    assert_same(&rig.chunked(&short, 1), &expected, "5 tokens where 600 were, one by one");
}

/// Sampled token ids of four answers to one prompt.
fn answers(engine: &Engine, interleaved: bool) -> Vec<Vec<u32>> {
    let params = |choice| GenerateParams {
        sampling: SamplingParams { temperature: 0.8, seed: 5, choice, ..SamplingParams::default() },
        max_tokens: Some(20),
        ignore_eos: true,
        ..GenerateParams::default()
    };
    let mut sessions: Vec<_> = (0..4).map(|_| engine.session()).collect();
    let mut generations: Vec<_> = sessions
        .iter_mut()
        .enumerate()
        .map(|(i, s)| s.generate(vec![1, 2, 3], &params(i as u32)).unwrap())
        .collect();
    if interleaved {
        for _ in 0..20 {
            generations.iter_mut().for_each(|g| drop(g.next().unwrap().unwrap()));
        }
    }
    generations
        .into_iter()
        .map(|mut g| {
            g.by_ref().for_each(|s| drop(s.unwrap()));
            g.into_completion().token_ids
        })
        .collect()
}

#[test]
fn several_answers_are_the_same_together_and_one_by_one() {
    let backend = CpuBackend::new(model(), Some(2));
    let engine = Engine::new(Box::new(backend), None, 4096).unwrap();
    let expected = answers(&engine, false);
    assert!(expected.iter().all(|ids| ids.len() == 20) && expected[0] != expected[1], "{expected:?}");
    assert_eq!(answers(&engine, true), expected);
}

#[test]
#[ignore = "slow: GPT-2 124M's shape"]
fn gpt2_gives_the_same_bits_in_any_cut_and_on_any_threads() {
    let json = br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 12, "n_head": 12,
        "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5}"#;
    let weights = Arc::new(Weights::random(halfwarp::family::parse_config(json).unwrap(), 1));
    let ids: Vec<u32> = (1000..1256).collect();
    let expected = Rig::new(&weights, 1).all(&ids);
    for n_threads in [2, 4] {
        let mut rig = Rig::new(&weights, n_threads);
        for len in [1, 7, 64, 256] {
            assert_same(&rig.chunked(&ids, len), &expected, &format!("{n_threads} threads, chunks of {len}"));
        }
    }
}
