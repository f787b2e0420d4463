//! One of each of what compiled kernels contain besides their purpose.

mod approx;
mod atomics;
mod control;
mod copy;
mod math;
mod matrix;
mod memory;
mod order;
mod warp;
