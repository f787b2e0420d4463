//! The CUDA driver API: what programs load as `libcuda.so.1`.
//!
//! Three rooms, each of which uses only those above it in this list:
//! - [`objects`]: what handles stand for, as plain data, and what calls return;
//! - [`state`]: the one [`state::Driver`] that holds them behind a lock, and all that calls do to it. Streams are queues that run
//!   when somebody waits ([`state::run`]); the checks, the counters and the report plug in at [`state::hooks`]; what users can set
//!   is read in [`state::options`];
//! - [`api`]: the C interface. C callers hold [`objects::handle::Id`]s, which are looked up and never followed.
//!
//! Tests: `tests/driver_*.rs`.

#![allow(non_snake_case, reason = "entry points have the names of the API")]

mod api;
mod objects;
mod state;
