//! Executes launches: warps of 32 lanes, blocks of warps, grids of blocks.
//!
//! [`Machine`] holds a device and its memory; `schedule` decides which warp of which block runs next; `run` is the
//! interpreter's loop; `warp` keeps the groups of lanes that diverged. Called by `driver`; tests: `tests/`.

mod barrier;
mod block;
mod call;
mod cluster;
mod context;
mod control;
mod fault;
mod gather;
mod launch;
mod registers;
mod repeat;
mod run;
mod schedule;
mod warp;
mod watch;

pub use barrier::{BarrierForm, Reduction};
pub use block::{Block, BlockInfo};
pub use cluster::{CLUSTER_BARRIER, arrive as cluster_arrive};
pub use context::Context;
pub use fault::{Fault, FaultKind, Where};
pub use launch::{Argument, Launch, Machine, Settings};
pub use registers::{FULL, Registers, Slot};
pub use schedule::Order;
pub use warp::{Frame, Group, HINTS, State, WarpInfo};
pub use watch::{
    Access, AccessKind, Event, Observer, Ordering, Place as WatchPlace, Scene, Scope, Step, Watch,
};
