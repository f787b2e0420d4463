//! `cp.async`: copies of 4, 8 or 16 bytes by each lane, and the groups of them that lanes wait for.

use super::{Transfers, address, needs, watched};
use crate::{
    machine::{Access, AccessKind, Context, Event, Fault, FaultKind, Ordering, Scope, Settings, WarpInfo},
    ops::memory::{check_alignment, check_bounds, each_lane, lanes_where, locate, tell},
    program::{Builder, Exec, Instr, Program},
    ptx::ast::{Operand, Space, Type},
};

/// Copies that a warp issued together.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Lanes whose copies nobody has waited for.
    mask: u32,
    /// The group of each of them.
    group: u32,
    /// The instruction.
    pc: u32,
    bytes: u32,
    /// Where each lane's bytes go in shared memory.
    offsets: [u64; 32],
    data: [[u32; 4]; 32],
    /// Lanes of which the bytes are there already.
    landed: u32,
    /// Lanes for which a barrier waits.
    tracked: u32,
    /// Its place in the order of issue in the block.
    serial: u64,
    /// Turns until they land by themselves.
    early: Option<u32>,
}

impl Copy {
    /// A turn begins.
    pub fn drift(&mut self, shared: &mut [u32]) {
        match &mut self.early {
            Some(0) => {
                self.early = None;
                self.write(self.mask, shared);
            }
            Some(turns) => *turns -= 1,
            None => {}
        }
    }

    /// Writes the bytes of lanes, but for those that landed before.
    fn write(&mut self, lanes: u32, shared: &mut [u32]) {
        let words = self.bytes as usize / 4;
        let late = lanes & !self.landed;
        self.landed |= lanes;
        for l in each_lane(late) {
            let at = self.offsets[l] as usize / 4;
            shared[at..at + words].copy_from_slice(&self.data[l][..words]);
        }
    }
}

const SIZES: i64 = 1 << 8;
const IGNORES: i64 = 1 << 9;
const NEGATED: i64 = 1 << 10;

/// Lowers `cp.async` and what waits for it; `modifiers` are those after `async`.
pub fn lower(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    needs(b, 80)?;
    match modifiers {
        ["commit_group"] => {
            b.expect_operands(0)?;
            b.emit(Exec::Warp(commit))
        }
        ["wait_all"] => {
            b.expect_operands(0)?;
            b.emit(Exec::Warp(wait_all))
        }
        ["wait_group"] => {
            b.expect_operands(1)?;
            let groups = b.immediate(b.operand(0)?, Type::U32)?;
            b.set_imm(groups as i64);
            b.emit(Exec::Warp(wait))
        }
        [cache @ ("ca" | "cg"), "shared" | "shared::cta", "global", hints @ ..] => {
            lower_copy(b, *cache == "cg", hints)
        }
        _ => Err("unknown form".into()),
    }
}

/// `[dst], [src], bytes{, src-size | ignore-src}{, cache-policy}`.
fn lower_copy(b: &mut Builder<'_>, only_16: bool, hints: &[&str]) -> Result<(), String> {
    let policy = hint_policy(hints)?;
    let source = b.source;
    let (operands, extra) = match &source.operands[..] {
        [dst, src, bytes] if !policy => ([dst, src, bytes], None),
        [dst, src, bytes, last] if policy => {
            b.source(5, last, Type::B64)?;
            ([dst, src, bytes], None)
        }
        [dst, src, bytes, extra] => ([dst, src, bytes], Some(extra)),
        [dst, src, bytes, extra, last] if policy => {
            b.source(5, last, Type::B64)?;
            ([dst, src, bytes], Some(extra))
        }
        other => return Err(format!("has {} operands", other.len())),
    };
    let dst = address::lower(b, 0, operands[0], Space::Shared)?;
    let src = address::lower(b, 2, operands[1], Space::Global)?;
    let bytes = match (b.immediate(operands[2], Type::U32)?, only_16) {
        (16, _) => 16,
        (n @ (4 | 8), false) => n as i64,
        (n, true) => return Err(format!("copies {n} bytes, expected 16")),
        (n, false) => return Err(format!("copies {n} bytes, expected 4, 8 or 16")),
    };
    let extra = match extra {
        None => 0,
        Some(p @ Operand::Negated(_)) => ignore(b, p)?,
        Some(p @ Operand::Register(id)) if b.scope.register_type(*id) == Type::Pred => ignore(b, p)?,
        Some(size) => {
            b.address(4, size, Type::B32)?;
            SIZES
        }
    };
    b.set_imm(bytes | extra);
    b.set_flags(u8::from(dst) | u8::from(src) << 1);
    b.emit(Exec::Warp(issue))
}

fn ignore(b: &mut Builder<'_>, predicate: &Operand) -> Result<i64, String> {
    Ok(IGNORES | if b.predicate(4, predicate)? { NEGATED } else { 0 })
}

/// Whether the hints of a copy name a cache policy, which is then the last operand. They say where data is kept on its way,
/// not what it is.
fn hint_policy(hints: &[&str]) -> Result<bool, String> {
    let (policy, sizes) = match hints {
        ["L2::cache_hint", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    match sizes {
        [] | ["L2::64B" | "L2::128B" | "L2::256B"] => Ok(policy),
        other => Err(format!("unknown modifiers {}", other.join("."))),
    }
}

fn issue(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let bytes = instr.imm as u32 & 0xFF;
    let offsets = address::read(cx, instr, 0, instr.flags & 1 != 0);
    let sources = address::read(cx, instr, 2, instr.flags & 2 != 0);
    check_bounds(cx, mask, &offsets, bytes, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, &offsets, bytes)?;
    let sizes = sizes(cx, mask, instr, bytes)?;
    let data = gather(cx, lanes_where(mask, &sizes, |s| s > 0), &sources, &sizes, bytes)?;
    if watched(cx) {
        for l in each_lane(mask) {
            cx.event(&Event::CopyPending { offset: offsets[l] as u32, bytes, lane: l as u32 })?;
        }
    }
    let (warp, pc) = (cx.warp.index as usize, cx.pc);
    let mut rest = mask;
    while rest != 0 {
        let group = cx.warp.copies.committed[rest.trailing_zeros() as usize];
        let mask = lanes_where(rest, &cx.warp.copies.committed, |g| g == group);
        let transfers = &mut cx.block.transfers;
        transfers.serial += 1;
        let (early, serial) = (transfers.early(cx.settings.order, cx.block.number), transfers.serial);
        let copy = Copy { mask, group, pc, bytes, offsets, data, landed: 0, tracked: 0, serial, early };
        of_warp(transfers, warp).push(copy);
        rest &= !mask;
    }
    Ok(())
}

/// Bytes that each lane reads.
fn sizes(cx: &Context<'_, '_>, mask: u32, instr: &Instr, bytes: u32) -> Result<[u32; 32], Fault> {
    if instr.imm & IGNORES != 0 {
        let p = cx.registers.predicate(instr.r[4]);
        let ignored = if instr.imm & NEGATED != 0 { !p } else { p };
        return Ok(std::array::from_fn(|l| if ignored >> l & 1 == 1 { 0 } else { bytes }));
    }
    if instr.imm & SIZES == 0 {
        return Ok([bytes; 32]);
    }
    let sizes = *cx.registers.single(instr.r[4]);
    match lanes_where(mask, &sizes, |s| s > bytes) {
        0 => Ok(sizes),
        wrong => {
            let size = sizes[wrong.trailing_zeros() as usize];
            let message = format!("source of {size} bytes for a copy of {bytes}");
            Err(cx.fault(FaultKind::IllegalInstruction, wrong, message))
        }
    }
}

/// Reads what lanes copy; zeros follow it.
fn gather(
    cx: &mut Context<'_, '_>,
    mask: u32,
    sources: &[u64; 32],
    sizes: &[u32; 32],
    bytes: u32,
) -> Result<[[u32; 4]; 32], Fault> {
    check_alignment(cx, mask, sources, bytes)?;
    let mut data = [[0; 4]; 32];
    let mut rest = mask;
    while rest != 0 {
        let size = sizes[rest.trailing_zeros() as usize];
        let lanes = lanes_where(rest, sizes, |s| s == size);
        rest &= !lanes;
        let found = locate(cx, lanes, sources, size)?;
        tell(cx, &access(AccessKind::CopyRead, Space::Global, size, lanes, sources))?;
        for l in each_lane(lanes) {
            let allocation = found.allocation(cx, sources[l]);
            let first = (sources[l] - allocation.base) as usize / 4;
            let words = &allocation.words()[first..first + (size as usize).div_ceil(4)];
            for (to, from) in data[l].iter_mut().zip(words) {
                *to = from.load(std::sync::atomic::Ordering::Relaxed);
            }
            if !size.is_multiple_of(4) {
                data[l][size as usize / 4] &= (1 << (8 * (size % 4))) - 1;
            }
        }
    }
    Ok(data)
}

fn access(kind: AccessKind, space: Space, bytes: u32, mask: u32, addresses: &[u64; 32]) -> Access<'_> {
    let (ordering, scope, contiguous) = (Ordering::Weak, Scope::System, false);
    Access { kind, space, ordering, scope, bytes, mask, addresses, contiguous, element: bytes, values: &[] }
}

/// The copies of a warp.
fn of_warp(transfers: &mut Transfers, warp: usize) -> &mut Vec<Copy> {
    if transfers.single.len() <= warp {
        transfers.single.resize_with(warp + 1, Vec::new);
    }
    &mut transfers.single[warp]
}

fn commit(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    each_lane(mask).for_each(|l| cx.warp.copies.committed[l] += 1);
    Ok(())
}

fn wait(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let pending = instr.imm as u32;
    let limits = cx.warp.copies.committed.map(|c| c.saturating_sub(pending));
    land(cx, mask, &limits)
}

fn wait_all(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    land(cx, mask, &[u32::MAX; 32])
}

/// Lands the copies of lanes in groups below each lane's limit.
fn land(cx: &mut Context<'_, '_>, mask: u32, limits: &[u32; 32]) -> Result<(), Fault> {
    let warp = cx.warp.index as usize;
    let mut copies = std::mem::take(of_warp(&mut cx.block.transfers, warp));
    for copy in &mut copies {
        let lanes = lanes_where(mask & copy.mask, limits, |limit| copy.group < limit);
        if lanes != 0 {
            tell(cx, &access(AccessKind::CopyWrite, Space::Shared, copy.bytes, lanes, &copy.offsets))?;
            copy.write(lanes, &mut cx.block.shared);
            copy.mask &= !lanes;
            if watched(cx) {
                for l in each_lane(lanes) {
                    let (offset, bytes) = (copy.offsets[l] as u32, copy.bytes);
                    cx.event(&Event::CopyLanded { offset, bytes, lane: l as u32 })?;
                }
            }
        }
    }
    copies.retain(|c| c.mask != 0);
    *of_warp(&mut cx.block.transfers, warp) = copies;
    Ok(())
}

/// Lanes leave the kernel: what they did not wait for never lands, and is a finding of the checks.
pub fn leave(
    settings: &Settings,
    program: &Program,
    transfers: &mut Transfers,
    warp: &WarpInfo,
    mask: u32,
) -> Result<(), Fault> {
    let Some(copies) = transfers.single.get_mut(warp.index as usize) else { return Ok(()) };
    for copy in copies.iter_mut() {
        let left = copy.mask & mask & !copy.tracked;
        if left != 0 && settings.strict {
            let lane = left.trailing_zeros();
            let line = program.lines.get(copy.pc as usize).map_or(0, |l| l.ptx);
            let message = format!(
                "leaves without waiting for its cp.async of {} bytes to shared offset {:#x}, issued at PTX line {line}",
                copy.bytes,
                copy.offsets[lane as usize & 31]
            );
            return Err(Fault::new(FaultKind::Finding, lane, message));
        }
        copy.mask &= !left;
    }
    copies.retain(|c| c.mask != 0);
    Ok(())
}

/// From now on a barrier waits for the copies of these lanes.
pub fn track(transfers: &mut Transfers, warp: u32, lanes: u32) {
    of_warp(transfers, warp as usize).iter_mut().for_each(|c| c.tracked |= c.mask & lanes);
}

/// The copies of a lane issued up to `serial`.
fn before(lane: u32, serial: u64) -> impl Fn(&Copy) -> bool {
    move |c| c.mask >> lane & 1 == 1 && c.serial <= serial
}

/// Lands the copies of a lane issued up to `serial`.
pub fn land_before(copies: &mut [Vec<Copy>], shared: &mut [u32], warp: u32, lane: u32, serial: u64) {
    let Some(copies) = copies.get_mut(warp as usize) else { return };
    let which = before(lane, serial);
    copies.iter_mut().filter(|c| which(c)).for_each(|c| c.write(1 << lane, shared));
}

/// Removes the copies of a lane issued up to `serial`, which have landed; gives where.
pub fn forget_before(transfers: &mut Transfers, warp: u32, lane: u32, serial: u64) -> Vec<(u32, u32)> {
    let copies = of_warp(transfers, warp as usize);
    let (which, mut gone) = (before(lane, serial), Vec::new());
    for copy in copies.iter_mut().filter(|c| which(c)) {
        copy.mask &= !(1 << lane);
        gone.push((copy.offsets[lane as usize & 31] as u32, copy.bytes));
    }
    copies.retain(|c| c.mask != 0);
    gone
}

/// Whether a lane has copies issued up to `serial` that nobody has waited for.
pub fn pending_before(transfers: &Transfers, warp: u32, lane: u32, serial: u64) -> bool {
    transfers.single.get(warp as usize).is_some_and(|copies| copies.iter().any(before(lane, serial)))
}
