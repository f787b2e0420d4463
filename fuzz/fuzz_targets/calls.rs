//! Sequences of calls of the C ABI, whose sources are built in: it has no library that Rust links to.
#![no_main]
#![allow(dead_code)]

#[path = "../../capi/src/args.rs"]
mod args;
#[path = "../bodies/calls.rs"]
mod body;
#[path = "../../capi/src/callback.rs"]
mod callback;
#[path = "../../capi/src/decode.rs"]
mod decode;
#[path = "../../capi/src/engine.rs"]
mod engine;
#[path = "../../capi/src/generate.rs"]
mod generate;
#[path = "../../capi/src/guard.rs"]
mod guard;
#[path = "../../capi/src/handle.rs"]
mod handle;
#[path = "../../capi/src/library.rs"]
mod library;
#[path = "../../capi/src/log.rs"]
mod log;
#[path = "../../capi/src/session.rs"]
mod session;
#[path = "../../capi/src/status.rs"]
mod status;
#[path = "../../capi/src/text.rs"]
mod text;
#[path = "../../capi/src/types.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    body::run(data);
});
