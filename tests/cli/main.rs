//! The `halfwarp` program, run as its users run it.

mod generate;
mod harness;
mod info;
mod logits;
mod tokenize;
mod usage;
