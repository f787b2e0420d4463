//! Integer arithmetic: add, sub, mul, mad.

use super::lanes::{binary, op, ternary};
use crate::{
    program::{Builder, Exec},
    ptx::ast::Type,
};

op!(Add32: (u32, u32) -> u32 = |a, b| a.wrapping_add(b));
op!(Add64: (u64, u64) -> u64 = |a, b| a.wrapping_add(b));
op!(Sub32: (u32, u32) -> u32 = |a, b| a.wrapping_sub(b));
op!(Sub64: (u64, u64) -> u64 = |a, b| a.wrapping_sub(b));
op!(MulLo32: (u32, u32) -> u32 = |a, b| a.wrapping_mul(b));
op!(MulWideS32: (i32, i32) -> i64 = |a, b| i64::from(a) * i64::from(b));
op!(MulWideU32: (u32, u32) -> u64 = |a, b| u64::from(a) * u64::from(b));
op!(MadLo32: (u32, u32, u32) -> u32 = |a, b, c| a.wrapping_mul(b).wrapping_add(c));

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    use Type::*;
    let isa = b.isa;
    let (run, d, sources): (_, Type, &[Type]) = match (b.source.opcode.as_str(), b.modifiers().as_str()) {
        ("add", "s32" | "u32") => (binary::<Add32>(isa), B32, &[B32, B32]),
        ("add", "s64" | "u64") => (binary::<Add64>(isa), B64, &[B64, B64]),
        ("sub", "s32" | "u32") => (binary::<Sub32>(isa), B32, &[B32, B32]),
        ("sub", "s64" | "u64") => (binary::<Sub64>(isa), B64, &[B64, B64]),
        ("mul", "lo.s32" | "lo.u32") => (binary::<MulLo32>(isa), B32, &[B32, B32]),
        ("mul", "wide.s32") => (binary::<MulWideS32>(isa), B64, &[B32, B32]),
        ("mul", "wide.u32") => (binary::<MulWideU32>(isa), B64, &[B32, B32]),
        ("mad", "lo.s32" | "lo.u32") => (ternary::<MadLo32>(isa), B32, &[B32, B32, B32]),
        _ => return Err("unknown form".into()),
    };
    arithmetic(b, run, d, sources)
}

/// Emits an instruction with one destination and sources of these types.
pub(super) fn arithmetic(
    b: &mut Builder<'_>,
    run: crate::program::LaneFn,
    d: Type,
    sources: &[Type],
) -> Result<(), String> {
    b.expect_operands(1 + sources.len())?;
    b.destination(0, b.operand(0)?, d)?;
    for (i, &ty) in sources.iter().enumerate() {
        b.source(1 + i, b.operand(1 + i)?, ty)?;
    }
    b.emit(Exec::Lanes(run))
}
