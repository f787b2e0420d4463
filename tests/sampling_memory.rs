//! The sampler allocates nothing once it is made. The allocations of the test's own thread are counted: the harness has others.

use halfwarp::sampler::{History, Sampler, SamplingParams};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    /// Needs no allocation itself, and nothing to be done when the thread ends.
    static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_token_allocates_nothing() {
    let n_vocab = 5003;
    // All equal: as many candidates as there can be.
    let flat = vec![0.0f32; n_vocab];
    let steep: Vec<f32> = (0..n_vocab).map(|i| (i * 7919 % n_vocab) as f32 / 500.0).collect();
    let tokens: Vec<u32> = (0..200).collect();
    let sampled = SamplingParams { temperature: 0.8, ..SamplingParams::default() };
    let all = SamplingParams {
        top_k: 1000,
        top_p: 0.95,
        min_p: 0.001,
        typical_p: 0.99,
        repetition_penalty: 1.1,
        presence_penalty: 0.5,
        frequency_penalty: 0.1,
        no_repeat_ngram_size: 3,
        logit_bias: vec![(3, 1.0)],
        banned: vec![vec![5], vec![199, 7]],
        ..sampled.clone()
    };
    let cases = [
        SamplingParams::default(),
        sampled.clone(),
        SamplingParams { top_k: 40, top_p: 0.95, ..sampled.clone() },
        SamplingParams { typical_p: 0.9, ..sampled.clone() },
        SamplingParams { top_p: 0.9, ..sampled },
        all,
    ];
    for params in cases {
        let mut sampler = Sampler::new(params.clone(), n_vocab).unwrap();
        let before = N_ALLOCATIONS.get();
        for n in 1..tokens.len() {
            let history = History { tokens: &tokens[..n], n_prompt: n / 2 };
            sampler.sample(if n % 2 == 0 { &flat } else { &steep }, history, &[1, 2]).unwrap();
        }
        let n_allocations = N_ALLOCATIONS.get() - before;
        assert_eq!(n_allocations, 0, "{params:?}");
    }
}
