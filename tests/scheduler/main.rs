//! The scheduler: each text has the bits that it has alone, whatever runs beside it; nobody waits for ever, and nothing is lost.
#![cfg(feature = "bundled")]

mod bits;
mod fair;
mod faults;
mod order;
mod rig;
mod waits;
mod watched;

use halfwarp::{Engine, Source, backend::cpu::CpuBackend, weights::LoadOptions};
use std::sync::Arc;

/// The bundled model, with a cache of `n_cache` tokens.
fn tales(n_cache: usize) -> Engine {
    tales_on(2, n_cache)
}

/// The same on `n_threads` threads.
fn tales_on(n_threads: usize, n_cache: usize) -> Engine {
    let (weights, tokenizer) = Source::Bundled.load(&LoadOptions::default()).unwrap();
    let backend = CpuBackend::new(Arc::new(weights), Some(n_threads));
    Engine::new(Box::new(backend), tokenizer, n_cache).unwrap()
}
