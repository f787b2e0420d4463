//! min and max of f32 and f64, copysign, testp.
//!
//! Tests: `tests/alu/compare.rs`.

use super::{
    compose::Flushed,
    elementwise::elementwise,
    float::flushed_binary,
    half::{min_max_modifiers, mode},
    lanes::{op, plain, ternary},
    modifiers::{Modifiers, needs},
};
use crate::{
    numeric::{
        compare::{self, Class},
        minmax,
    },
    program::Builder,
    ptx::ast::Type::*,
};

op!(Min32: (f32, f32) -> f32 = |a, b| minmax::min32(a, b));
op!(Max32: (f32, f32) -> f32 = |a, b| minmax::max32(a, b));
op!(Min64: (f64, f64) -> f64 = |a, b| minmax::min64(a, b));
op!(Max64: (f64, f64) -> f64 = |a, b| minmax::max64(a, b));
// The immediate holds the modifiers.
op!(Min32Mode: (f32, f32) -> f32 = |a, b; imm| minmax::min32_mode(a, b, mode(imm)));
op!(Max32Mode: (f32, f32) -> f32 = |a, b; imm| minmax::max32_mode(a, b, mode(imm)));
op!(Min32Of3: (f32, f32, f32) -> f32 = |a, b, c; imm| minmax::min32_of3(a, b, c, imm & 1 != 0, imm & 2 != 0));
op!(Max32Of3: (f32, f32, f32) -> f32 = |a, b, c; imm| minmax::max32_of3(a, b, c, imm & 1 != 0, imm & 2 != 0));

op!(Copysign32: (f32, f32) -> f32 = |a, b| compare::copysign32(a, b));
op!(Copysign64: (f64, f64) -> f64 = |a, b| compare::copysign64(a, b));
op!(Testp32: (f32) -> bool = |x; imm| compare::testp32(class(imm), x));
op!(Testp64: (f64) -> bool = |x; imm| compare::testp64(class(imm), x));

const CLASSES: [Class; 6] =
    [Class::Finite, Class::Infinite, Class::Number, Class::NotANumber, Class::Normal, Class::Subnormal];

#[inline(always)]
fn class(imm: i64) -> Class {
    CLASSES[(imm % 6) as usize]
}

/// Lowers `min` or `max` of f32 or f64.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, max, mut m) = (b.isa, b.source.opcode == "max", Modifiers::of(b));
    let ftz = m.accept("ftz");
    let mut imm = min_max_modifiers(&mut m);
    let three = b.source.operands.len() == 4;
    if three && imm & 2 == 0 && m.accept("abs") {
        imm |= 2;
    } else if three && imm & 2 != 0 {
        return Err("modifiers .xorsign.abs are not those of three sources".into());
    }
    let ty = m.last_ty(if ftz || imm != 0 || three { &[F32] } else { &[F32, F64] })?;
    needs(b, if three { 100 } else { [0, 80, 86, 86][(imm & 3) as usize] })?;
    b.set_imm(imm);
    let run = match (ty, max, imm != 0) {
        (F32, false, _) if three => return of_three::<Min32Of3>(b, ftz),
        (F32, true, _) if three => return of_three::<Max32Of3>(b, ftz),
        (F32, false, false) => flushed_binary::<Min32>(isa, ftz),
        (F32, true, false) => flushed_binary::<Max32>(isa, ftz),
        (F32, false, true) => flushed_binary::<Min32Mode>(isa, ftz),
        (F32, true, true) => flushed_binary::<Max32Mode>(isa, ftz),
        (_, false, _) => plain::binary::<Min64>(isa),
        (_, true, _) => plain::binary::<Max64>(isa),
    };
    elementwise(b, run, ty, &[ty; 2])
}

fn of_three<F>(b: &mut Builder<'_>, ftz: bool) -> Result<(), String>
where
    F: super::lanes::Ternary<A = f32, B = f32, C = f32, D = f32>,
{
    let run = if ftz { ternary::<Flushed<F>>(b.isa) } else { ternary::<F>(b.isa) };
    elementwise(b, run, F32, &[F32; 3])
}

/// Lowers `copysign d, a, b`: `b` with the sign of `a`.
pub fn copysign(b: &mut Builder<'_>) -> Result<(), String> {
    let ty = Modifiers::of(b).last_ty(&[F32, F64])?;
    let run = if ty == F32 { plain::binary::<Copysign32>(b.isa) } else { plain::binary::<Copysign64>(b.isa) };
    elementwise(b, run, ty, &[ty; 2])
}

/// Lowers `testp`.
pub fn test(b: &mut Builder<'_>) -> Result<(), String> {
    let mut m = Modifiers::of(b);
    let class = m.require(&[
        ("finite", 0),
        ("infinite", 1),
        ("number", 2),
        ("notanumber", 3),
        ("normal", 4),
        ("subnormal", 5),
    ])?;
    let ty = m.last_ty(&[F32, F64])?;
    let run = if ty == F32 { plain::unary::<Testp32>(b.isa) } else { plain::unary::<Testp64>(b.isa) };
    b.set_imm(class);
    elementwise(b, run, Pred, &[ty])
}
