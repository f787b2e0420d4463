//! Global and constant memory.

use super::{
    Form, Shape, Words,
    access::{Lanes, Region},
    each_lane, in_a_row, lanes_where, late,
    rows::{self, Rows},
};
use crate::{
    machine::{Context, Fault, FaultKind, HINTS, Ordering as MemoryOrdering},
    memory::{Allocation, Kind, Miss},
    ptx::ast::Space,
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The memory of the device.
pub(super) struct Global;

impl Region for Global {
    const SPACE: Space = Space::Global;
    type Found = Found;

    #[inline(always)]
    fn locate(cx: &mut Context<'_, '_>, lanes: &Lanes) -> Result<Found, Fault> {
        if lanes.run
            && let Some(found) = locate_run(cx, lanes.addresses[0], lanes.bytes)
        {
            return Ok(found);
        }
        locate_apart(cx, lanes.mask, &lanes.addresses, lanes.bytes)
    }

    #[inline(always)]
    fn load<const N: usize>(cx: &Context<'_, '_>, found: Found, lanes: &Lanes) -> Rows<N> {
        if let Found::Run(allocation, first) = found {
            return rows::read(&cx.memory.allocations()[allocation].words()[first..]);
        }
        let mut rows = [[0; N]; 32];
        for l in each_lane(lanes.mask) {
            let allocation = found.allocation(cx, lanes.addresses[l]);
            let first = (lanes.addresses[l] - allocation.base) as usize / 4;
            for (to, from) in rows[l].iter_mut().zip(&allocation.words()[first..][..N]) {
                *to = from.load(Relaxed);
            }
        }
        rows
    }

    #[inline(always)]
    fn word(cx: &Context<'_, '_>, found: Found, lanes: &Lanes, lane: usize, at: usize) -> u32 {
        let allocation = found.allocation(cx, lanes.addresses[lane]);
        allocation.words()[((lanes.addresses[lane] - allocation.base) as usize + at) / 4].load(Relaxed)
    }

    #[inline(always)]
    fn store<S: Shape>(
        cx: &mut Context<'_, '_>,
        found: Found,
        lanes: &Lanes,
        form: Form,
        values: &[Words],
    ) -> Result<(), Fault> {
        let Lanes { mask, addresses, .. } = lanes;
        for l in each_lane(*mask) {
            if found.allocation(cx, addresses[l]).kind == Kind::Constant {
                return Err(cx.fault(
                    FaultKind::IllegalAddress,
                    1 << l,
                    format!("store to constant memory at {:#x}", addresses[l]),
                ));
            }
            if !matches!(found, Found::Many) {
                break;
            }
        }
        if form.ordering() == MemoryOrdering::Weak && late::keep(cx, S::E, *mask, addresses, values) {
            return Ok(());
        }
        for l in each_lane(*mask) {
            let allocation = found.allocation(cx, addresses[l]);
            for (v, (low, high)) in values.iter().enumerate() {
                let offset = (addresses[l] - allocation.base) as usize + v * S::E;
                store_element(S::E, allocation.words(), offset, low[l], high[l]);
            }
        }
        Ok(())
    }
}

/// Stores one element; of words that it fills only in part, the other bytes stay as other threads leave them.
#[inline(always)]
pub fn store_element(bytes: usize, words: &[AtomicU32], offset: usize, low: u32, high: u32) {
    let word = &words[offset / 4];
    match bytes {
        8 => {
            word.store(low, Relaxed);
            words[offset / 4 + 1].store(high, Relaxed);
        }
        4 => word.store(low, Relaxed),
        _ => {
            let (shift, bits) = (8 * (offset % 4), (1u32 << (8 * bytes)) - 1);
            // The closure never declines, so this cannot fail.
            let _ = word
                .fetch_update(Relaxed, Relaxed, |old| Some(old & !(bits << shift) | (low & bits) << shift));
        }
    }
}

/// Where the lanes of an access were found.
#[derive(Clone, Copy)]
pub enum Found {
    /// All lanes, one after another without gaps: in this allocation, from this word on.
    Run(usize, usize),
    /// All in this allocation.
    One(usize),
    /// In several.
    Many,
}

impl Found {
    /// The allocation of the lane with this address.
    #[inline(always)]
    pub fn allocation<'a>(self, cx: &Context<'a, '_>, address: u64) -> &'a Allocation {
        match self {
            Found::Run(i, _) | Found::One(i) => &cx.memory.allocations()[i],
            Found::Many => match cx.memory.range(address, 1) {
                Some(allocation) => allocation,
                None => unreachable!("`locate` found it"),
            },
        }
    }
}

/// Finds the allocations of an access; a fault if a lane is outside of all.
#[inline(always)]
pub fn locate(
    cx: &mut Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
) -> Result<Found, Fault> {
    if in_a_row(mask, addresses, bytes)
        && let Some(found) = locate_run(cx, addresses[0], bytes)
    {
        return Ok(found);
    }
    locate_apart(cx, mask, addresses, bytes)
}

/// Where this instruction found its allocation last.
#[inline(always)]
fn hint<'a>(cx: &'a mut Context<'_, '_>) -> &'a mut usize {
    &mut cx.warp.hints[cx.pc as usize % HINTS]
}

/// Finds the allocation of lanes in a row from `first` on, if it is one.
#[inline(always)]
fn locate_run(cx: &mut Context<'_, '_>, first: u64, bytes: u32) -> Option<Found> {
    let i = cx.memory.find(first, *hint(cx))?;
    let allocation = &cx.memory.allocations()[i];
    if !allocation.contains(first, 32 * u64::from(bytes)) {
        return None;
    }
    *hint(cx) = i;
    Some(Found::Run(i, ((first - allocation.base) / 4) as usize))
}

#[inline(never)]
fn locate_apart(
    cx: &mut Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
) -> Result<Found, Fault> {
    let (mut low, mut high) = (u64::MAX, 0);
    for l in each_lane(mask) {
        low = low.min(addresses[l]);
        high = high.max(addresses[l]);
    }
    if let Some(i) = cx.memory.find(low, *hint(cx))
        && cx.memory.allocations()[i].contains(low, (high - low).saturating_add(u64::from(bytes)))
    {
        *hint(cx) = i;
        return Ok(Found::One(i));
    }
    match lanes_where(mask, addresses, |a| cx.memory.range(a, u64::from(bytes)).is_none()) {
        0 => Ok(Found::Many),
        outside => Err(outside_fault(cx, outside, addresses, bytes)),
    }
}

/// The fault of an access outside of all allocations.
pub fn outside_fault(cx: &Context<'_, '_>, outside: u32, addresses: &[u64; 32], bytes: u32) -> Fault {
    let address = addresses[outside.trailing_zeros() as usize];
    let near = match cx.memory.explain(address) {
        Miss::Null => "in the null page".to_string(),
        Miss::Freed(base, len) => format!("in memory freed before: {len} bytes at {base:#x}"),
        Miss::Past(by, base, len) => {
            format!("{by} bytes past the end of an allocation of {len} bytes at {base:#x}")
        }
        Miss::Before(by, base, len) => format!("{by} bytes before an allocation of {len} bytes at {base:#x}"),
        Miss::Nowhere => "far from every allocation".to_string(),
    };
    cx.fault(
        FaultKind::IllegalAddress,
        outside,
        format!("access of {bytes} bytes at {address:#x} out of bounds: {near}"),
    )
}
