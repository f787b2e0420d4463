//! Conformance of arithmetic instructions: each form over arrays of inputs against results computed another way.

mod approximate;
mod bits;
mod compare;
mod convert;
mod corpus;
#[path = "../exact/mod.rs"]
mod exact;
mod float;
mod harness;
mod integer;
mod moves;
mod random_programs;
mod reference;
