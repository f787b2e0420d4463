//! Arithmetic on f32.

use super::{
    integer::arithmetic,
    lanes::{binary, op, ternary},
};
use crate::{program::Builder, ptx::ast::Type};

op!(AddF32: (f32, f32) -> f32 = |a, b| a + b);
op!(MulF32: (f32, f32) -> f32 = |a, b| a * b);
op!(FmaF32: (f32, f32, f32) -> f32 = |a, b, c| a.mul_add(b, c));

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    use Type::*;
    let isa = b.isa;
    let (run, sources): (_, &[Type]) = match (b.source.opcode.as_str(), b.modifiers().as_str()) {
        ("add", "f32" | "rn.f32") => (binary::<AddF32>(isa), &[F32, F32]),
        ("mul", "f32" | "rn.f32") => (binary::<MulF32>(isa), &[F32, F32]),
        ("fma", "rn.f32") => (ternary::<FmaF32>(isa), &[F32, F32, F32]),
        _ => return Err("unknown form".into()),
    };
    arithmetic(b, run, F32, sources)
}
