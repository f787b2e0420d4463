//! Conformance of arithmetic instructions: each form over arrays of inputs against results computed another way.

mod harness;
mod integer;
