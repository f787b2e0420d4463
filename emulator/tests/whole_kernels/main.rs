//! Whole kernels as compilers make them, on each device, against references in double precision.
//!
//! The kernels and what they promise are in `tests/kernels/*.cu`; `tests/kernels/build.sh` compiles them. Every test runs on the
//! devices 7.5, 8.0, 9.0 and 12.0 (or those that have the instructions), each with the PTX compiled for it, with warps and
//! blocks in order and in a random order. Shapes are chosen to hurt: sizes of one, and tails of every kind.

mod attention;
mod dense;
mod grid;
mod halves;
mod harness;
mod lists;
mod matrix;
mod mutations;
mod numbers;
mod quantized;
mod sources;
mod zoo;
