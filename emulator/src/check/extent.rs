//! Which bytes an access touches, and which bytes of shared and local memory hold something: a bit, or a bit of each lane.

use super::threads::lanes;
use crate::{machine::Access, memory::each_word};

/// The lowest address of an access, and how many bytes lie between it and the last that it touches.
#[inline(always)]
pub fn span(access: &Access<'_>) -> (u64, u64) {
    if access.contiguous {
        return (access.addresses[0], 32 * u64::from(access.bytes));
    }
    let (mut low, mut high) = (u64::MAX, 0);
    for lane in 0..32 {
        let address = access.addresses[lane];
        let takes_part = access.mask >> lane & 1 == 1;
        low = low.min(if takes_part { address } else { u64::MAX });
        high = high.max(if takes_part { address } else { 0 });
    }
    (low, high.saturating_sub(low) + u64::from(access.bytes))
}

/// The lanes of an access whose address satisfies `test`.
pub fn lanes_where(access: &Access<'_>, test: impl Fn(u32, u64) -> bool) -> u32 {
    let found = lanes(access.mask).filter(|&lane| test(lane, access.addresses[lane as usize]));
    found.fold(0, |mask, lane| mask | 1 << lane)
}

/// The first of `len` bits from `offset` on that is not set.
#[inline(always)]
pub fn first_clear(bits: &[u64], offset: u64, len: u64) -> Option<u64> {
    let mut first = None;
    each_word(offset, len, |word, mask| {
        let missing = mask & !bits.get(word).copied().unwrap_or(0);
        if missing != 0 && first.is_none() {
            first = Some(64 * word as u64 + u64::from(missing.trailing_zeros()));
        }
    });
    first
}

/// Sets or clears `len` bits from `offset` on.
#[inline(always)]
pub fn set(bits: &mut [u64], offset: u64, len: u64, holds: bool) {
    each_word(offset, len, |word, mask| {
        if let Some(word) = bits.get_mut(word) {
            *word = if holds { *word | mask } else { *word & !mask };
        }
    });
}

/// Copies what is known of `size` bytes of local memory in the lanes of `mask`.
pub fn copy(local: &mut Vec<u32>, mask: u32, from: u32, to: u32, size: u32) {
    let end = (from.max(to) + size) as usize;
    if local.len() < end {
        local.resize(end, 0);
    }
    for i in 0..size as usize {
        let known = local[from as usize + i];
        let byte = &mut local[to as usize + i];
        *byte = *byte & !mask | known & mask;
    }
}
