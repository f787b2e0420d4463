//! config.json and weights files of any content.
#![no_main]

#[path = "../bodies/loader.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    body::run(data, "model.safetensors");
});
