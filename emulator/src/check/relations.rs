//! What a warp that accesses memory knows of accesses of others, for the sets.

use super::{
    sets::{Class, Member, Relations},
    threads::Warp,
};
use crate::machine::Access;

/// What an access must know of others.
pub struct Known<'a> {
    /// The warp that accesses.
    me: &'a Warp,
    /// Warps of a block.
    warps: u32,
    /// Blocks that have ended without a release to others.
    closed: &'a [bool],
    /// The access, if lanes of one instruction may store equal values to one place.
    access: Option<&'a Access<'a>>,
}

impl Relations for Known<'_> {
    fn ordered(&self, old: &Member, new: &Member) -> bool {
        self.me.knows(new.mask, old.warp, old.mask, old.epoch)
    }

    #[inline(always)]
    fn ordered_write(&self, warp: u32, lane: u8, epoch: u32, new: &Member) -> bool {
        epoch <= self.me.knows_all_until(warp) || self.ordered_slowly(warp, lane, epoch, new)
    }

    fn same_block(&self, a: u32, b: u32) -> bool {
        a / self.warps == b / self.warps
    }

    fn closed(&self, warp: u32) -> bool {
        self.closed.get((warp / self.warps) as usize).copied().unwrap_or(false)
    }
}

impl<'a> Known<'a> {
    /// What `me` knows, in a grid of blocks of `warps` warps of which those in `closed` are unknown to all; with the access, lanes may store
    /// equal values to one place.
    pub fn new(me: &'a Warp, warps: u32, closed: &'a [bool], access: Option<&'a Access<'a>>) -> Known<'a> {
        Known { me, warps, closed, access }
    }

    #[inline(never)]
    fn ordered_slowly(&self, warp: u32, lane: u8, epoch: u32, new: &Member) -> bool {
        (warp == new.warp && new.mask == 1 << lane)
            || self.me.knows(new.mask, warp, 1 << lane, epoch)
            || self.access.is_some_and(|a| warp == new.warp && epoch == new.epoch && equal(a, lane, new))
    }
}

/// Whether a lane stores the same to the same place as `lane` did before it in the same instruction.
fn equal(access: &Access<'_>, lane: u8, new: &Member) -> bool {
    let (a, b) = (usize::from(lane), new.mask.trailing_zeros() as usize & 31);
    let mask = if access.element >= 4 { u32::MAX } else { (1 << (8 * access.element)) - 1 };
    let same = |(low, high): &([u32; 32], [u32; 32])| {
        (low[a] ^ low[b]) & mask == 0 && (access.element < 8 || high[a] == high[b])
    };
    new.class == Class::Write
        && a < b
        && access.mask >> a & 1 == 1
        && access.addresses[a] == access.addresses[b]
        && !access.values.is_empty()
        && access.values.iter().all(same)
}
