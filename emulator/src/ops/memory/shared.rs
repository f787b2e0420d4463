//! Shared and local memory.

use super::{Form, addresses, check_alignment, describe, each_lane, lanes_where, narrow, tell};
use crate::{
    machine::{AccessKind, Context, Fault, FaultKind},
    program::{Instr, NONE},
    ptx::ast::Space,
};

/// `ld.shared`: `V` elements of `E` bytes.
pub fn load<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    load_at::<E, V>(cx, mask, instr, form, &addresses)
}

/// `st.shared`.
pub fn store<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    store_at::<E, V>(cx, mask, instr, form, &addresses)
}

/// `ld.local`.
pub fn load_local<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    load_local_at::<E, V>(cx, mask, instr, form, &addresses)
}

/// `st.local`.
pub fn store_local<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    store_local_at::<E, V>(cx, mask, instr, form, &addresses)
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
pub(super) fn load_at<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (E * V) as u32;
    cx.warp.polled |= form.polls();
    check_bounds(cx, mask, addresses, bytes, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let mut access = describe(form, AccessKind::Load, Space::Shared, mask, bytes, addresses);
    access.element = E as u32;
    tell(cx, &access)?;
    let shared = &cx.block.shared[..];
    for v in 0..V {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        for l in each_lane(mask) {
            let offset = addresses[l] as usize + v * E;
            low[l] = shared[offset / 4] >> (8 * (offset % 4));
            if E == 8 {
                high[l] = shared[offset / 4 + 1];
            }
        }
        narrow::write::<E>(cx.registers, instr.r[v], mask, form, &low, &high);
    }
    Ok(())
}

#[inline(always)]
pub(super) fn store_at<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (E * V) as u32;
    check_bounds(cx, mask, addresses, bytes, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let values: [_; V] = values::<E, V>(cx, instr, form);
    let mut access = describe(form, AccessKind::Store, Space::Shared, mask, bytes, addresses);
    (access.element, access.values) = (E as u32, &values);
    tell(cx, &access)?;
    for l in each_lane(mask) {
        for v in 0..V {
            let offset = addresses[l] as usize + v * E;
            let word = &mut cx.block.shared[offset / 4];
            *word = merge::<E>(*word, offset % 4, values[v].0[l]);
            if E == 8 {
                cx.block.shared[offset / 4 + 1] = values[v].1[l];
            }
        }
    }
    Ok(())
}

#[inline(always)]
pub(super) fn load_local_at<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (E * V) as u32;
    check_bounds(cx, mask, addresses, bytes, 4 * cx.warp.local.len() as u32, "local memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let mut access = describe(form, AccessKind::Load, Space::Local, mask, bytes, addresses);
    access.element = E as u32;
    tell(cx, &access)?;
    for v in 0..V {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        for l in each_lane(mask) {
            let offset = addresses[l] as usize + v * E;
            low[l] = cx.warp.local[offset / 4].0[l] >> (8 * (offset % 4));
            if E == 8 {
                high[l] = cx.warp.local[offset / 4 + 1].0[l];
            }
        }
        narrow::write::<E>(cx.registers, instr.r[v], mask, form, &low, &high);
    }
    Ok(())
}

#[inline(always)]
pub(super) fn store_local_at<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    form: Form,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let bytes = (E * V) as u32;
    check_bounds(cx, mask, addresses, bytes, 4 * cx.warp.local.len() as u32, "local memory")?;
    check_alignment(cx, mask, addresses, bytes)?;
    let values: [_; V] = values::<E, V>(cx, instr, form);
    let mut access = describe(form, AccessKind::Store, Space::Local, mask, bytes, addresses);
    (access.element, access.values) = (E as u32, &values);
    tell(cx, &access)?;
    for l in each_lane(mask) {
        for v in 0..V {
            let offset = addresses[l] as usize + v * E;
            let word = &mut cx.warp.local[offset / 4].0[l];
            *word = merge::<E>(*word, offset % 4, values[v].0[l]);
            if E == 8 {
                cx.warp.local[offset / 4 + 1].0[l] = values[v].1[l];
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn values<const E: usize, const V: usize>(
    cx: &Context<'_, '_>,
    instr: &Instr,
    form: Form,
) -> [([u32; 32], [u32; 32]); V] {
    std::array::from_fn(|v| match instr.r[v] {
        NONE => ([0; 32], [0; 32]),
        r => narrow::read::<E>(cx.registers, r, form),
    })
}

/// `word` with the `E` bytes at `at` replaced.
#[inline(always)]
fn merge<const E: usize>(word: u32, at: usize, value: u32) -> u32 {
    if E >= 4 {
        return value;
    }
    let (shift, bits) = (8 * at, (1u32 << (8 * E)) - 1);
    word & !(bits << shift) | (value & bits) << shift
}
