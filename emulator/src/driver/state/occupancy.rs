//! How many blocks of a kernel fit on the device.

use super::{Driver, Locked};
use crate::driver::objects::{
    code::{Code, Result},
    function::Function,
    handle::Id,
    host::HostFunction,
};

impl Driver {
    fn shared_with(&self, f: &Function, dynamic: u64) -> Option<u32> {
        let kernel = f.layout();
        let total =
            if dynamic == 0 { kernel.shared.into() } else { u64::from(kernel.dynamic_shared()) + dynamic };
        u32::try_from(total).ok().filter(|&s| s <= self.device().sm.shared_optin)
    }

    /// Blocks of `threads` threads that fit on a multiprocessor.
    fn blocks(&self, f: &Function, threads: u32, dynamic: u64) -> u32 {
        if threads > f.max_threads() {
            return 0;
        }
        let shared = self.shared_with(f, dynamic);
        shared.map_or(0, |s| self.device().blocks_per_multiprocessor(f.layout(), threads, s))
    }

    pub fn occupancy(&self, function: Id<Function>, threads: i32, dynamic: usize) -> Result<i32> {
        let f = self.functions.get(function)?;
        match u32::try_from(threads) {
            Ok(threads) if threads > 0 => Ok(self.blocks(f, threads, dynamic as u64) as i32),
            _ => Err(Code::INVALID_VALUE.because(format!("a block of {threads} threads"))),
        }
    }

    /// The most dynamic shared memory with which `blocks` blocks of `threads` threads fit on a multiprocessor.
    pub fn available_shared(&self, function: Id<Function>, blocks: i32, threads: i32) -> Result<usize> {
        let f = self.functions.get(function)?;
        let (Ok(blocks), Ok(threads)) = (u32::try_from(blocks), u32::try_from(threads)) else {
            return Err(Code::INVALID_VALUE.because(format!("{blocks} blocks of {threads} threads")));
        };
        if blocks == 0 || threads == 0 || self.blocks(f, threads, 0) < blocks {
            let message = format!("{blocks} blocks of {threads} threads do not fit on a multiprocessor");
            return Err(Code::INVALID_VALUE.because(message));
        }
        let sm = self.device().sm;
        let each = (sm.shared / blocks) & !(sm.shared_unit - 1);
        let most = each.saturating_sub(sm.shared_reserved).min(sm.shared_optin);
        Ok(most.saturating_sub(f.layout().dynamic_shared()) as usize)
    }
}

/// The block with which most threads fit on a multiprocessor, the largest of equals, and the blocks that then fill the device.
pub fn potential_block(
    d: &mut Locked,
    function: Id<Function>,
    by_threads: HostFunction,
    fixed: usize,
    limit: i32,
) -> Result<(i32, i32)> {
    let most = d.functions.get(function)?.max_threads();
    let limit = u32::try_from(limit).ok().filter(|&l| l > 0).map_or(most, |l| l.min(most));
    let (mut best, mut best_blocks, mut best_threads) = (0, 0, 0);
    let sizes: Vec<u32> = (1..=limit.div_ceil(32)).rev().map(|w| (32 * w).min(limit)).collect();
    for threads in sizes {
        let shared = match by_threads.is_null() {
            true => fixed,
            false => d.unlocked(|| by_threads.shared_for_block(threads as i32)),
        };
        let blocks = d.blocks(d.functions.get(function)?, threads, shared as u64);
        if blocks * threads > best {
            (best, best_blocks, best_threads) = (blocks * threads, blocks, threads);
        }
    }
    Ok(((best_blocks * d.device().multiprocessors) as i32, best_threads as i32))
}
