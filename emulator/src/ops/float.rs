//! Arithmetic on f32 and f64: add, sub, mul, fma, mad, abs, neg. `div` and its like are in [`super::quotient`].
//!
//! Tests: `tests/alu/float.rs`.

use super::{
    compose::{Flushed, Then},
    elementwise::elementwise,
    lanes::{Binary, Ternary, Unary, binary, op, plain, ternary, unary},
    modifiers::Modifiers,
};
use crate::{
    isa::Isa,
    numeric::{Round, double, single},
    program::{Builder, LaneFn},
    ptx::ast::Type::*,
};

op!(Sat32: (f32) -> f32 = |x| single::sat(x));

op!(Add32: (f32, f32) -> f32 = |a, b| single::add(a, b, Round::Rn));
op!(Sub32: (f32, f32) -> f32 = |a, b| single::sub(a, b, Round::Rn));
op!(Mul32: (f32, f32) -> f32 = |a, b| single::mul(a, b, Round::Rn));
op!(Fma32: (f32, f32, f32) -> f32 = |a, b, c| single::fma(a, b, c, Round::Rn));
op!(Add64: (f64, f64) -> f64 = |a, b| double::add(a, b, Round::Rn));
op!(Sub64: (f64, f64) -> f64 = |a, b| double::sub(a, b, Round::Rn));
op!(Mul64: (f64, f64) -> f64 = |a, b| double::mul(a, b, Round::Rn));
op!(Fma64: (f64, f64, f64) -> f64 = |a, b, c| double::fma(a, b, c, Round::Rn));

// Rounding in another mode than to nearest: it is in the immediate.
op!(Add32Directed: (f32, f32) -> f32 = |a, b; imm| single::add(a, b, directed(imm)));
op!(Sub32Directed: (f32, f32) -> f32 = |a, b; imm| single::sub(a, b, directed(imm)));
op!(Mul32Directed: (f32, f32) -> f32 = |a, b; imm| single::mul(a, b, directed(imm)));
op!(Fma32Directed: (f32, f32, f32) -> f32 = |a, b, c; imm| single::fma(a, b, c, directed(imm)));
op!(Add64Directed: (f64, f64) -> f64 = |a, b; imm| double::add(a, b, directed(imm)));
op!(Sub64Directed: (f64, f64) -> f64 = |a, b; imm| double::sub(a, b, directed(imm)));
op!(Mul64Directed: (f64, f64) -> f64 = |a, b; imm| double::mul(a, b, directed(imm)));
op!(Fma64Directed: (f64, f64, f64) -> f64 = |a, b, c; imm| double::fma(a, b, c, directed(imm)));

op!(Abs32: (f32) -> f32 = |x| single::abs(x));
op!(Neg32: (f32) -> f32 = |x| single::neg(x));
op!(Abs64: (f64) -> f64 = |x| double::abs(x));
op!(Neg64: (f64) -> f64 = |x| double::neg(x));

/// The rounding that an immediate stands for, if it is not to nearest.
#[inline(always)]
pub(super) fn directed(imm: i64) -> Round {
    match imm {
        1 => Round::Rz,
        2 => Round::Rm,
        _ => Round::Rp,
    }
}

/// The immediate that stands for a rounding; 0 is to nearest.
pub(super) fn rounding(round: Round) -> i64 {
    match round {
        Round::Rn => 0,
        Round::Rz => 1,
        Round::Rm => 2,
        Round::Rp => 3,
    }
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    match b.source.opcode.as_str() {
        "abs" | "neg" => sign(b),
        _ => rounded(b),
    }
}

fn sign(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, abs, mut m) = (b.isa, b.source.opcode == "abs", Modifiers::of(b));
    let ftz = m.accept("ftz");
    let ty = m.last_ty(if ftz { &[F32] } else { &[F32, F64] })?;
    let run = match (ty, abs) {
        (F32, true) => flushed_unary::<Abs32>(isa, ftz),
        (F32, false) => flushed_unary::<Neg32>(isa, ftz),
        (_, true) => plain::unary::<Abs64>(isa),
        (_, false) => plain::unary::<Neg64>(isa),
    };
    elementwise(b, run, ty, &[ty])
}

/// `add`, `sub`, `mul`, `fma` and `mad`, the last two of which are one.
fn rounded(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    let opcode = b.source.opcode.as_str();
    let round = m.round();
    let (ftz, sat) = (m.accept("ftz"), m.accept("sat"));
    let ty = m.last_ty(if ftz || sat { &[F32] } else { &[F32, F64] })?;
    let fused = matches!(opcode, "fma" | "mad");
    if fused && round.is_none() {
        return Err("has no rounding, expected one of .rn .rz .rm .rp".into());
    }
    let round = round.unwrap_or(Round::Rn);
    let run = match (ty, opcode, round) {
        (F32, "add", Round::Rn) => modified_binary::<Add32>(isa, ftz, sat),
        (F32, "sub", Round::Rn) => modified_binary::<Sub32>(isa, ftz, sat),
        (F32, "mul", Round::Rn) => modified_binary::<Mul32>(isa, ftz, sat),
        (F32, _, Round::Rn) => modified_ternary::<Fma32>(isa, ftz, sat),
        (F32, "add", _) => modified_binary::<Add32Directed>(isa, ftz, sat),
        (F32, "sub", _) => modified_binary::<Sub32Directed>(isa, ftz, sat),
        (F32, "mul", _) => modified_binary::<Mul32Directed>(isa, ftz, sat),
        (F32, _, _) => modified_ternary::<Fma32Directed>(isa, ftz, sat),
        (_, "add", Round::Rn) => plain::binary::<Add64>(isa),
        (_, "sub", Round::Rn) => plain::binary::<Sub64>(isa),
        (_, "mul", Round::Rn) => plain::binary::<Mul64>(isa),
        (_, _, Round::Rn) => plain::ternary::<Fma64>(isa),
        (_, "add", _) => plain::binary::<Add64Directed>(isa),
        (_, "sub", _) => plain::binary::<Sub64Directed>(isa),
        (_, "mul", _) => plain::binary::<Mul64Directed>(isa),
        (_, _, _) => plain::ternary::<Fma64Directed>(isa),
    };
    b.set_imm(rounding(round));
    elementwise(b, run, ty, &[ty; 3][..if fused { 3 } else { 2 }])
}

/// The handler of `F`, with `.ftz` if asked.
pub(super) fn flushed_unary<F: Unary<A = f32, D = f32>>(isa: Isa, ftz: bool) -> LaneFn {
    if ftz { unary::<Flushed<F>>(isa) } else { unary::<F>(isa) }
}

/// The handler of `F`, with `.ftz` if asked, for the active lanes only.
pub(super) fn flushed_costly<F: Unary<A = f32, D = f32>>(ftz: bool) -> LaneFn {
    if ftz { plain::costly::<Flushed<F>>() } else { plain::costly::<F>() }
}

/// The handler of `F`, with `.ftz` if asked.
pub(super) fn flushed_binary<F: Binary<A = f32, B = f32, D = f32>>(isa: Isa, ftz: bool) -> LaneFn {
    if ftz { binary::<Flushed<F>>(isa) } else { binary::<F>(isa) }
}

fn modified_binary<F: Binary<A = f32, B = f32, D = f32>>(isa: Isa, ftz: bool, sat: bool) -> LaneFn {
    match (ftz, sat) {
        (_, false) => flushed_binary::<F>(isa, ftz),
        (false, true) => plain::binary::<Then<F, Sat32>>(isa),
        (true, true) => plain::binary::<Then<Flushed<F>, Sat32>>(isa),
    }
}

fn modified_ternary<F: Ternary<A = f32, B = f32, C = f32, D = f32>>(
    isa: Isa,
    ftz: bool,
    sat: bool,
) -> LaneFn {
    match (ftz, sat) {
        (false, false) => ternary::<F>(isa),
        (true, false) => ternary::<Flushed<F>>(isa),
        (false, true) => plain::ternary::<Then<F, Sat32>>(isa),
        (true, true) => plain::ternary::<Then<Flushed<F>, Sat32>>(isa),
    }
}
