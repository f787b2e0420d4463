//! The stop matcher against a search of the whole text.
#![no_main]

#[path = "../bodies/stop.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
