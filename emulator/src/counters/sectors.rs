//! Sectors of a global request: aligned pieces of 32 bytes, each counted once a request.

use super::Memory;
use crate::{machine::Access, ops::memory::each_lane};

/// Bytes of a sector.
const SECTOR: u64 = 32;

impl Memory {
    /// Counts a request.
    #[inline(always)]
    pub fn request(&mut self, access: &Access<'_>) {
        self.requests += 1;
        self.bytes += u64::from(access.bytes * access.mask.count_ones());
        self.sectors += if access.contiguous {
            let first = access.addresses[0];
            (first + 32 * u64::from(access.bytes) - 1) / SECTOR - first / SECTOR + 1
        } else {
            scattered(access)
        };
    }
}

/// Sectors of lanes that may be anywhere.
#[inline(never)]
fn scattered(access: &Access<'_>) -> u64 {
    let lanes = || each_lane(access.mask).map(|l| access.addresses[l]);
    let last = u64::from(access.bytes) - 1;
    let (mut lowest, mut highest) = (u64::MAX, 0);
    for a in lanes() {
        lowest = lowest.min(a / SECTOR);
        highest = highest.max((a + last) / SECTOR);
    }
    if highest.saturating_sub(lowest) < 64 {
        // The usual case: one bit for each sector near by.
        let mut near = 0u64;
        for a in lanes() {
            (a / SECTOR..=(a + last) / SECTOR).for_each(|s| near |= 1 << (s - lowest));
        }
        return u64::from(near.count_ones());
    }
    let mut all: Vec<u64> = lanes().flat_map(|a| a / SECTOR..=(a + last) / SECTOR).collect();
    all.sort_unstable();
    all.dedup();
    all.len() as u64
}
