//! Modules of any bytes on the emulator.
#![no_main]

#[path = "../bodies/module.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
