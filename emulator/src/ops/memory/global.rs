//! Global, constant and generic memory.

use super::{
    Form, Shape, addresses, by_window, check_alignment, describe, each_lane, in_a_row, lanes_where, late,
    narrow, shared, tell,
};
use crate::{
    isa::versions,
    machine::{AccessKind, Context, Fault, FaultKind, Ordering as MemoryOrdering},
    memory::{Allocation, Kind, Miss},
    program::{Instr, WarpFn},
    ptx::ast::Space,
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// `ld.global`, `ld.const`: `V` elements of `E` bytes.
#[inline(always)]
pub(super) fn load_body<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    load_at::<S>(cx, mask, instr, form, &addresses)
}

/// `ld` of a generic address.
#[inline(always)]
pub(super) fn load_generic_body<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    by_window(cx, mask, &addresses, |cx, mask, addresses, space| match space {
        Space::Shared => shared::load_at::<S>(cx, mask, instr, form, addresses),
        Space::Local => shared::load_local_at::<S>(cx, mask, instr, form, addresses),
        _ => load_at::<S>(cx, mask, instr, form, addresses),
    })
}

/// `st.global`.
#[inline(always)]
pub(super) fn store_body<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    store_at::<S>(cx, mask, instr, form, &addresses)
}

/// `st` to a generic address.
#[inline(always)]
pub(super) fn store_generic_body<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    by_window(cx, mask, &addresses, |cx, mask, addresses, space| match space {
        Space::Shared => shared::store_at::<S>(cx, mask, instr, form, addresses),
        Space::Local => shared::store_local_at::<S>(cx, mask, instr, form, addresses),
        _ => store_at::<S>(cx, mask, instr, form, addresses),
    })
}

#[inline(always)]
fn load_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    cx.warp.polled |= form.polls();
    check_alignment(cx, mask, addresses, bytes)?;
    let found = locate(cx, mask, addresses, bytes)?;
    let mut access = describe(form, AccessKind::Load, Space::Global, mask, bytes, addresses);
    access.element = S::E as u32;
    access.contiguous = matches!(found, Found::Run(..));
    tell(cx, &access)?;
    let mut words = S::zeros();
    let words = words.as_mut();
    match found {
        Found::Run(allocation, first) if S::E >= 4 => {
            let n = S::E / 4 * S::V;
            let from = &cx.memory.allocations()[allocation].words()[first..first + 32 * n];
            for l in 0..32 {
                let from = &from[l * n..][..n];
                for v in 0..S::V {
                    words[v].0[l] = from[v * (S::E / 4)].load(Relaxed);
                    if S::E == 8 {
                        words[v].1[l] = from[2 * v + 1].load(Relaxed);
                    }
                }
            }
        }
        _ => {
            for l in each_lane(mask) {
                let allocation = found.allocation(cx, addresses[l]);
                let from = allocation.words();
                for v in 0..S::V {
                    let offset = (addresses[l] - allocation.base) as usize + v * S::E;
                    words[v].0[l] = from[offset / 4].load(Relaxed) >> (8 * (offset % 4));
                    if S::E == 8 {
                        words[v].1[l] = from[offset / 4 + 1].load(Relaxed);
                    }
                }
            }
        }
    }
    for v in 0..S::V {
        narrow::write::<S>(cx.registers, instr.r[v], mask, form, &words[v]);
    }
    Ok(())
}

#[inline(always)]
fn store_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    check_alignment(cx, mask, addresses, bytes)?;
    let found = locate(cx, mask, addresses, bytes)?;
    let values = shared::values::<S>(cx, instr, form);
    let values = values.as_ref();
    let mut access = describe(form, AccessKind::Store, Space::Global, mask, bytes, addresses);
    (access.element, access.values) = (S::E as u32, values);
    access.contiguous = matches!(found, Found::Run(..));
    tell(cx, &access)?;
    for l in each_lane(mask) {
        if found.allocation(cx, addresses[l]).kind == Kind::Constant {
            return Err(cx.fault(
                FaultKind::IllegalAddress,
                1 << l,
                format!("store to constant memory at {:#x}", addresses[l]),
            ));
        }
    }
    if form.ordering() == MemoryOrdering::Weak && late::keep(cx, S::E, mask, addresses, values) {
        return Ok(());
    }
    for l in each_lane(mask) {
        let allocation = found.allocation(cx, addresses[l]);
        for v in 0..S::V {
            let offset = (addresses[l] - allocation.base) as usize + v * S::E;
            store_element(S::E, allocation.words(), offset, values[v].0[l], values[v].1[l]);
        }
    }
    Ok(())
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
    let first = addresses[0];
    if in_a_row(mask, addresses, bytes)
        && let Some(i) = cx.memory.find(first, cx.warp.hint)
    {
        let allocation = &cx.memory.allocations()[i];
        if allocation.contains(first, 32 * u64::from(bytes)) {
            cx.warp.hint = i;
            return Ok(Found::Run(i, ((first - allocation.base) / 4) as usize));
        }
    }
    locate_apart(cx, mask, addresses, bytes)
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
    if let Some(i) = cx.memory.find(low, cx.warp.hint)
        && cx.memory.allocations()[i].contains(low, (high - low).saturating_add(u64::from(bytes)))
    {
        cx.warp.hint = i;
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

versions! {
    /// The handler of `ld.global` and `ld.const`.
    pub fn load<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = load_body
}

versions! {
    /// The handler of `st.global`.
    pub fn store<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = store_body
}
