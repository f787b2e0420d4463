//! One of each of what compiled kernels contain besides their purpose.

mod atomics;
mod control;
mod math;
mod memory;
mod warp;
