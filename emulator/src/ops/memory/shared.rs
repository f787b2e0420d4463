//! Shared and local memory.

use super::{Form, Shape, addresses, check_alignment, describe, each_lane, lanes_where, narrow, tell};
use crate::{
    isa::versions,
    machine::{AccessKind, Context, FULL, Fault, FaultKind},
    program::{Instr, NONE, WarpFn},
    ptx::ast::Space,
};

/// `ld.shared`: `V` elements of `E` bytes.
#[inline(always)]
pub(super) fn load_body<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    load_at::<S>(cx, mask, instr, form, &addresses)
}

/// `st.shared`.
#[inline(always)]
pub(super) fn store_body<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    store_at::<S>(cx, mask, instr, form, &addresses)
}

/// `ld.local`.
#[inline(always)]
pub(super) fn load_local_body<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    load_local_at::<S>(cx, mask, instr, form, &addresses)
}

/// `st.local`.
#[inline(always)]
pub(super) fn store_local_body<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    store_local_at::<S>(cx, mask, instr, form, &addresses)
}

/// Demands that the bytes of every lane lie below `size`.
#[inline(always)]
pub fn check_bounds(
    cx: &Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
    size: u32,
    what: &str,
) -> Result<(), Fault> {
    let mut highest = 0;
    for l in 0..32 {
        highest = addresses[l].max(highest);
    }
    if highest <= u64::from(size).saturating_sub(u64::from(bytes)) && bytes <= size {
        return Ok(());
    }
    outside(cx, mask, addresses, bytes, size, what)
}

#[inline(never)]
fn outside(
    cx: &Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
    size: u32,
    what: &str,
) -> Result<(), Fault> {
    let outside = lanes_where(mask, addresses, |a| a.saturating_add(u64::from(bytes)) > u64::from(size));
    if outside == 0 {
        return Ok(());
    }
    let address = addresses[outside.trailing_zeros() as usize];
    let message =
        format!("access of {bytes} bytes at offset {address:#x} out of bounds: {what} has {size} bytes");
    Err(cx.fault(FaultKind::IllegalAddress, outside, message))
}

#[inline(always)]
pub(super) fn load_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    cx.warp.polled |= form.polls();
    check_bounds(cx, mask, addresses, bytes, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let mut access = describe(form, AccessKind::Load, Space::Shared, mask, bytes, addresses);
    access.element = S::E as u32;
    tell(cx, &access)?;
    let shared = &cx.block.shared[..];
    let mut words = S::zeros();
    let words = words.as_mut();
    // A macro and not a closure: it must be inlined to be compiled for the instruction set of the handler.
    macro_rules! lane {
        ($l:ident) => {{
            let l: usize = $l;
            let offset = addresses[l] as usize;
            if S::E >= 4 {
                let from = &shared[offset / 4..][..S::E / 4 * S::V];
                for v in 0..S::V {
                    words[v].0[l] = from[v * (S::E / 4)];
                    if S::E == 8 {
                        words[v].1[l] = from[2 * v + 1];
                    }
                }
            } else {
                for v in 0..S::V {
                    let offset = offset + v * S::E;
                    words[v].0[l] = shared[offset / 4] >> (8 * (offset % 4));
                }
            }
        }};
    }
    if mask == FULL {
        for l in 0..32 {
            lane!(l);
        }
    } else {
        for l in each_lane(mask) {
            lane!(l);
        }
    }
    for v in 0..S::V {
        narrow::write::<S>(cx.registers, instr.r[v], mask, form, &words[v]);
    }
    Ok(())
}

#[inline(always)]
pub(super) fn store_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    check_bounds(cx, mask, addresses, bytes, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let values = values::<S>(cx, instr, form);
    let values = values.as_ref();
    let mut access = describe(form, AccessKind::Store, Space::Shared, mask, bytes, addresses);
    (access.element, access.values) = (S::E as u32, values);
    tell(cx, &access)?;
    for l in each_lane(mask) {
        for v in 0..S::V {
            let offset = addresses[l] as usize + v * S::E;
            let word = &mut cx.block.shared[offset / 4];
            *word = merge::<S>(*word, offset % 4, values[v].0[l]);
            if S::E == 8 {
                cx.block.shared[offset / 4 + 1] = values[v].1[l];
            }
        }
    }
    Ok(())
}

#[inline(always)]
pub(super) fn load_local_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    check_bounds(cx, mask, addresses, bytes, 4 * cx.warp.local.len() as u32, "local memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let mut access = describe(form, AccessKind::Load, Space::Local, mask, bytes, addresses);
    access.element = S::E as u32;
    tell(cx, &access)?;
    for v in 0..S::V {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        for l in each_lane(mask) {
            let offset = addresses[l] as usize + v * S::E;
            low[l] = cx.warp.local[offset / 4].0[l] >> (8 * (offset % 4));
            if S::E == 8 {
                high[l] = cx.warp.local[offset / 4 + 1].0[l];
            }
        }
        narrow::write::<S>(cx.registers, instr.r[v], mask, form, &(low, high));
    }
    Ok(())
}

#[inline(always)]
pub(super) fn store_local_at<S: Shape>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (S::E * S::V) as u32;
    check_bounds(cx, mask, addresses, bytes, 4 * cx.warp.local.len() as u32, "local memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let values = values::<S>(cx, instr, form);
    let values = values.as_ref();
    let mut access = describe(form, AccessKind::Store, Space::Local, mask, bytes, addresses);
    (access.element, access.values) = (S::E as u32, values);
    tell(cx, &access)?;
    for l in each_lane(mask) {
        for v in 0..S::V {
            let offset = addresses[l] as usize + v * S::E;
            let word = &mut cx.warp.local[offset / 4].0[l];
            *word = merge::<S>(*word, offset % 4, values[v].0[l]);
            if S::E == 8 {
                cx.warp.local[offset / 4 + 1].0[l] = values[v].1[l];
            }
        }
    }
    Ok(())
}

/// The values that a store writes.
#[inline(always)]
pub(super) fn values<S: Shape>(cx: &Context<'_, '_>, instr: &Instr, form: Form) -> S::Words {
    let mut words = S::zeros();
    for (v, to) in words.as_mut().iter_mut().enumerate() {
        if instr.r[v] != NONE {
            *to = narrow::read::<S>(cx.registers, instr.r[v], form);
        }
    }
    words
}

/// `word` with the `E` bytes at `at` replaced.
#[inline(always)]
fn merge<S: Shape>(word: u32, at: usize, value: u32) -> u32 {
    if S::E >= 4 {
        return value;
    }
    let (shift, bits) = (8 * at, (1u32 << (8 * S::E)) - 1);
    word & !(bits << shift) | (value & bits) << shift
}

versions! {
    /// The handler of `ld.shared`.
    pub fn load<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = load_body
}

versions! {
    /// The handler of `st.shared`.
    pub fn store<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = store_body
}
