//! Asynchronous copies.

use crate::machine::{Fault, WarpInfo};

/// Copies of a warp under way.
#[derive(Debug, Clone, Default)]
pub struct Copies {}

/// What the copies of a block share.
#[derive(Debug, Clone, Default)]
pub struct Transfers {}

/// Lanes leave the kernel.
pub fn leave(_warp: &mut WarpInfo, _mask: u32) -> Result<(), Fault> {
    Ok(())
}
