//! Bits: and, or, xor, not, cnot, lop3, shifts, prmt, fields, counts and searches.
//!
//! Tests: `tests/alu/bits.rs`.

use super::{
    elementwise::elementwise,
    integer::sized,
    lanes::{Value, binary, op, plain, ternary, unary},
    modifiers::{Modifiers, needs},
    predicate,
};
use crate::{
    isa::versions,
    machine::Registers,
    numeric::bitfield::{self, Prmt},
    program::{Builder, Exec, Instr, LaneFn},
    ptx::ast::{
        Operand,
        Type::{self, *},
    },
};

const BITS: [Type; 3] = [B16, B32, B64];
const LONG_BITS: [Type; 2] = [B32, B64];
const LONG: [Type; 4] = [U32, U64, S32, S64];
const SHIFT_RIGHT: [Type; 9] = [B16, B32, B64, U16, U32, U64, S16, S32, S64];

/// Words of bits.
pub(super) trait Word:
    Value
    + PartialEq
    + From<bool>
    + std::ops::BitAnd<Output = Self>
    + std::ops::BitOr<Output = Self>
    + std::ops::BitXor<Output = Self>
    + std::ops::Not<Output = Self>
{
}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

op!(And<T: Word>: (T, T) -> T = |a, b| a & b);
op!(Or<T: Word>: (T, T) -> T = |a, b| a | b);
op!(Xor<T: Word>: (T, T) -> T = |a, b| a ^ b);
op!(Not<T: Word>: (T) -> T = |a| !a);
op!(Cnot<T: Word>: (T) -> T = |a| T::from(a == T::default()));

op!(Shl16: (u16, u32) -> u16 = |a, n| bitfield::shl_b16(a, n));
op!(Shl32: (u32, u32) -> u32 = |a, n| bitfield::shl_b32(a, n));
op!(Shl64: (u64, u32) -> u64 = |a, n| bitfield::shl_b64(a, n));
op!(ShrU16: (u16, u32) -> u16 = |a, n| bitfield::shr_u16(a, n));
op!(ShrU32: (u32, u32) -> u32 = |a, n| bitfield::shr_u32(a, n));
op!(ShrU64: (u64, u32) -> u64 = |a, n| bitfield::shr_u64(a, n));
op!(ShrS16: (i16, u32) -> i16 = |a, n| bitfield::shr_s16(a, n));
op!(ShrS32: (i32, u32) -> i32 = |a, n| bitfield::shr_s32(a, n));
op!(ShrS64: (i64, u32) -> i64 = |a, n| bitfield::shr_s64(a, n));
op!(ShfLWrap: (u32, u32, u32) -> u32 = |a, b, n| bitfield::shf_l(a, b, n, true));
op!(ShfLClamp: (u32, u32, u32) -> u32 = |a, b, n| bitfield::shf_l(a, b, n, false));
op!(ShfRWrap: (u32, u32, u32) -> u32 = |a, b, n| bitfield::shf_r(a, b, n, true));
op!(ShfRClamp: (u32, u32, u32) -> u32 = |a, b, n| bitfield::shf_r(a, b, n, false));

op!(Lop3: (u32, u32, u32) -> u32 = |a, b, c; imm| bitfield::lop3(a, b, c, imm as u8));
op!(NotZero: (u32) -> bool = |a| a != 0);
op!(Copy: (u32) -> u32 = |a| a);

op!(PrmtIndex: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::Index));
op!(PrmtF4e: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::F4e));
op!(PrmtB4e: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::B4e));
op!(PrmtRc8: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::Rc8));
op!(PrmtEcl: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::Ecl));
op!(PrmtEcr: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::Ecr));
op!(PrmtRc16: (u32, u32, u32) -> u32 = |a, b, c| bitfield::prmt(a, b, c, Prmt::Rc16));

op!(Popc32: (u32) -> u32 = |a| a.count_ones());
op!(Popc64: (u64) -> u32 = |a| a.count_ones());
op!(Clz32: (u32) -> u32 = |a| a.leading_zeros());
op!(Clz64: (u64) -> u32 = |a| a.leading_zeros());
op!(Brev32: (u32) -> u32 = |a| a.reverse_bits());
op!(Brev64: (u64) -> u64 = |a| a.reverse_bits());
op!(BfindU32: (u32) -> u32 = |a; imm| bitfield::bfind_u32(a, imm != 0));
op!(BfindU64: (u64) -> u32 = |a; imm| bitfield::bfind_u64(a, imm != 0));
op!(BfindS32: (i32) -> u32 = |a; imm| bitfield::bfind_s32(a, imm != 0));
op!(BfindS64: (i64) -> u32 = |a; imm| bitfield::bfind_s64(a, imm != 0));
op!(BfeU32: (u32, u32, u32) -> u32 = |a, pos, len| bitfield::bfe_u32(a, pos, len));
op!(BfeU64: (u64, u32, u32) -> u64 = |a, pos, len| bitfield::bfe_u64(a, pos, len));
op!(BfeS32: (i32, u32, u32) -> i32 = |a, pos, len| bitfield::bfe_s32(a, pos, len));
op!(BfeS64: (i64, u32, u32) -> i64 = |a, pos, len| bitfield::bfe_s64(a, pos, len));
op!(Fns: (u32, u32, i32) -> u32 = |mask, base, offset| bitfield::fns(mask, base, offset));
// Bit 0 of the immediate says whether numbers wrap, bit 1 whether the result is signed.
op!(Bmsk: (u32, u32) -> u32 = |pos, width; imm| bitfield::bmsk(pos, width, imm & 1 != 0));
op!(Szext: (u32, u32) -> u32 = |a, n; imm| bitfield::szext(a, n, imm & 2 != 0, imm & 1 != 0));

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let m = Modifiers::of(b);
    match b.source.opcode.as_str() {
        "and" | "or" | "xor" | "not" if b.source.modifiers == ["pred"] => predicate::logic(b),
        "and" | "or" | "xor" | "not" | "cnot" => logic(b, m),
        "lop3" => lop3(b, m),
        "shl" | "shr" => shift(b, m),
        "shf" => funnel_shift(b, m),
        "prmt" => permute(b, m),
        "popc" | "clz" | "brev" => count(b, m),
        "bfind" => find(b, m),
        "bfe" => extract(b, m),
        "bfi" => insert(b, m),
        "fns" => {
            m.last_ty(&[B32])?;
            elementwise(b, plain::ternary::<Fns>(b.isa), B32, &[B32, B32, S32])
        }
        "bmsk" | "szext" => mask(b, m),
        _ => Err("unknown instruction".into()),
    }
}

fn logic(b: &mut Builder<'_>, m: Modifiers<'_>) -> Result<(), String> {
    let isa = b.isa;
    let ty = m.last_ty(&BITS)?;
    let (run, sources) = match b.source.opcode.as_str() {
        "and" => (sized!(ty, binary, And, isa), 2),
        "or" => (sized!(ty, binary, Or, isa), 2),
        "xor" => (sized!(ty, binary, Xor, isa), 2),
        "not" => (sized!(ty, unary, Not, isa), 1),
        _ => (sized!(ty, unary, Cnot, isa), 1),
    };
    elementwise(b, run, ty, &[ty; 2][..sources])
}

/// `lop3.b32 d, a, b, c, table`, and `lop3.BoolOp.b32 d|p, a, b, c, table, q` with p = (d != 0) BoolOp q.
fn lop3(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let join = m.choose(&predicate::JOINS);
    m.last_ty(&[B32])?;
    let Operand::Integer(table @ 0..=255) = *b.operand(4)? else {
        return Err(format!("the table is {:?}, expected an integer from 0 to 255", b.operand(4)?));
    };
    b.set_imm(table);
    let run = ternary::<Lop3>(b.isa);
    let Some(join) = join else {
        b.expect_operands(5)?;
        return three_sources(b, b.operand(0)?, run);
    };
    needs(b, 70)?;
    b.expect_operands(6)?;
    let Operand::Pair(d, p) = b.operand(0)? else { return Err("has no second destination".into()) };
    if **p == Operand::Sink {
        return Err("the second destination is _, expected a predicate".into());
    }
    let [result, nonzero] = [b.scope.temporary(B32), b.scope.temporary(Pred)];
    three_sources(b, &result, run)?;
    b.destination(0, &nonzero, Pred)?;
    b.source(1, &result, B32)?;
    b.emit(Exec::Lanes(plain::unary::<NotZero>(b.isa)))?;
    if **d != Operand::Sink {
        b.destination(0, d, B32)?;
        b.source(1, &result, B32)?;
        b.emit(Exec::Lanes(unary::<Copy>(b.isa)))?;
    }
    // Last, since it may overwrite the guard of them all.
    predicate::join(b, [p, &Operand::Sink], [&nonzero, &nonzero], false, Some((join, b.operand(5)?)))
}

fn three_sources(b: &mut Builder<'_>, d: &Operand, run: crate::program::LaneFn) -> Result<(), String> {
    b.destination(0, d, B32)?;
    for i in 1..=3 {
        b.source(i, b.operand(i)?, B32)?;
    }
    b.emit(Exec::Lanes(run))
}

fn shift(b: &mut Builder<'_>, m: Modifiers<'_>) -> Result<(), String> {
    let isa = b.isa;
    let left = b.source.opcode == "shl";
    let ty = m.last_ty(if left { &BITS } else { &SHIFT_RIGHT })?;
    let run = match (ty, left) {
        (B16, true) => binary::<Shl16>(isa),
        (B32, true) => binary::<Shl32>(isa),
        (_, true) => binary::<Shl64>(isa),
        (B16 | U16, false) => binary::<ShrU16>(isa),
        (B32 | U32, false) => binary::<ShrU32>(isa),
        (B64 | U64, false) => binary::<ShrU64>(isa),
        (S16, false) => binary::<ShrS16>(isa),
        (S32, false) => binary::<ShrS32>(isa),
        (_, false) => binary::<ShrS64>(isa),
    };
    elementwise(b, run, ty, &[ty, U32])
}

fn funnel_shift(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let right = m.require(&[("l", false), ("r", true)])?;
    let wrap = m.require(&[("clamp", false), ("wrap", true)])?;
    m.last_ty(&[B32])?;
    let run = match (right, wrap) {
        (false, true) => ternary::<ShfLWrap>(b.isa),
        (false, false) => plain::ternary::<ShfLClamp>(b.isa),
        (true, true) => ternary::<ShfRWrap>(b.isa),
        (true, false) => plain::ternary::<ShfRClamp>(b.isa),
    };
    elementwise(b, run, B32, &[B32, B32, U32])
}

fn permute(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let (isa, _) = (b.isa, m.ty(&[B32])?);
    let run = m.choose(&[
        ("f4e", plain::ternary::<PrmtF4e>(isa)),
        ("b4e", plain::ternary::<PrmtB4e>(isa)),
        ("rc8", plain::ternary::<PrmtRc8>(isa)),
        ("ecl", plain::ternary::<PrmtEcl>(isa)),
        ("ecr", plain::ternary::<PrmtEcr>(isa)),
        ("rc16", plain::ternary::<PrmtRc16>(isa)),
    ]);
    m.end()?;
    elementwise(b, run.unwrap_or(ternary::<PrmtIndex>(isa)), B32, &[B32; 3])
}

fn count(b: &mut Builder<'_>, m: Modifiers<'_>) -> Result<(), String> {
    let isa = b.isa;
    let ty = m.last_ty(&LONG_BITS)?;
    let (run, d) = match (b.source.opcode.as_str(), ty) {
        ("popc", B32) => (plain::unary::<Popc32>(isa), U32),
        ("popc", _) => (plain::unary::<Popc64>(isa), U32),
        ("clz", B32) => (plain::unary::<Clz32>(isa), U32),
        ("clz", _) => (plain::unary::<Clz64>(isa), U32),
        (_, B32) => (plain::unary::<Brev32>(isa), B32),
        _ => (plain::unary::<Brev64>(isa), B64),
    };
    elementwise(b, run, d, &[ty])
}

fn find(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let distance = m.accept("shiftamt");
    let ty = m.last_ty(&LONG)?;
    let run = match ty {
        U32 => plain::unary::<BfindU32>(b.isa),
        U64 => plain::unary::<BfindU64>(b.isa),
        S32 => plain::unary::<BfindS32>(b.isa),
        _ => plain::unary::<BfindS64>(b.isa),
    };
    b.set_imm(i64::from(distance));
    elementwise(b, run, U32, &[ty])
}

fn extract(b: &mut Builder<'_>, m: Modifiers<'_>) -> Result<(), String> {
    let ty = m.last_ty(&LONG)?;
    let run = match ty {
        U32 => ternary::<BfeU32>(b.isa),
        U64 => plain::ternary::<BfeU64>(b.isa),
        S32 => ternary::<BfeS32>(b.isa),
        _ => plain::ternary::<BfeS64>(b.isa),
    };
    elementwise(b, run, ty, &[ty, U32, U32])
}

fn insert(b: &mut Builder<'_>, m: Modifiers<'_>) -> Result<(), String> {
    let ty = m.last_ty(&LONG_BITS)?;
    let run = if ty == B32 { insert_32(b.isa) } else { insert_64 };
    elementwise(b, run, ty, &[ty, ty, U32, U32])
}

versions! {
    fn insert_32<>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = insert_32_body
}

#[inline(always)]
fn insert_32_body(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let [a, b, pos, len] = [1, 2, 3, 4].map(|i| *registers.single(instr.r[i]));
    let d = std::array::from_fn(|l| bitfield::bfi_b32(a[l], b[l], pos[l], len[l]));
    registers.write_single(instr.r[0], mask, &d);
}

fn insert_64(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let [a, b] = [1, 2].map(|i| *registers.double(instr.r[i]));
    let [pos, len] = [3, 4].map(|i| *registers.single(instr.r[i]));
    let d = std::array::from_fn(|l| bitfield::bfi_b64(a[l], b[l], pos[l], len[l]));
    registers.write_double(instr.r[0], mask, &d);
}

fn mask(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let wrap = m.require(&[("clamp", false), ("wrap", true)])?;
    needs(b, 70)?;
    if b.source.opcode == "bmsk" {
        m.last_ty(&[B32])?;
        b.set_imm(i64::from(wrap));
        return elementwise(b, plain::binary::<Bmsk>(b.isa), B32, &[U32, U32]);
    }
    let ty = m.last_ty(&[U32, S32])?;
    b.set_imm(i64::from(wrap) | i64::from(ty == S32) << 1);
    elementwise(b, plain::binary::<Szext>(b.isa), ty, &[ty, U32])
}
