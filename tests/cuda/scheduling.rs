//! Many texts at once on the device: each has the bits that it has alone there.

use crate::{
    emulator::Emulator,
    rig::{Random, model},
    scheduling_rig::{alone, bits, drawn, params, request, scheduler, together},
};
use halfwarp::{Engine, backend::cuda::CudaBackend, engine::GenerateParams};

/// An engine of its own, with room for one context and a half.
fn engine() -> Engine {
    let weights = model();
    let backend = CudaBackend::open(0, &weights, weights.config.n_ctx, &mut |_, _| Ok(())).unwrap();
    Engine::new(Box::new(backend), None, weights.config.n_ctx).unwrap()
}

/// Prompts of many lengths, drawn and greedy, with their log-probabilities or drawn on the device.
fn cases() -> Vec<(Vec<u32>, GenerateParams)> {
    let mut random = Random(4);
    let lengths = [3, 150, 40, 75, 1, 40];
    let case = |(i, n_prompt): (usize, &usize)| {
        let n_new = 6 + 3 * i;
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
        let engine = engine();
        let expected: Vec<_> =
            cases().iter().map(|(ids, params)| bits(&alone(&engine, ids, params))).collect();
        let scheduler = scheduler(&engine, 4, 32);
        // The second time, prompts are found in the pages that the first time left.
        for n_reused in [0, 128 + 32 + 64 + 32] {
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
    let engine = engine();
    let mut random = Random(5);
    let cases: Vec<_> = (0..4).map(|i| (random.tokens(140 + i), drawn(36, i as u64))).collect();
    let expected: Vec<_> = cases.iter().map(|(ids, params)| bits(&alone(&engine, ids, params))).collect();
    let scheduler = scheduler(&engine, 4, 64);
    let requests = cases.iter().map(|(ids, params)| request(ids, params)).collect();
    for (i, result) in together(&scheduler, requests).into_iter().enumerate() {
        assert_eq!(bits(&result.unwrap()), expected[i], "text {i}");
    }
    assert!(scheduler.load().n_preempted > 0, "640 tokens of cache for 4 texts of 176");
    drop((scheduler, engine));
    emulator.assert_clean();
}
