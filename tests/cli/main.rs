//! The `halfwarp` program, run as its users run it.

mod bench;
mod chat;
mod convert;
#[cfg(all(feature = "cuda", target_os = "linux"))]
mod devices;
mod endings;
mod eval;
mod generate;
mod harness;
mod info;
#[cfg(all(feature = "cuda", target_os = "linux"))]
#[path = "../common/libcuda.rs"]
mod libcuda;
mod logits;
mod manual;
mod models;
mod repl;
mod tokenize;
mod usage;
