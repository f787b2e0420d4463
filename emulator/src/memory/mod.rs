//! The memories of the device: allocations in one 64-bit address space, and the windows of shared and local memory in it.
//!
//! A generic address is a global address unless it lies in one of the two windows. Addresses are never used twice, so that
//! an access through a stale pointer is always found. Storage is made of relaxed atomics: kernels may race with each other,
//! the emulator may not. Called by `ops` (kernels) and `driver` (copies). Tests: here and `tests/memory.rs`.

mod allocation;
mod global;
pub mod update;
mod window;
mod written;

pub use allocation::{Allocation, Kind, Storage};
pub use global::{GlobalMemory, Miss};
pub use window::{FUNCTION_BASE, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_SIZE, Window, window_of};
pub use written::{Written, each_word};
