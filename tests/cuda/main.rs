//! The CUDA backend on the emulator: its kernels are the PTX that ships, run through the driver calls that ship.

mod constants;
mod counters;
mod emulator;
mod faults;
mod generations;
#[path = "../parity/golden.rs"]
#[allow(dead_code)]
mod golden;
mod images;
mod invariance;
mod models;
mod mutations;
mod prefill;
#[path = "../invariance/rig.rs"]
#[allow(dead_code)]
mod rig;
mod sampling;
mod scheduling;
#[path = "../scheduler/rig.rs"]
mod scheduling_rig;
mod step_rig;
mod traffic;
mod twins;
