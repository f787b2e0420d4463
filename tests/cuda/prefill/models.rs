//! A prompt's logits are the same bits however it is cut, and whatever else is in the batch.

use super::ARCHS;
use crate::{
    emulator::Emulator,
    rig::{Random, Rig, assert_same, model},
};
use halfwarp::{
    Weights,
    backend::cuda::CudaBackend,
    batch::SeqId,
    batch::{Batch, Phase, Rows},
};

fn rig(weights: &Weights) -> Rig {
    Rig::of(Box::new(
        CudaBackend::open(0, weights, 4096, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap(),
    ))
}

#[test]
fn a_prompt_in_chunks_is_the_whole_prompt() {
    let weights = model();
    let n_vocab = weights.config.n_vocab;
    let ids = Random(1).tokens(150);
    for arch in ARCHS {
        let emulator = Emulator::checked(arch);
        let mut rig = rig(&weights);
        let whole = rig.all(&ids);
        assert_same(&rig.chunked(&ids[..35], 1), &whole[..35 * n_vocab], &format!("sm_{arch}, one by one"));
        for len in [7, 32, 100] {
            assert_same(&rig.chunked(&ids, len), &whole, &format!("sm_{arch}, {len} tokens a call"));
        }
        drop(rig);
        emulator.assert_clean();
    }
}

/// Where tensor cores truncate, a masked key's weight of zero must not count for the exponent that a sum is aligned to: the published
/// models of them agree that it does not.
#[test]
fn a_prompt_in_chunks_is_the_whole_prompt_when_sums_are_truncated() {
    let weights = model();
    let ids = Random(5).tokens(110);
    let emulator = Emulator::checked(80);
    for arch in [75, 80, 90] {
        emulator.reset(&format!(r#"{{"arch": {arch}, "jitter": 4, "check": true, "quiet": true}}"#));
        let mut rig = rig(&weights);
        let whole = rig.all(&ids);
        for len in [7, 33] {
            assert_same(&rig.chunked(&ids, len), &whole, &format!("sm_{arch}, {len} tokens a call"));
        }
        drop(rig);
        emulator.assert_clean();
    }
}

/// Passes are of 512 tokens: a batch is cut within a sequence, and between others.
#[test]
fn a_batch_of_more_tokens_than_a_pass_is_each_sequence_alone() {
    let emulator = Emulator::checked(80);
    let weights = model();
    let n_vocab = weights.config.n_vocab;
    let mut random = Random(2);
    let texts: Vec<Vec<u32>> = [60, 500, 1, 130].map(|n| random.tokens(n)).into();
    let mut rig = rig(&weights);
    let last = |rig: &mut Rig, texts: &[&Vec<u32>]| {
        let mut batch = Batch::new();
        let seqs: Vec<SeqId> = texts.iter().map(|_| rig.cache.open()).collect();
        seqs.iter().zip(texts).for_each(|(&seq, text)| batch.push(seq, text, Rows::Last));
        let rows = rig.forward(&batch);
        seqs.into_iter().for_each(|seq| rig.cache.release(seq).unwrap());
        rows
    };
    let alone: Vec<Vec<f32>> = texts.iter().map(|text| last(&mut rig, &[text])).collect();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let rows = last(&mut rig, &order.map(|i| &texts[i]));
        for (row, i) in rows.chunks(n_vocab).zip(order) {
            assert_same(row, &alone[i], &format!("text {i} of {order:?}"));
        }
    }
    drop(rig);
    emulator.assert_clean();
}

/// Prompts, parts of prompts and generated tokens in one batch, whose rows come in the order of the entries.
#[test]
fn phases_in_one_batch_do_not_touch_one_another() {
    for arch in [75, 90] {
        let emulator = Emulator::checked(arch);
        let weights = model();
        let mut random = Random(3);
        let texts: Vec<Vec<u32>> = [20, 70, 33, 9].map(|n| random.tokens(n)).into();
        let mut rig = rig(&weights);
        // Each text: the first tokens as a prompt, then the rest as its second call says.
        let calls = [
            (12, Phase::Generated, Rows::All),
            (66, Phase::Prompt, Rows::All),
            (32, Phase::Generated, Rows::Last),
            (1, Phase::Prompt, Rows::None),
        ];
        let run = |rig: &mut Rig, which: &[usize]| -> Vec<f32> {
            let seqs: Vec<SeqId> = which.iter().map(|_| rig.cache.open()).collect();
            let mut batch = Batch::new();
            for (&seq, &i) in seqs.iter().zip(which) {
                batch.push(seq, &texts[i][..calls[i].0], Rows::None);
            }
            assert!(rig.forward(&batch).is_empty());
            batch.clear();
            for (&seq, &i) in seqs.iter().zip(which) {
                let (first, phase, rows) = calls[i];
                batch.push_as(phase, seq, &texts[i][first..], rows);
            }
            let rows = rig.forward(&batch);
            seqs.into_iter().for_each(|seq| rig.cache.release(seq).unwrap());
            rows
        };
        let alone: Vec<Vec<f32>> = (0..4).map(|i| run(&mut rig, &[i])).collect();
        for order in [[0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2]] {
            let expected: Vec<f32> = order.iter().flat_map(|&i| alone[i].clone()).collect();
            assert_same(&run(&mut rig, &order), &expected, &format!("sm_{arch}, {order:?}"));
        }
        drop(rig);
        emulator.assert_clean();
    }
}

/// Warps and blocks take turns in random orders, and stores arrive late.
#[test]
fn the_order_of_warps_and_blocks_does_not_change_a_bit() {
    let weights = model();
    let ids = Random(4).tokens(70);
    let emulator = Emulator::checked(80);
    for (arch, same_code) in [(75, &[75][..]), (80, &[80, 86, 89, 90, 100, 120])] {
        emulator.reset(&format!(r#"{{"arch": {arch}, "check": true, "quiet": true}}"#));
        let expected = rig(&weights).all(&ids);
        for (seed, &arch) in same_code.iter().enumerate() {
            emulator.reset(&format!(
                r#"{{"arch": {arch}, "seed": {seed}, "weak": 5, "check": true, "quiet": true}}"#
            ));
            assert_same(&rig(&weights).all(&ids), &expected, &format!("sm_{arch}, seed {seed}"));
            emulator.assert_clean();
        }
    }
}

/// Tokens that the model chooses go the way of decode, over the keys and values that prefill left: the same to rounding.
#[test]
fn prefill_then_decode_is_close_to_one_prefill() {
    for arch in [75, 90] {
        let emulator = Emulator::checked(arch);
        let weights = model();
        let n_vocab = weights.config.n_vocab;
        let ids = Random(9).tokens(90);
        let mut rig = rig(&weights);
        let all = rig.all(&ids);
        let seq = rig.cache.open();
        assert!(rig.forward(&Batch::one(seq, &ids[..70], Rows::None)).is_empty());
        let mut batch = Batch::new();
        batch.push_as(Phase::Generated, seq, &ids[70..], Rows::All);
        let decoded = rig.forward(&batch);
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = decoded.iter().zip(&all[70 * n_vocab..]);
        let error = squares(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let size = squares(&mut all[70 * n_vocab..].iter().map(|&x| x.into()));
        let relative = (error / size).sqrt();
        println!("sm_{arch}: {relative:e}");
        assert!(relative <= 1e-5, "sm_{arch}: {relative:e}");
        drop(rig);
        emulator.assert_clean();
    }
}
