//! The `halfwarp` program, run as its users run it.

mod bench;
mod convert;
#[cfg(all(feature = "cuda", target_os = "linux"))]
mod devices;
mod endings;
mod eval;
mod generate;
mod harness;
mod info;
mod logits;
mod manual;
mod models;
mod repl;
mod tokenize;
mod usage;
