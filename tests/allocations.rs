//! The CPU backend allocates nothing while it decodes. The only test in its process, which it counts the allocations of.

use halfwarp::{
    Config, Weights,
    backend::{Backend, cpu::CpuBackend},
    batch::{Batch, Rows},
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
    let weights = Arc::new(Weights::random(Config::from_json(json).unwrap(), 1));
    for n_sequences in [1, 5] {
        let mut backend = CpuBackend::new(weights.clone(), Some(3));
        let mut cache = backend.new_cache(1024).unwrap();
        let sequences: Vec<_> = (0..n_sequences).map(|_| cache.open()).collect();
        let mut batch = Batch::new();
        let mut decode = |token: u32| {
            batch.clear();
            sequences.iter().for_each(|&seq| batch.push(seq, &[token], Rows::Last));
            backend.forward(&batch, &mut cache).unwrap();
        };
        decode(0);
        // A thread that starts allocates; the backend's have started by then.
        sleep(Duration::from_millis(100));
        let before = N_CALLS.load(Relaxed);
        // Long enough that every sequence gets new pages several times.
        (1..150).for_each(decode);
        assert_eq!(N_CALLS.load(Relaxed) - before, 0, "allocations in 149 steps of {n_sequences} sequences");
    }
}
