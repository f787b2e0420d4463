//! Many texts at once on the device: each has the bits that it has alone there.

use crate::{
    emulator::Emulator,
    rig::Random,
    scheduling_rig::{alone, bits, drawn, params, request, scheduler, together},
};
use halfwarp::{Engine, Weights, backend::cuda::CudaBackend, engine::GenerateParams};

/// A model of one layer and 128 positions, with room for `n_contexts` full texts.
fn engine(n_contexts: usize) -> Engine {
    let json = br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_head": 3,
        "n_embd": 72, "n_positions": 128, "vocab_size": 517, "layer_norm_epsilon": 1e-5}"#;
    let weights = Weights::random(halfwarp::family::parse_config(json).unwrap(), 11);
    let backend =
        CudaBackend::open(0, &weights, n_contexts * 128, &mut |_, _| std::ops::ControlFlow::Continue(()))
            .unwrap();
    Engine::new(Box::new(backend), None, n_contexts * 128).unwrap()
}

/// Prompts of many lengths, drawn and greedy, with their log-probabilities or drawn on the device.
fn cases() -> Vec<(Vec<u32>, GenerateParams)> {
    let mut random = Random(4);
    let lengths = [3, 75, 40, 64, 1, 40];
    let case = |(i, n_prompt): (usize, &usize)| {
        let n_new = 4 + 3 * i;
        let mut params = if i % 2 == 0 { params(n_new) } else { drawn(n_new, i as u64) };
        if i >= 4 {
            params.logprobs = None;
        }
        (random.tokens(*n_prompt), params)
    };
    lengths.iter().enumerate().map(case).collect()
}

#[test]
fn texts_together_are_the_same_bits_as_alone() {
    for arch in [75, 90] {
        let emulator = Emulator::checked(arch);
        let engine = engine(4);
        let expected: Vec<_> =
            cases().iter().map(|(ids, params)| bits(&alone(&engine, ids, params))).collect();
        let scheduler = scheduler(&engine, 4, 32);
        // The second time, prompts are found in the pages that the first time left.
        for n_reused in [0, 64 + 32 + 32 + 32] {
            let before = scheduler.load().n_reused_tokens;
            let requests = cases().iter().map(|(ids, params)| request(ids, params)).collect();
            for (i, result) in together(&scheduler, requests).into_iter().enumerate() {
                assert_eq!(bits(&result.unwrap()), expected[i], "sm_{arch}, text {i}");
            }
            assert_eq!(scheduler.load().n_reused_tokens - before, n_reused, "sm_{arch}");
        }
        drop((scheduler, engine));
        emulator.assert_clean();
    }
}

/// Texts that are computed again after they had to wait: the prompt as a prompt, the rest as generated.
#[test]
fn preempted_texts_are_the_same_bits_as_alone() {
    let emulator = Emulator::checked(90);
    let engine = engine(1);
    let mut random = Random(5);
    let cases: Vec<_> = (0..3).map(|i| (random.tokens(38 + i), drawn(40, i as u64))).collect();
    let expected: Vec<_> = cases.iter().map(|(ids, params)| bits(&alone(&engine, ids, params))).collect();
    let scheduler = scheduler(&engine, 3, 32);
    let requests = cases.iter().map(|(ids, params)| request(ids, params)).collect();
    for (i, result) in together(&scheduler, requests).into_iter().enumerate() {
        assert_eq!(bits(&result.unwrap()), expected[i], "text {i}");
    }
    assert!(scheduler.load().n_preempted > 0, "128 tokens of cache for 3 texts of 80");
    drop((scheduler, engine));
    emulator.assert_clean();
}
