//! No backend allocates anything while it decodes. The only test in its process, which it counts the allocations of.

#[cfg(feature = "cuda")]
#[path = "cuda/emulator.rs"]
#[allow(dead_code)]
mod emulator;

use halfwarp::{
    Weights,
    backend::{Backend, cpu::CpuBackend},
    batch::{Batch, Phase, Rows},
    sampler::{Draw, SamplingParams},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::sleep,
    time::Duration,
};

/// The system's allocator, with a count of calls.
struct Counting;

static N_CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        N_CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        N_CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(at, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_allocates_nothing() {
    let json = br#"{"model_type": "gpt2", "vocab_size": 517, "n_positions": 1024, "n_embd": 96, "n_head": 12,
        "n_layer": 2, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;
    let weights = Arc::new(Weights::random(halfwarp::family::parse_config(json).unwrap(), 1));
    for n_sequences in [1, 5] {
        assert_allocates_nothing(&mut CpuBackend::new(weights.clone(), Some(3)), n_sequences);
    }
    #[cfg(feature = "cuda")]
    {
        // The emulator is a library with an allocator of its own, which is not counted.
        let _emulator = emulator::Emulator::new("{}");
        for n_sequences in [1, 5] {
            let open = halfwarp::backend::cuda::CudaBackend::open;
            assert_allocates_nothing(
                &mut open(0, &weights, 1024, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap(),
                n_sequences,
            );
        }
    }
}

/// 149 steps of greedy tokens, long enough that every sequence gets new pages several times.
fn assert_allocates_nothing(backend: &mut dyn Backend, n_sequences: usize) {
    let mut cache = backend.new_cache(1024).unwrap();
    let sequences: Vec<_> = (0..n_sequences).map(|_| cache.open()).collect();
    let draw = Arc::new(Draw::new(SamplingParams::default(), 517, 0).unwrap());
    let mut batch = Batch::new();
    let mut decode = |token: u32| {
        batch.clear();
        for &seq in &sequences {
            batch.push_as(Phase::Generated, seq, &[token], Rows::Last);
            batch.draw(draw.clone());
            if token == 0 {
                cache.truncate(seq, 0).unwrap();
            }
        }
        let logits = backend.forward(&batch, &mut cache).unwrap();
        (0..n_sequences).map(|row| logits.token(row).unwrap().unwrap_or(0)).sum::<u32>()
    };
    // A thread that starts allocates, and so does a graph that is recorded: once.
    (0..150).for_each(|token| _ = decode(token));
    sleep(Duration::from_millis(100));
    let before = N_CALLS.load(Relaxed);
    (0..150).for_each(|token| _ = decode(token));
    let n_calls = N_CALLS.load(Relaxed) - before;
    assert_eq!(n_calls, 0, "allocations in 150 steps of {n_sequences} sequences");
}
