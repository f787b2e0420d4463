//! What lanes tell each other: `shfl`, `vote`, `match`, `redux`, `elect`, `activemask`.
//!
//! All but the last name their lanes in a mask, which is operand 0, and run when these have arrived (see [`Exec::Sync`]): a
//! handler's `mask` is then all of them that are left, and `r[1]` is the destination. Tests: `tests/warp_exchange.rs`.

use super::memory::each_lane;
use crate::{
    isa::versions,
    machine::{Context, FULL, Fault, FaultKind},
    numeric::minmax::{Mode, max32_mode, min32_mode},
    program::{Builder, Exec, Instr, NONE, WarpFn, Width},
    ptx::ast::{Operand, Type},
};

const MASK: usize = 0;
const D: usize = 1;
const P: usize = 2;
const A: usize = 3;
const B: usize = 4;
const C: usize = 5;

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let modifiers = b.modifiers();
    match (b.source.opcode.as_str(), modifiers.as_str()) {
        ("activemask", "b32") => {
            b.expect_operands(1)?;
            b.destination(D, b.operand(0)?, Type::B32)?;
            b.emit(Exec::Warp(active_mask))
        }
        ("elect", "sync") => {
            b.expect_operands(2)?;
            pair(b, b.operand(0)?, Type::B32)?;
            b.address(MASK, b.operand(1)?, Type::B32)?;
            b.emit(Exec::Sync(elect))
        }
        ("shfl", _) => shuffle(b, &modifiers),
        ("vote", _) => vote(b, &modifiers),
        ("match", _) => find_equal(b, &modifiers),
        ("redux", _) => reduction(b, &modifiers),
        _ => Err("unknown form".into()),
    }
}

/// Puts the destinations of `d|p` at `r[D]` and `r[P]`; without `|p` the second stays empty.
fn pair(b: &mut Builder<'_>, operand: &Operand, ty: Type) -> Result<(), String> {
    match operand {
        Operand::Pair(d, p) => {
            b.destination(D, d, ty)?;
            b.destination(P, p, Type::Pred)
        }
        d => b.destination(D, d, ty),
    }
}

#[inline(always)]
fn write(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr, values: &[u32; 32], holds: u32) {
    if instr.r[D] != NONE {
        cx.registers.write_single(instr.r[D], mask, values);
    }
    if instr.r[P] != NONE {
        cx.registers.write_predicate(instr.r[P], mask, holds);
    }
}

fn active_mask(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    write(cx, mask, instr, &[mask; 32], 0);
    Ok(())
}

/// The ISA leaves the choice open; ours is the lowest lane.
fn elect(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let leader = mask.trailing_zeros();
    write(cx, mask, instr, &[leader; 32], 1 << leader);
    Ok(())
}

const SHUFFLES: [&str; 4] = ["sync.up.b32", "sync.down.b32", "sync.bfly.b32", "sync.idx.b32"];

fn shuffle(b: &mut Builder<'_>, modifiers: &str) -> Result<(), String> {
    let mode = SHUFFLES.iter().position(|&s| s == modifiers).ok_or("unknown form")?;
    let run = match mode {
        0 => move_between_lanes::<Number<0>>(b.isa),
        1 => move_between_lanes::<Number<1>>(b.isa),
        2 => move_between_lanes::<Number<2>>(b.isa),
        _ => move_between_lanes::<Number<3>>(b.isa),
    };
    b.expect_operands(5)?;
    pair(b, b.operand(0)?, Type::B32)?;
    b.source(A, b.operand(1)?, Type::B32)?;
    b.address(B, b.operand(2)?, Type::B32)?;
    b.address(C, b.operand(3)?, Type::B32)?;
    b.address(MASK, b.operand(4)?, Type::B32)?;
    // For the checks.
    b.set_imm(mode as i64);
    b.emit(Exec::Sync(run))
}

/// A mode of `shfl`: its place in [`SHUFFLES`].
trait Shuffle: 'static {
    const MODE: i64;
}

struct Number<const N: i64>;

impl<const N: i64> Shuffle for Number<N> {
    const MODE: i64 = N;
}

/// Where a lane reads from, and whether that is within its part of the warp.
#[inline(always)]
fn source_lane(mode: i64, lane: i32, b: u32, c: u32) -> (i32, bool) {
    let (b, clamp, segment) = ((b & 31) as i32, (c & 31) as i32, (c >> 8 & 31) as i32);
    let last = (lane & segment) | (clamp & !segment);
    let first = lane & segment;
    match mode {
        0 => (lane - b, lane - b >= last),
        1 => (lane + b, lane + b <= last),
        2 => (lane ^ b, lane ^ b <= last),
        _ => {
            let source = first | (b & !segment);
            (source, source <= last)
        }
    }
}

#[inline(always)]
fn shuffle_body<S: Shuffle>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let a = *cx.registers.single(instr.r[A]);
    let (b, c) = (cx.registers.single(instr.r[B]), cx.registers.single(instr.r[C]));
    let (mut sources, mut within, mut there) = ([0u32; 32], 0, 0);
    for l in 0..32 {
        let (source, holds) = source_lane(S::MODE, l as i32, b[l], c[l]);
        // A lane within the part is one of the 32; the others keep their own value.
        sources[l] = if holds { source as u32 & 31 } else { l as u32 };
        within |= u32::from(holds) << l;
        there |= (mask >> sources[l] & 1) << l;
    }
    let absent = mask & !there;
    if absent != 0 {
        let missing = each_lane(absent).fold(0, |m, l| m | 1 << sources[l]);
        let message = format!(
            "lanes {absent:#010x} read from lanes {missing:#010x}, which do not take part: {mask:#010x} do"
        );
        return Err(cx.fault(FaultKind::IllegalInstruction, absent, message));
    }
    let mut values = [0; 32];
    for l in 0..32 {
        values[l] = a[sources[l] as usize & 31];
    }
    write(cx, mask, instr, &values, within);
    Ok(())
}

versions! {
    /// The handler of `shfl` in one mode.
    fn move_between_lanes<S: Shuffle>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> as WarpFn = shuffle_body
}

fn vote(b: &mut Builder<'_>, modifiers: &str) -> Result<(), String> {
    let (run, d): (WarpFn, _) = match modifiers {
        "sync.all.pred" => (vote_all, Type::Pred),
        "sync.any.pred" => (vote_any, Type::Pred),
        "sync.uni.pred" => (vote_uniform, Type::Pred),
        "sync.ballot.b32" => (ballot, Type::B32),
        _ => return Err("unknown form".into()),
    };
    b.expect_operands(3)?;
    b.destination(if d == Type::Pred { P } else { D }, b.operand(0)?, d)?;
    let negate = b.predicate(A, b.operand(1)?)?;
    b.set_flags(u8::from(negate));
    b.address(MASK, b.operand(2)?, Type::B32)?;
    b.emit(Exec::Sync(run))
}

/// The lanes of `mask` whose predicate holds.
fn votes(cx: &Context<'_, '_>, mask: u32, instr: &Instr) -> u32 {
    let p = cx.registers.predicate(instr.r[A]);
    mask & if instr.flags == 1 { !p } else { p }
}

fn all(holds: bool) -> u32 {
    if holds { FULL } else { 0 }
}

fn vote_all(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let holds = votes(cx, mask, instr) == mask;
    write(cx, mask, instr, &[0; 32], all(holds));
    Ok(())
}

fn vote_any(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let holds = votes(cx, mask, instr) != 0;
    write(cx, mask, instr, &[0; 32], all(holds));
    Ok(())
}

fn vote_uniform(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let votes = votes(cx, mask, instr);
    write(cx, mask, instr, &[0; 32], all(votes == 0 || votes == mask));
    Ok(())
}

fn ballot(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let votes = votes(cx, mask, instr);
    write(cx, mask, instr, &[votes; 32], 0);
    Ok(())
}

fn find_equal(b: &mut Builder<'_>, modifiers: &str) -> Result<(), String> {
    let (run, ty): (WarpFn, _) = match modifiers {
        "any.sync.b32" => (match_any, Type::B32),
        "any.sync.b64" => (match_any, Type::B64),
        "all.sync.b32" => (match_all, Type::B32),
        "all.sync.b64" => (match_all, Type::B64),
        _ => return Err("unknown form".into()),
    };
    b.expect_operands(3)?;
    match (b.operand(0)?, modifiers.starts_with("all")) {
        (Operand::Pair(..), false) => return Err("match.any has no second destination".into()),
        (d, _) => pair(b, d, Type::B32)?,
    }
    b.source(A, b.operand(1)?, ty)?;
    b.address(MASK, b.operand(2)?, Type::B32)?;
    b.set_flags(u8::from(Width::of(ty) == Width::Double));
    b.emit(Exec::Sync(run))
}

fn matched(cx: &Context<'_, '_>, instr: &Instr) -> [u64; 32] {
    match instr.flags {
        1 => *cx.registers.double(instr.r[A]),
        _ => cx.registers.single(instr.r[A]).map(u64::from),
    }
}

fn match_any(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let a = matched(cx, instr);
    let mut peers = [0; 32];
    for l in each_lane(mask) {
        peers[l] = each_lane(mask).filter(|&m| a[m] == a[l]).fold(0, |m, l| m | 1 << l);
    }
    write(cx, mask, instr, &peers, 0);
    Ok(())
}

fn match_all(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let a = matched(cx, instr);
    let first = a[mask.trailing_zeros() as usize & 31];
    let same = each_lane(mask).all(|l| a[l] == first);
    write(cx, mask, instr, &[mask & all(same); 32], all(same));
    Ok(())
}

type Fold = fn(u32, u32) -> u32;

fn signed(f: fn(i32, i32) -> i32, a: u32, b: u32) -> u32 {
    f(a as i32, b as i32) as u32
}

fn float(f: fn(f32, f32, Mode) -> f32, nan: bool, a: u32, b: u32) -> u32 {
    f(f32::from_bits(a), f32::from_bits(b), Mode { nan, xorsign_abs: false }).to_bits()
}

/// The reductions by spelling. Only the last eight take floats.
const REDUCTIONS: [(&str, Fold); 17] = [
    ("add.u32", u32::wrapping_add),
    ("add.s32", u32::wrapping_add),
    ("min.u32", |a, b| a.min(b)),
    ("max.u32", |a, b| a.max(b)),
    ("min.s32", |a, b| signed(i32::min, a, b)),
    ("max.s32", |a, b| signed(i32::max, a, b)),
    ("and.b32", |a, b| a & b),
    ("or.b32", |a, b| a | b),
    ("xor.b32", |a, b| a ^ b),
    ("min.f32", |a, b| float(min32_mode, false, a, b)),
    ("max.f32", |a, b| float(max32_mode, false, a, b)),
    ("min.NaN.f32", |a, b| float(min32_mode, true, a, b)),
    ("max.NaN.f32", |a, b| float(max32_mode, true, a, b)),
    ("min.abs.f32", |a, b| float(min32_mode, false, a, b)),
    ("max.abs.f32", |a, b| float(max32_mode, false, a, b)),
    ("min.abs.NaN.f32", |a, b| float(min32_mode, true, a, b)),
    ("max.abs.NaN.f32", |a, b| float(max32_mode, true, a, b)),
];

fn reduction(b: &mut Builder<'_>, modifiers: &str) -> Result<(), String> {
    let spelling = modifiers.strip_prefix("sync.").ok_or("unknown form")?;
    let which = REDUCTIONS.iter().position(|&(s, _)| s == spelling).ok_or("unknown form")?;
    let float = spelling.ends_with("f32");
    if b.scope.arch < if float { 100 } else { 80 } {
        return Err(format!("needs a later device than {}", b.scope.arch));
    }
    b.expect_operands(3)?;
    let ty = if float { Type::F32 } else { Type::B32 };
    b.destination(D, b.operand(0)?, ty)?;
    b.source(A, b.operand(1)?, ty)?;
    b.address(MASK, b.operand(2)?, Type::B32)?;
    b.set_imm(which as i64);
    b.set_flags(if !float { 0 } else { 1 + u8::from(spelling.contains(".abs")) });
    b.emit(Exec::Sync(reduce))
}

/// Lane after lane; every order gives the same. Of floats, one NaN is the canonical one, even alone.
fn reduce(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let (_, fold) = REDUCTIONS[instr.imm as usize];
    let mut a = *cx.registers.single(instr.r[A]);
    if instr.flags == 2 {
        a = a.map(|x| x & 0x7FFF_FFFF);
    }
    let mut lanes = each_lane(mask);
    let first = lanes.next().map_or(0, |l| a[l]);
    // A float is folded with itself first: it comes back as it is, or as the canonical NaN.
    let first = if instr.flags > 0 { fold(first, first) } else { first };
    let value = lanes.fold(first, |acc, l| fold(acc, a[l]));
    write(cx, mask, instr, &[value; 32], 0);
    Ok(())
}
