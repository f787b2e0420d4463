//! `mbarrier`: barriers in shared memory that count arrivals of threads and bytes that copies bring.
//!
//! The truth is in [`super::Transfers`]; shared memory holds an opaque picture of it, by which an object that the program wrote
//! over is found. What the ISA leaves undefined is a fault. A wait is what makes copies land: see [`super::deferred`].
//! `try_wait` may say no without a reason, and here always does once before it says yes. Tests: `tests/mbarrier.rs`.

mod lower;
mod object;

pub use lower::{lower, lower_arrive_later};
pub use object::Object;

use super::{address, deferred};
use crate::{
    machine::{Access, AccessKind, Context, Event, Fault, FaultKind, Ordering, Scope},
    memory::{SHARED_WINDOW, WINDOW_SIZE},
    ops::memory::{check_alignment, check_bounds, each_lane, lanes_where, tell},
    program::{Instr, NONE},
    ptx::ast::Space,
};
use std::collections::BTreeMap;

/// The form of an operation, as the immediate holds it.
pub mod form {
    /// The address is generic.
    pub const GENERIC: i64 = 1;
    /// Orders nothing.
    pub const RELAXED: i64 = 2;
    /// Bytes are expected first; they are in operand 4.
    pub const EXPECT: i64 = 4;
    /// Drops out of later phases.
    pub const DROP: i64 = 8;
    /// Must not end the phase.
    pub const NO_COMPLETE: i64 = 16;
    /// The number of arrivals is in operand 4.
    pub const COUNT: i64 = 32;
    /// The phase is given by its parity.
    pub const PARITY: i64 = 64;
    /// May wait.
    pub const TRY: i64 = 128;
}
use form::{COUNT, DROP, EXPECT, GENERIC, NO_COMPLETE, PARITY, RELAXED, TRY};

/// Bytes of an object.
const BYTES: u32 = 8;

/// The place of the object of each lane: offsets in shared memory.
fn places(cx: &Context<'_, '_>, mask: u32, instr: &Instr) -> Result<[u64; 32], Fault> {
    let mut at = address::read(cx, instr, 2, instr.flags & 1 != 0);
    if instr.imm & GENERIC != 0 {
        at = shared_offsets(cx, mask, &at)?;
    }
    check_places(cx, mask, &at)?;
    Ok(at)
}

/// Demands that objects lie in shared memory, aligned.
pub fn check_places(cx: &Context<'_, '_>, mask: u32, at: &[u64; 32]) -> Result<(), Fault> {
    check_bounds(cx, mask, at, BYTES, cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, at, BYTES)
}

/// Offsets in shared memory of generic addresses.
fn shared_offsets(cx: &Context<'_, '_>, mask: u32, addresses: &[u64; 32]) -> Result<[u64; 32], Fault> {
    let offsets = addresses.map(|a| a.wrapping_sub(SHARED_WINDOW));
    match lanes_where(mask, &offsets, |o| o >= WINDOW_SIZE) {
        0 => Ok(offsets),
        wrong => {
            let address = addresses[wrong.trailing_zeros() as usize & 31];
            let message = format!("mbarrier at {address:#x}, which is not in shared memory");
            Err(cx.fault(FaultKind::InvalidAddressSpace, wrong, message))
        }
    }
}

/// Tells the watchers of an access to objects: of making and ending one as a store, of all else as an atomic operation on its lower
/// word and a load of its upper word. So arrivals and waits do not race with each other, but do with the making.
pub fn tell_object(
    cx: &mut Context<'_, '_>,
    kind: AccessKind,
    mask: u32,
    at: &[u64; 32],
) -> Result<(), Fault> {
    let store = kind == AccessKind::Store;
    let bytes = if store { BYTES } else { BYTES / 2 };
    let access = Access {
        kind,
        space: Space::Shared,
        ordering: if store { Ordering::Weak } else { Ordering::Relaxed },
        scope: Scope::Block,
        bytes,
        mask,
        addresses: at,
        contiguous: false,
        element: bytes,
        values: &[],
    };
    tell(cx, &access)?;
    if store {
        return Ok(());
    }
    let upper = at.map(|a| a.wrapping_add(u64::from(bytes)));
    let load = Access { kind: AccessKind::Load, ordering: Ordering::Weak, addresses: &upper, ..access };
    tell(cx, &load)
}

/// The object at `offset`, which must be as the last operation on it left it.
pub fn object(cx: &Context<'_, '_>, lane: usize, offset: u32) -> Result<Object, Fault> {
    let found = cx.block.transfers.objects.get(&offset).filter(|o| intact(cx, offset, o));
    found.copied().ok_or_else(|| {
        let message = format!(
            "no mbarrier object at shared offset {offset:#x}: not initialised, or written over since"
        );
        cx.fault(FaultKind::IllegalInstruction, 1 << lane, message)
    })
}

fn intact(cx: &Context<'_, '_>, offset: u32, object: &Object) -> bool {
    cx.block.shared.get(offset as usize / 4..offset as usize / 4 + 2) == Some(&object.encode())
}

/// Writes an object back.
pub fn put(objects: &mut BTreeMap<u32, Object>, shared: &mut [u32], offset: u32, object: Object) {
    objects.insert(offset, object);
    if let Some(words) = shared.get_mut(offset as usize / 4..offset as usize / 4 + 2) {
        words.copy_from_slice(&object.encode());
    }
}

/// Changes the object of a lane; misuse is a fault that says where. Gives the object as it was.
fn change(
    cx: &mut Context<'_, '_>,
    lane: usize,
    at: &[u64; 32],
    operation: impl FnOnce(&mut Object) -> Result<(), String>,
) -> Result<Object, Fault> {
    let offset = at[lane] as u32;
    let before = object(cx, lane, offset)?;
    let mut after = before;
    operation(&mut after).map_err(|message| {
        let message = format!("mbarrier at shared offset {offset:#x}: {message}");
        cx.fault(FaultKind::IllegalInstruction, 1 << lane, message)
    })?;
    put(&mut cx.block.transfers.objects, &mut cx.block.shared, offset, after);
    Ok(before)
}

fn operand(cx: &Context<'_, '_>, instr: &Instr) -> [u32; 32] {
    *cx.registers.single(instr.r[4])
}

fn init(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let at = places(cx, mask, instr)?;
    let counts = operand(cx, instr);
    tell_object(cx, AccessKind::Store, mask, &at)?;
    for l in each_lane(mask) {
        let (offset, count) = (at[l] as u32, counts[l]);
        let fault = |message: String, kind| {
            Err(cx.fault(kind, 1 << l, format!("mbarrier at shared offset {offset:#x}: {message}")))
        };
        if count == 0 || count > object::LIMIT {
            let message = format!("count {count}, expected 1 to {}", object::LIMIT);
            return fault(message, FaultKind::IllegalInstruction);
        }
        let live = cx.block.transfers.objects.get(&offset).is_some_and(|o| intact(cx, offset, o));
        if live && cx.settings.strict {
            return fault("initialised again without mbarrier.inval".into(), FaultKind::Finding);
        }
        put(&mut cx.block.transfers.objects, &mut cx.block.shared, offset, Object::new(count));
    }
    Ok(())
}

fn inval(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let at = places(cx, mask, instr)?;
    tell_object(cx, AccessKind::Store, mask, &at)?;
    for l in each_lane(mask) {
        object(cx, l, at[l] as u32)?;
        cx.block.transfers.objects.remove(&(at[l] as u32));
    }
    Ok(())
}

fn arrive(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let at = places(cx, mask, instr)?;
    let form = instr.imm;
    let operands = if form & (COUNT | EXPECT) != 0 { operand(cx, instr) } else { [1; 32] };
    tell_object(cx, AccessKind::Atomic(instr.r[0] != NONE), mask, &at)?;
    if form & RELAXED == 0 {
        tell_each(cx, mask, &at, |offset, mask| Event::MbarrierArrive { offset, mask })?;
    }
    let mut states = [0; 32];
    for l in each_lane(mask) {
        let count = if form & COUNT != 0 { operands[l] } else { 1 };
        let before = change(cx, l, &at, |object| {
            let phase = object.phase;
            if form & EXPECT != 0 {
                object.expect(operands[l])?;
            }
            if form & DROP != 0 {
                object.drop(count)?;
            }
            object.arrive(count)?;
            if form & NO_COMPLETE != 0 && object.phase != phase {
                return Err("the arrival ends the phase, which .noComplete rules out".into());
            }
            Ok(())
        })?;
        states[l] = before.state();
    }
    if instr.r[0] != NONE {
        cx.registers.write_double(instr.r[0], mask, &states);
    }
    Ok(())
}

fn expect_tx(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (at, bytes) = (places(cx, mask, instr)?, operand(cx, instr));
    tell_object(cx, AccessKind::Atomic(false), mask, &at)?;
    each_lane(mask).try_for_each(|l| change(cx, l, &at, |object| object.expect(bytes[l])).map(|_| ()))
}

fn complete_tx(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (at, bytes) = (places(cx, mask, instr)?, operand(cx, instr));
    tell_object(cx, AccessKind::Atomic(false), mask, &at)?;
    each_lane(mask).try_for_each(|l| change(cx, l, &at, |object| object.complete(bytes[l])).map(|_| ()))
}

/// `test_wait` and `try_wait`.
fn wait(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let at = places(cx, mask, instr)?;
    let which: [u64; 32] = match instr.imm & PARITY {
        0 => *cx.registers.double(instr.r[4]),
        _ => cx.registers.single(instr.r[4]).map(u64::from),
    };
    tell_object(cx, AccessKind::Atomic(true), mask, &at)?;
    let (mut rest, mut over) = (mask, 0);
    while rest != 0 {
        let l = rest.trailing_zeros() as usize & 31;
        let lanes = lanes_where(rest, &at, |a| a == at[l]) & lanes_where(rest, &which, |w| w == which[l]);
        rest &= !lanes;
        over |= wait_for(cx, lanes, at[l] as u32, which[l], instr.imm)?;
    }
    if instr.r[0] != NONE {
        cx.registers.write_predicate(instr.r[0], mask, over);
    }
    cx.warp.polled |= over != mask;
    Ok(())
}

/// The lanes of `lanes` that see the phase `which` of the object at `offset` over.
fn wait_for(cx: &mut Context<'_, '_>, lanes: u32, offset: u32, which: u64, form: i64) -> Result<u32, Fault> {
    let lane = lanes.trailing_zeros();
    let over = |cx: &Context<'_, '_>| {
        let object = object(cx, lane as usize, offset)?;
        let over = if form & PARITY != 0 { object.over_by_parity(which as u32) } else { object.over(which) };
        over.map_err(|message| {
            let message = format!("mbarrier at shared offset {offset:#x}: {message}");
            cx.fault(FaultKind::IllegalInstruction, lanes, message)
        })
    };
    let is_over = over(cx)?;
    if !is_over && !deferred::would_end_phase(&cx.block.transfers, offset) {
        cx.warp.copies.refused |= lanes;
        return Ok(0);
    }
    let seen = if is_over && form & TRY == 0 { lanes } else { lanes & cx.warp.copies.refused };
    cx.warp.copies.refused = cx.warp.copies.refused & !lanes | lanes & !seen;
    if seen == 0 {
        return Ok(0);
    }
    if !is_over {
        deferred::end_phase(cx, lane, offset)?;
    }
    deferred::tell_landed(cx, seen.trailing_zeros(), offset)?;
    if form & RELAXED == 0 {
        cx.event(&Event::MbarrierWait { offset, mask: seen })?;
    }
    Ok(seen)
}

/// Tells the watchers of an event of each object with the lanes that are at it.
fn tell_each(
    cx: &mut Context<'_, '_>,
    mask: u32,
    at: &[u64; 32],
    event: impl Fn(u32, u32) -> Event,
) -> Result<(), Fault> {
    let mut rest = if super::watched(cx) { mask } else { 0 };
    while rest != 0 {
        let offset = at[rest.trailing_zeros() as usize & 31];
        let lanes = lanes_where(rest, at, |a| a == offset);
        cx.event(&event(offset as u32, lanes))?;
        rest &= !lanes;
    }
    Ok(())
}

fn pending_count(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    if instr.r[0] != NONE {
        let counts = cx.registers.double(instr.r[4]).map(Object::pending_of);
        cx.registers.write_single(instr.r[0], mask, &counts);
    }
    Ok(())
}

/// `cp.async.mbarrier.arrive`: when what the lanes copied so far has landed, they arrive.
fn arrive_later(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let at = places(cx, mask, instr)?;
    tell_object(cx, AccessKind::Atomic(false), mask, &at)?;
    let mut rest = mask;
    while rest != 0 {
        let l = rest.trailing_zeros() as usize & 31;
        let lanes = lanes_where(rest, &at, |a| a == at[l]);
        rest &= !lanes;
        for lane in each_lane(lanes) {
            change(cx, lane, &at, |o| if instr.imm & COUNT != 0 { o.await_one_more() } else { Ok(()) })?;
        }
        deferred::arrival(cx, lanes, at[l] as u32);
    }
    Ok(())
}
