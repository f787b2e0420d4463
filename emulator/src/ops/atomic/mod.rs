//! `atom` and `red`: in global, shared and generic memory, of 16 to 64 bits and of vectors.
//!
//! Lanes that hit the same place do so one after another: in their order, or in a random one where warps run in random order.
//! Operands: the destinations are `r[0]` to `r[3]`, the address is `r[8]`, `b` is `r[4]` to `r[7]` (elements of a vector of eight go on at
//! `r[9]`), `c` is `r[5]`. The immediate is a [`Form`] with the number of elements above; `flags` is the operation.
//! Tests: `tests/atomics.rs`.

mod operations;

use super::memory::{
    Form, addresses, by_window, check_alignment, check_bounds, describe, each_lane, locate, place_address,
    tell,
};
use crate::{
    machine::{AccessKind, Context, Fault, FaultKind, Order, Ordering, Scope},
    memory::{Kind, update},
    program::{Builder, Exec, Instr, NONE, WarpFn},
    ptx::ast::{Operand, Space, Type},
};
use operations::{Apply, Forms, OPERATIONS, Operation};

/// Where the elements of `b` stand: a vector of eight goes around the address.
const B: [usize; 8] = [4, 5, 6, 7, 9, 10, 11, 12];
/// Where `c` stands.
const C: usize = 5;
/// From which bit of the immediate on the number of elements stands.
const ELEMENTS: u32 = 48;

/// The parts of a spelling.
struct Spelling {
    operation: usize,
    space: Option<&'static str>,
    ordering: Ordering,
    scope: Scope,
    elements: usize,
    hint: bool,
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let returns = b.source.opcode == "atom";
    let s = spell(b, returns)?;
    let operation = &OPERATIONS[s.operation];
    let mut operands = &b.source.operands[..];
    if s.hint {
        // A cache policy changes where data is kept, not what it is.
        let (policy, rest) = operands.split_last().ok_or("has no cache policy")?;
        b.source(13, policy, Type::B64)?;
        operands = rest;
    }
    let expected = usize::from(returns) + 2 + usize::from(operation.name == "cas");
    if operands.len() != expected {
        return Err(format!("has {} operands, expected {expected}", operands.len()));
    }
    if returns {
        let parts = elements(&operands[0], s.elements)?;
        for (i, d) in parts.iter().enumerate() {
            b.destination(i, d, operation.ty)?;
        }
        operands = &operands[1..];
    }
    let Operand::Address { base, offset } = &operands[0] else {
        return Err(format!("operand {:?} is not an address", operands[0]));
    };
    let (space, offset) = place_address(b, s.space, base, *offset)?;
    let run: WarpFn = match space {
        Some("global") => global,
        Some("shared") => shared,
        None => generic,
        Some(other) => return Err(format!("atomics in the space {other} are not supported")),
    };
    let offset = i32::try_from(offset).map_err(|_| format!("offset {offset} does not fit 32 bits"))?;
    for (&at, value) in B.iter().zip(elements(&operands[1], s.elements)?) {
        b.source(at, value, operation.ty)?;
    }
    if let Some(c) = operands.get(2) {
        b.source(C, c, operation.ty)?;
    }
    let wide = !matches!(&**base, Operand::Register(id) if b.scope.register_type(*id).size() == 4);
    let form = Form::new(offset).ordered(s.ordering, s.scope).with_wide_address(wide);
    b.set_imm(form.0 | (s.elements as i64) << ELEMENTS);
    b.set_flags(s.operation as u8);
    b.emit(Exec::Warp(run))
}

/// The elements of a vector operand, or the one of a scalar.
fn elements(operand: &Operand, n: usize) -> Result<&[Operand], String> {
    match operand {
        Operand::Vector(parts) if n > 1 && parts.len() == n => Ok(parts),
        Operand::Vector(parts) => Err(format!("has {} values, expected {n}", parts.len())),
        one if n == 1 => Ok(std::slice::from_ref(one)),
        other => Err(format!("operand {other:?} is not a vector of {n} values")),
    }
}

fn spell(b: &Builder<'_>, returns: bool) -> Result<Spelling, String> {
    let (mut name, mut noftz, mut ty, mut vector) = (None, false, None, None);
    let (mut space, mut ordering, mut scope, mut hint) = (None, None, None, false);
    fn once<T>(slot: &mut Option<T>, value: T, modifier: &str) -> Result<(), String> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(format!("modifier {modifier} is one too many")),
        }
    }
    for m in &b.source.modifiers {
        match m.as_str() {
            "global" => once(&mut space, "global", m)?,
            "shared" | "shared::cta" => once(&mut space, "shared", m)?,
            "relaxed" => once(&mut ordering, Ordering::Relaxed, m)?,
            "acquire" if returns => once(&mut ordering, Ordering::Acquire, m)?,
            "release" => once(&mut ordering, Ordering::Release, m)?,
            "acq_rel" if returns => once(&mut ordering, Ordering::AcquireRelease, m)?,
            "cta" => once(&mut scope, Scope::Block, m)?,
            "cluster" => once(&mut scope, Scope::Cluster, m)?,
            "gpu" => once(&mut scope, Scope::Device, m)?,
            "sys" => once(&mut scope, Scope::System, m)?,
            "v2" => once(&mut vector, 2, m)?,
            "v4" => once(&mut vector, 4, m)?,
            "v8" => once(&mut vector, 8, m)?,
            "noftz" if !noftz => noftz = true,
            "L2::cache_hint" if !hint => hint = true,
            "add" | "min" | "max" | "and" | "or" | "xor" | "inc" | "dec" | "exch" | "cas" => {
                once(&mut name, m.as_str(), m)?;
            }
            other => {
                once(&mut ty, Type::parse(other).ok_or_else(|| format!("unknown modifier {other}"))?, m)?
            }
        }
    }
    let (name, ty) = (name.ok_or("has no operation")?, ty.ok_or("has no type")?);
    let spelled = if noftz { format!("{name}.noftz") } else { name.to_string() };
    let operation = OPERATIONS
        .iter()
        .position(|o| o.name == spelled && o.ty == ty)
        .ok_or_else(|| format!("operation {spelled} of {ty:?} is not supported"))?;
    check_form(b, &OPERATIONS[operation], returns, vector, space)?;
    Ok(Spelling {
        operation,
        space,
        // The ISA's defaults.
        ordering: ordering.unwrap_or(Ordering::Relaxed),
        scope: scope.unwrap_or(Scope::Device),
        elements: vector.unwrap_or(1),
        hint,
    })
}

/// Demands that the form exists, and that the device has it.
fn check_form(
    b: &Builder<'_>,
    operation: &Operation,
    returns: bool,
    vector: Option<usize>,
    space: Option<&str>,
) -> Result<(), String> {
    let exists = match operation.forms {
        Forms::Scalar => vector.is_none(),
        Forms::Returning => vector.is_none() && returns,
        Forms::All => true,
        Forms::Vector => vector.is_some(),
    };
    if !exists {
        return Err(format!("operation {} of {:?} has no such form", operation.name, operation.ty));
    }
    let Some(n) = vector else { return Ok(()) };
    if b.scope.arch < 90 {
        return Err(format!("vectors need compute capability 9.0, the device has {}", b.scope.arch));
    }
    if n * operation.ty.size() > 16 || space == Some("shared") {
        return Err(format!("a vector of {n} {:?} is not supported here", operation.ty));
    }
    if returns && n == 8 {
        return Err("a vector of eight that is returned is not supported".into());
    }
    Ok(())
}

fn global(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let addresses = addresses(cx, instr, Form(instr.imm));
    global_at(cx, mask, instr, &addresses)
}

fn shared(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let addresses = addresses(cx, instr, Form(instr.imm));
    shared_at(cx, mask, instr, &addresses)
}

fn generic(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let addresses = addresses(cx, instr, Form(instr.imm));
    by_window(cx, mask, &addresses, |cx, mask, addresses, space| match space {
        Space::Global => global_at(cx, mask, instr, addresses),
        Space::Shared if instr.imm >> ELEMENTS == 1 => shared_at(cx, mask, instr, addresses),
        _ => Err(cx.fault(
            FaultKind::InvalidAddressSpace,
            mask,
            format!("atomic of this form on {space:?} memory, which has none"),
        )),
    })
}

/// Checks an access, and tells the watchers.
fn announce(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    space: Space,
    addresses: &[u64; 32],
) -> Result<(), Fault> {
    let returns = instr.r[..4].iter().any(|&r| r != NONE);
    // What a spinning lock repeats.
    cx.warp.polled |= OPERATIONS[instr.flags as usize].forms == Forms::Returning;
    let form = Form(instr.imm);
    let mut access = describe(form, AccessKind::Atomic(returns), space, mask, bytes(instr), addresses);
    access.element = OPERATIONS[instr.flags as usize].ty.size() as u32;
    tell(cx, &access)
}

fn bytes(instr: &Instr) -> u32 {
    (instr.imm >> ELEMENTS) as u32 * OPERATIONS[instr.flags as usize].ty.size() as u32
}

fn global_at(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr, addresses: &[u64; 32]) -> Result<(), Fault> {
    check_alignment(cx, mask, addresses, bytes(instr))?;
    let found = locate(cx, mask, addresses, bytes(instr))?;
    for l in each_lane(mask) {
        if found.allocation(cx, addresses[l]).kind == Kind::Constant {
            let message = format!("atomic on constant memory at {:#x}", addresses[l]);
            return Err(cx.fault(FaultKind::IllegalAddress, 1 << l, message));
        }
    }
    announce(cx, mask, instr, Space::Global, addresses)?;
    let apply = OPERATIONS[instr.flags as usize].apply_in(Space::Global);
    apply_lanes(cx, mask, instr, |cx, l, at, b, c| {
        let allocation = found.allocation(cx, addresses[l]);
        let (words, offset) = (allocation.words(), (addresses[l] - allocation.base) as usize + at);
        match apply {
            Apply::Half(f) => u64::from(update::half(words, offset, |old| f(old, b as u16, c as u16))),
            Apply::Word(f) => u64::from(update::word(words, offset, |old| f(old, b as u32, c as u32))),
            Apply::Double(f) => update::double(words, offset, |old| f(old, b, c)),
        }
    });
    Ok(())
}

fn shared_at(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr, addresses: &[u64; 32]) -> Result<(), Fault> {
    check_bounds(cx, mask, addresses, bytes(instr), cx.block.shared_bytes, "shared memory")?;
    check_alignment(cx, mask, addresses, bytes(instr))?;
    announce(cx, mask, instr, Space::Shared, addresses)?;
    let apply = OPERATIONS[instr.flags as usize].apply_in(Space::Shared);
    apply_lanes(cx, mask, instr, |cx, l, at, b, c| {
        let offset = addresses[l] as usize + at;
        let (words, first) = (&mut cx.block.shared, offset / 4);
        match apply {
            Apply::Half(f) => {
                let shift = 8 * (offset % 4);
                let old = (words[first] >> shift) as u16;
                let new = u32::from(f(old, b as u16, c as u16));
                words[first] = words[first] & !(0xFFFF << shift) | new << shift;
                u64::from(old)
            }
            Apply::Word(f) => {
                let old = words[first];
                words[first] = f(old, b as u32, c as u32);
                u64::from(old)
            }
            Apply::Double(f) => {
                let old = u64::from(words[first]) | u64::from(words[first + 1]) << 32;
                let new = f(old, b, c);
                (words[first], words[first + 1]) = (new as u32, (new >> 32) as u32);
                old
            }
        }
    });
    Ok(())
}

/// Runs `step` for every lane and element, and writes the old values that it gives. Its arguments are the lane, the offset of the element
/// from the lane's address, and the operands.
fn apply_lanes(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
    mut step: impl FnMut(&mut Context<'_, '_>, usize, usize, u64, u64) -> u64,
) {
    let size = OPERATIONS[instr.flags as usize].ty.size();
    let order = lane_order(cx);
    let elements = (instr.imm >> ELEMENTS) as usize;
    let c = operand(cx, instr.r[C], size);
    for e in 0..elements {
        let b = operand(cx, instr.r[B[e]], size);
        let mut old = [0; 32];
        for l in order.map(usize::from).into_iter().filter(|l| mask >> l & 1 == 1) {
            old[l] = step(cx, l, e * size, b[l], c[l]);
        }
        match instr.r.get(e) {
            Some(&d) if e < 4 && d != NONE && size == 8 => cx.registers.write_double(d, mask, &old),
            Some(&d) if e < 4 && d != NONE => cx.registers.write_single(d, mask, &old.map(|v| v as u32)),
            _ => {}
        }
    }
}

fn operand(cx: &Context<'_, '_>, register: u16, size: usize) -> [u64; 32] {
    match register {
        NONE => [0; 32],
        r if size == 8 => *cx.registers.double(r),
        r => cx.registers.single(r).map(u64::from),
    }
}

/// The order in which lanes take their turn.
fn lane_order(cx: &Context<'_, '_>) -> [u8; 32] {
    let Order::Random(seed) = cx.settings.order else { return std::array::from_fn(|l| l as u8) };
    let mut hash = seed ^ cx.warp.clock.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(cx.warp.index) << 32;
    hash = (hash ^ hash >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    // A start and an odd step: every lane comes once.
    let (start, step) = (hash >> 40, hash >> 50 | 1);
    std::array::from_fn(|i| (start.wrapping_add(step.wrapping_mul(i as u64)) % 32) as u8)
}
