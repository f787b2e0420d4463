//! The C ABI of Halfwarp: what `halfwarp.h` declares, on top of the crate `halfwarp`.
//!
//! C and every language with a C interface call it; `README.md` beside the sources has the rules for users, `cbindgen.toml` the
//! header's introduction. Three layers keep the outside out: [`guard`] runs every exported function, so that no panic leaves one,
//! and keeps the last error; [`handle`] knows which engines and sessions there are; [`args`] and [`callback`] have all of the
//! `unsafe`, and give the rest slices, strings and closures. Everything else is safe and short: an exported function reads its
//! arguments, calls the engine and writes its outputs.
//!
//! Tested in `tests.rs` in this process, and in `tests/` from C, under AddressSanitizer and valgrind, and from Python.

mod args;
mod callback;
mod chat;
mod decode;
mod engine;
mod generate;
mod guard;
mod handle;
mod library;
mod log;
mod session;
mod status;
#[cfg(all(test, feature = "bundled"))]
mod tests;
mod text;
mod types;
