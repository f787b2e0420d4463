//! The scheduler: each text has the bits that it has alone, whatever runs beside it; nobody waits for ever, and nothing is lost.
#![cfg(feature = "bundled")]

mod bits;
mod faults;
mod order;
mod rig;
mod watched;

use halfwarp::{Engine, EngineOptions, Source, backend::Device};

/// The bundled model, with a cache of `n_cache` tokens.
fn tales(n_cache: usize) -> Engine {
    let options = EngineOptions { device: Device::Cpu, n_cache: Some(n_cache), ..EngineOptions::default() };
    Engine::open(&Source::Bundled, &options).unwrap()
}
