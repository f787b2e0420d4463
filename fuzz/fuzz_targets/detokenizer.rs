//! Streamed text against the text of the whole.
#![no_main]

#[path = "../bodies/detokenizer.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
