//! `mov` and `cvta`.

use super::{
    lanes::{binary, op, unary},
    special,
};
use crate::{
    memory::{LOCAL_WINDOW, SHARED_WINDOW},
    program::{Builder, Exec, Place, Width},
    ptx::ast::{Operand, Type},
};

op!(Copy32: (u32) -> u32 = |a| a);
op!(Copy64: (u64) -> u64 = |a| a);
op!(AddImm64: (u64) -> u64 = |a; imm| a.wrapping_add_signed(imm));
op!(Pack32: (u16, u16) -> u32 = |low, high| u32::from(low) | u32::from(high) << 16);
op!(Pack64: (u32, u32) -> u64 = |low, high| u64::from(low) | u64::from(high) << 32);
op!(Low32: (u32) -> u16 = |a| a as u16);
op!(High32: (u32) -> u16 = |a| (a >> 16) as u16);
op!(Low64: (u64) -> u32 = |a| a as u32);
op!(High64: (u64) -> u32 = |a| (a >> 32) as u32);

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    if b.source.opcode == "cvta" {
        return convert_address(b);
    }
    let [ty] = &b.source.modifiers[..] else { return Err("expected one type".into()) };
    let ty = Type::parse(ty).ok_or("unknown type")?;
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

fn copy(b: &mut Builder<'_>, d: &Operand, source: &Operand, ty: Type) -> Result<(), String> {
    b.destination(0, d, ty)?;
    if ty == Type::Pred {
        let negate = b.predicate(1, source)?;
        b.set_flags(u8::from(negate));
        return b.emit(Exec::Lanes(copy_predicate));
    }
    b.source(1, source, ty)?;
    let run = if Width::of(ty) == Width::Single { unary::<Copy32>(b.isa) } else { unary::<Copy64>(b.isa) };
    b.emit(Exec::Lanes(run))
}

fn copy_predicate(registers: &mut crate::machine::Registers<'_>, mask: u32, instr: &crate::program::Instr) {
    let p = registers.predicate(instr.r[1]);
    registers.write_predicate(instr.r[0], mask, if instr.flags == 1 { !p } else { p });
}

fn pack(b: &mut Builder<'_>, d: &Operand, parts: &[Operand], ty: Type) -> Result<(), String> {
    let (part, run) = match (ty.size(), parts.len()) {
        (4, 2) => (Type::B16, binary::<Pack32>(b.isa)),
        (8, 2) => (Type::B32, binary::<Pack64>(b.isa)),
        (size, n) => return Err(format!("packing {n} values into {size} bytes is not supported")),
    };
    b.destination(0, d, ty)?;
    b.source(1, &parts[0], part)?;
    b.source(2, &parts[1], part)?;
    b.emit(Exec::Lanes(run))
}

fn unpack(b: &mut Builder<'_>, parts: &[Operand], source: &Operand, ty: Type) -> Result<(), String> {
    let (part, runs) = match (ty.size(), parts.len()) {
        (4, 2) => (Type::B16, [unary::<Low32>(b.isa), unary::<High32>(b.isa)]),
        (8, 2) => (Type::B32, [unary::<Low64>(b.isa), unary::<High64>(b.isa)]),
        (size, n) => return Err(format!("unpacking {size} bytes into {n} values is not supported")),
    };
    // Both parts read the source: a temporary keeps it where the first part is the source itself.
    let kept = if parts.contains(source) { b.scope.temporary(ty) } else { source.clone() };
    if kept != *source {
        copy(b, &kept, source, ty)?;
    }
    for (d, run) in parts.iter().zip(runs).filter(|(d, _)| **d != Operand::Sink) {
        b.destination(0, d, part)?;
        b.source(1, &kept, ty)?;
        b.emit(Exec::Lanes(run))?;
    }
    Ok(())
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
    b.emit(Exec::Lanes(unary::<AddImm64>(b.isa)))
}
