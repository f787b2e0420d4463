//! `cp.async.bulk` and `cp.reduce.async.bulk`: copies of whole ranges between global and shared memory.
//!
//! Into shared memory: the source is read at issue, the rest is in [`super::deferred`]. Out of shared memory: see [`super::store`].
//! Tests: `tests/bulk.rs`.

use super::{
    address, deferred, mbarrier, needs, reduce,
    store::{self, UNIT},
};
use crate::{
    machine::{AccessKind, Context, Event, Fault, FaultKind},
    memory::Kind,
    ops::memory::{check_alignment, check_bounds, each_lane, lanes_where, outside_fault, tell},
    program::{Builder, Exec, Instr},
    ptx::ast::{Operand, Space, Type},
};

/// Lowers one of the family; `modifiers` are those after `bulk`.
pub fn lower(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    needs(b, 90)?;
    let source = b.source;
    let operands = &source.operands[..];
    match (modifiers, operands) {
        (["commit_group"], []) => b.emit(Exec::Warp(store::commit)),
        (["wait_group"], [groups]) => wait(b, groups, 0),
        (["wait_group", "read"], [groups]) => wait(b, groups, 1),
        (["prefetch", "L2", "global", hints @ ..], [src, size, rest @ ..]) => {
            policy(b, hints, rest)?;
            lower_range(b, None, src, size)?;
            b.emit(Exec::Warp(prefetch))
        }
        (
            ["shared::cluster" | "shared::cta", "global", "mbarrier::complete_tx::bytes", hints @ ..],
            [dst, src, size, barrier, rest @ ..],
        ) => {
            policy(b, hints, rest)?;
            let wide = lower_range(b, Some((dst, Space::Shared)), src, size)?;
            let barrier = address::lower(b, 6, barrier, Space::Shared)?;
            b.set_flags(wide | u8::from(barrier) << 2);
            b.emit(Exec::Warp(load))
        }
        (["global", "shared::cta", "bulk_group", hints @ ..], [dst, src, size, rest @ ..]) => {
            policy(b, hints, rest)?;
            lower_store(b, dst, src, size, None)
        }
        _ => Err("unknown form".into()),
    }
}

/// Lowers `cp.reduce.async.bulk`; `modifiers` are those after `bulk`.
pub fn lower_reduce(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    needs(b, 90)?;
    let source = b.source;
    let (["global", "shared::cta", "bulk_group", rest @ ..], [dst, src, size, last @ ..]) =
        (modifiers, &source.operands[..])
    else {
        return Err("unknown form: expected a reduction from shared::cta to global in a bulk_group".into());
    };
    let (hints, operation) = match rest {
        ["L2::cache_hint", operation @ ..] => (&rest[..1], operation),
        operation => (&rest[..0], operation),
    };
    policy(b, hints, last)?;
    let number = reduce::number(&operation.join("."))?;
    lower_store(b, dst, src, size, Some(number))
}

fn wait(b: &mut Builder<'_>, groups: &Operand, read: u8) -> Result<(), String> {
    let groups = b.immediate(groups, Type::U32)?;
    b.set_imm(groups as i64);
    b.set_flags(read);
    b.emit(Exec::Warp(store::wait))
}

/// The policy that goes with `.L2::cache_hint` says where data is kept on its way, not what it is.
fn policy(b: &mut Builder<'_>, hints: &[&str], operands: &[Operand]) -> Result<(), String> {
    match (hints, operands) {
        ([], []) => Ok(()),
        (["L2::cache_hint"], [policy]) => b.source(8, policy, Type::B64),
        ([] | ["L2::cache_hint"], more) => Err(format!("{} operands after the copy's own", more.len())),
        (other, _) => Err(format!("unknown modifiers {}", other.join("."))),
    }
}

/// `[dst], [src], size`, with a source in the other space than the destination. Gives which addresses have 64 bits.
fn lower_range(
    b: &mut Builder<'_>,
    dst: Option<(&Operand, Space)>,
    src: &Operand,
    size: &Operand,
) -> Result<u8, String> {
    let (to, from) = match dst {
        Some((dst, Space::Global)) => (address::lower(b, 0, dst, Space::Global)?, Space::Shared),
        Some((dst, space)) => (address::lower(b, 0, dst, space)?, Space::Global),
        None => (false, Space::Global),
    };
    let from = address::lower(b, 2, src, from)?;
    b.address(4, size, Type::B32)?;
    let wide = u8::from(to) | u8::from(from) << 1;
    b.set_flags(wide);
    Ok(wide)
}

fn lower_store(
    b: &mut Builder<'_>,
    dst: &Operand,
    src: &Operand,
    size: &Operand,
    reduction: Option<usize>,
) -> Result<(), String> {
    lower_range(b, Some((dst, Space::Global)), src, size)?;
    b.set_imm(reduction.map_or(-1, |n| n as i64));
    b.emit(Exec::Warp(give))
}

/// The sizes of a bulk instruction, which all must be multiples of 16, as its addresses.
fn sizes(
    cx: &Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    addresses: &[[u64; 32]],
) -> Result<[u32; 32], Fault> {
    let sizes = *cx.registers.single(instr.r[4]);
    let wrong = lanes_where(mask, &sizes, |s| s % UNIT != 0);
    if wrong != 0 {
        let size = sizes[wrong.trailing_zeros() as usize & 31];
        let message = format!("bulk copy of {size} bytes, expected a multiple of {UNIT}");
        return Err(cx.fault(FaultKind::IllegalInstruction, wrong, message));
    }
    addresses.iter().try_for_each(|a| check_alignment(cx, mask, a, UNIT))?;
    Ok(sizes)
}

fn check_shared(cx: &Context<'_, '_>, lane: usize, offsets: &[u64; 32], size: u32) -> Result<(), Fault> {
    check_bounds(cx, 1 << lane, offsets, size, cx.block.shared_bytes, "shared memory")
}

fn check_global(cx: &Context<'_, '_>, lane: usize, addresses: &[u64; 32], size: u32) -> Result<(), Fault> {
    match cx.memory.range(addresses[lane], u64::from(size)) {
        Some(_) => Ok(()),
        None => Err(outside_fault(cx, 1 << lane, addresses, size)),
    }
}

fn tell_read(
    cx: &mut Context<'_, '_>,
    lane: usize,
    space: Space,
    addresses: &[u64; 32],
    bytes: u32,
) -> Result<(), Fault> {
    tell(cx, &store::reading(lane, space, addresses, bytes))
}

fn prefetch(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let from = address::read(cx, instr, 2, instr.flags & 2 != 0);
    let sizes = sizes(cx, mask, instr, &[from])?;
    each_lane(mask).filter(|&l| sizes[l] > 0).try_for_each(|l| check_global(cx, l, &from, sizes[l]))
}

fn load(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let to = address::read(cx, instr, 0, instr.flags & 1 != 0);
    let from = address::read(cx, instr, 2, instr.flags & 2 != 0);
    let barriers = address::read(cx, instr, 6, instr.flags & 4 != 0);
    let sizes = sizes(cx, mask, instr, &[to, from])?;
    mbarrier::check_places(cx, mask, &barriers)?;
    mbarrier::tell_object(cx, AccessKind::Atomic(false), mask, &barriers)?;
    for l in each_lane(mask) {
        let barrier = barriers[l] as u32;
        mbarrier::object(cx, l, barrier)?;
        if sizes[l] == 0 {
            continue;
        }
        check_shared(cx, l, &to, sizes[l])?;
        check_global(cx, l, &from, sizes[l])?;
        tell_read(cx, l, Space::Global, &from, sizes[l])?;
        let mut words = vec![0; sizes[l] as usize / 4];
        if let Some(allocation) = cx.memory.range(from[l], u64::from(sizes[l])) {
            allocation.read(from[l], bytemuck::cast_slice_mut(&mut words));
        }
        deferred::load(cx, l as u32, barrier, to[l] as u32, words)?;
    }
    Ok(())
}

/// A copy or reduction to global memory.
fn give(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let to = address::read(cx, instr, 0, instr.flags & 1 != 0);
    let from = address::read(cx, instr, 2, instr.flags & 2 != 0);
    let sizes = sizes(cx, mask, instr, &[to, from])?;
    for l in each_lane(mask).filter(|&l| sizes[l] > 0) {
        check_shared(cx, l, &from, sizes[l])?;
        check_global(cx, l, &to, sizes[l])?;
        if cx.memory.range(to[l], 1).is_some_and(|a| a.kind == Kind::Constant) {
            let message = format!("bulk copy to constant memory at {:#x}", to[l]);
            return Err(cx.fault(FaultKind::IllegalAddress, 1 << l, message));
        }
        tell_read(cx, l, Space::Shared, &from, sizes[l])?;
        cx.event(&Event::CopySource { offset: from[l] as u32, bytes: sizes[l], lane: l as u32 })?;
        store::issue(cx, l, from[l] as u32, to[l], sizes[l], usize::try_from(instr.imm).ok());
    }
    Ok(())
}
