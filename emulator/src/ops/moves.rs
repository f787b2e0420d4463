//! `mov`, which also packs and unpacks, and `cvta`.
//!
//! Tests: `tests/alu/moves.rs`.

use super::{
    lanes::{binary, op, plain, unary},
    special,
};
use crate::{
    isa::versions,
    machine::Registers,
    memory::{LOCAL_WINDOW, SHARED_WINDOW},
    program::{Builder, Exec, Instr, LaneFn, NONE, Place, Width},
    ptx::ast::{Operand, Type},
};

op!(Copy32: (u32) -> u32 = |a| a);
op!(Copy64: (u64) -> u64 = |a| a);
op!(AddImm64: (u64) -> u64 = |a; imm| a.wrapping_add_signed(imm));
op!(Pack16: (u8, u8) -> u16 = |low, high| u16::from_le_bytes([low, high]));
op!(Pack32: (u16, u16) -> u32 = |low, high| u32::from(low) | u32::from(high) << 16);
op!(Pack64: (u32, u32) -> u64 = |low, high| u64::from(low) | u64::from(high) << 32);

/// The types of `mov`. Of 128 bits it is not supported.
const MOVED: [Type; 12] = {
    use Type::*;
    [Pred, B16, B32, B64, U16, U32, U64, S16, S32, S64, F32, F64]
};

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    if b.source.opcode == "cvta" {
        return convert_address(b);
    }
    let [ty] = &b.source.modifiers[..] else { return Err("expected one type".into()) };
    let ty = Type::parse(ty).filter(|ty| MOVED.contains(ty)).ok_or("mov has no such type")?;
    b.expect_operands(2)?;
    match (b.operand(0)?, b.operand(1)?) {
        (Operand::Vector(parts), source) => unpack(b, parts, source, ty),
        (d, Operand::Vector(parts)) => pack(b, d, parts, ty),
        (d, Operand::Special(name)) => special::read(b, d, name, ty),
        (d, Operand::Symbol(name, offset)) if matches!(b.scope.places.get(name), Some(Place::Frame(_))) => {
            special::frame_address(b, d, name, *offset, ty)
        }
        (d, source) => copy(b, d, source, ty),
    }
}

/// A copy of a register or constant.
pub fn copy(b: &mut Builder<'_>, d: &Operand, source: &Operand, ty: Type) -> Result<(), String> {
    b.result(d, ty)?;
    if ty == Type::Pred {
        let negate = b.predicate(1, source)?;
        b.set_flags(u8::from(negate));
        return b.emit(Exec::Lanes(copy_predicate));
    }
    b.source(1, source, ty)?;
    let run = if Width::of(ty) == Width::Single { unary::<Copy32>(b.isa) } else { unary::<Copy64>(b.isa) };
    b.emit(Exec::Lanes(run))
}

fn copy_predicate(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let p = registers.predicate(instr.r[1]);
    registers.write_predicate(instr.r[0], mask, if instr.flags == 1 { !p } else { p });
}

/// The type of each of `n` parts of a register.
fn part(ty: Type, n: usize) -> Result<Type, String> {
    let part = match (ty.size(), n) {
        (2, 2) | (4, 4) => Type::B8,
        (4, 2) | (8, 4) => Type::B16,
        (8, 2) => Type::B32,
        (size, n) => return Err(format!("{n} values and {size} bytes do not go together")),
    };
    if matches!(ty, Type::B16 | Type::B32 | Type::B64) {
        return Ok(part);
    }
    Err(format!("values are packed and unpacked as bits, not as {ty:?}"))
}

fn pack(b: &mut Builder<'_>, d: &Operand, parts: &[Operand], ty: Type) -> Result<(), String> {
    let part = part(ty, parts.len())?;
    b.result(d, ty)?;
    for (i, value) in parts.iter().enumerate() {
        b.source(1 + i, value, part)?;
    }
    b.emit(Exec::Lanes(match (ty.size(), parts.len()) {
        (2, _) => binary::<Pack16>(b.isa),
        (4, 2) => binary::<Pack32>(b.isa),
        (4, _) => pack_bytes,
        (_, 2) => plain::binary::<Pack64>(b.isa),
        _ => pack_halves,
    }))
}

fn pack_bytes(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let parts = [1, 2, 3, 4].map(|i| *registers.single(instr.r[i]));
    let d = std::array::from_fn(|l| u32::from_le_bytes(parts.map(|part| part[l] as u8)));
    registers.write_single(instr.r[0], mask, &d);
}

fn pack_halves(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let parts = [1, 2, 3, 4].map(|i| *registers.single(instr.r[i]));
    let half = |l: usize, i: usize| u64::from(parts[i][l] as u16) << (16 * i);
    let d = std::array::from_fn(|l| half(l, 0) | half(l, 1) | half(l, 2) | half(l, 3));
    registers.write_double(instr.r[0], mask, &d);
}

/// One instruction writes all parts; those that are `_` are dropped. The source is at `r[PARTS]`.
fn unpack(b: &mut Builder<'_>, parts: &[Operand], source: &Operand, ty: Type) -> Result<(), String> {
    let part = part(ty, parts.len())?;
    if parts.iter().all(|d| *d == Operand::Sink) {
        return Err("no destination is a register".into());
    }
    for (i, d) in parts.iter().enumerate() {
        b.destination(i, d, part)?;
    }
    b.source(PARTS, source, ty)?;
    b.set_imm(8 * part.size() as i64);
    let isa = b.isa;
    b.emit(Exec::Lanes(match (ty.size(), part.size()) {
        (8, 4) => unpack_double::<Low32>(isa),
        (8, _) => unpack_double::<Low16>(isa),
        (_, 2) => unpack_single::<Low16>(isa),
        _ => unpack_single::<Low8>(isa),
    }))
}

/// Destinations of an unpacking `mov`.
const PARTS: usize = 4;

/// The low bits of a value.
trait Low: 'static {
    fn of(value: u64) -> u32;
}
struct Low8;
struct Low16;
struct Low32;
impl Low for Low8 {
    #[inline(always)]
    fn of(value: u64) -> u32 {
        u32::from(value as u8)
    }
}
impl Low for Low16 {
    #[inline(always)]
    fn of(value: u64) -> u32 {
        u32::from(value as u16)
    }
}
impl Low for Low32 {
    #[inline(always)]
    fn of(value: u64) -> u32 {
        value as u32
    }
}

#[inline(always)]
fn unpack_single_body<L: Low>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let source = *registers.single(instr.r[PARTS]);
    for (i, &d) in instr.r[..PARTS].iter().enumerate().filter(|(_, d)| **d != NONE) {
        let shift = (i as i64 * instr.imm) & 31;
        let mut part = [0; 32];
        for l in 0..32 {
            part[l] = L::of(u64::from(source[l] >> shift));
        }
        registers.write_single(d, mask, &part);
    }
}

#[inline(always)]
fn unpack_double_body<L: Low>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let source = *registers.double(instr.r[PARTS]);
    for (i, &d) in instr.r[..PARTS].iter().enumerate().filter(|(_, d)| **d != NONE) {
        let shift = (i as i64 * instr.imm) & 63;
        let mut part = [0; 32];
        for l in 0..32 {
            part[l] = L::of(source[l] >> shift);
        }
        registers.write_single(d, mask, &part);
    }
}

versions! {
    /// The handler that unpacks a 32-bit register.
    fn unpack_single<L: Low>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = unpack_single_body
}
versions! {
    /// The handler that unpacks a 64-bit register.
    fn unpack_double<L: Low>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = unpack_double_body
}

fn convert_address(b: &mut Builder<'_>) -> Result<(), String> {
    b.expect_operands(2)?;
    let (to, space) = match &b.source.modifiers[..] {
        [to, space, size] if to == "to" && size == "u64" => (true, space.as_str()),
        [space, size] if size == "u64" => (false, space.as_str()),
        _ => return Err("unknown form".into()),
    };
    let base = match space {
        "global" | "const" => 0,
        "shared" | "shared::cta" => SHARED_WINDOW,
        "local" => LOCAL_WINDOW,
        _ => return Err(format!("addresses of the space {space} are not supported")),
    } as i64;
    b.destination(0, b.operand(0)?, Type::B64)?;
    b.source(1, b.operand(1)?, Type::B64)?;
    b.set_imm(if to { -base } else { base });
    b.emit(Exec::Lanes(plain::unary::<AddImm64>(b.isa)))
}
