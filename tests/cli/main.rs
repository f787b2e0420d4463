//! The `halfwarp` program, run as its users run it.

mod bench;
mod convert;
mod eval;
mod generate;
mod harness;
mod info;
mod logits;
mod manual;
mod repl;
mod tokenize;
mod usage;
