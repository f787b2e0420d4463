//! config.json and PyTorch checkpoints of any content.
#![no_main]

#[path = "../bodies/loader.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    body::run(data, "pytorch_model.bin");
});
