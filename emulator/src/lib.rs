//! Executes PTX on the CPU behind the CUDA driver API, and is stricter than hardware.
//!
//! The way of a kernel: [`ptx`] parses its text, [`program`] lowers it to instructions whose registers are allocated and whose
//! meaning is a function of [`ops`], and [`machine`] runs these 32 lanes at a time. `check` and `counters` watch from
//! outside. `driver` is the C interface that programs load as `libcuda.so.1`.

#![allow(rustdoc::private_intra_doc_links, reason = "module docs lead readers of the source")]

pub mod check;
pub mod counters;
pub mod device;
pub mod driver;
pub mod fatbin;
pub mod isa;
pub mod machine;
pub mod memory;
pub mod numeric;
pub mod ops;
pub mod program;
pub mod ptx;
pub mod report;
pub mod tensor;
