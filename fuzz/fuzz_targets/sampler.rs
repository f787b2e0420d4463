//! Any parameters and any logits.
#![no_main]

#[path = "../bodies/sampler.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
