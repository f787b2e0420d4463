//! Addresses as operands, several of an instruction: the base is in one slot of [`Instr::r`], the offset, if there is one, in the next.

use crate::{
    machine::Context,
    program::{Builder, Instr, NONE, Place},
    ptx::ast::{Operand, Space, Type},
};

/// Lowers the address `operand` of `space` to the slots `slot` and `slot + 1`. Gives whether the base has 64 bits.
pub fn lower(b: &mut Builder<'_>, slot: usize, operand: &Operand, space: Space) -> Result<bool, String> {
    let Operand::Address { base, offset } = operand else {
        return Err(format!("operand {operand:?} is not an address"));
    };
    if let Operand::Symbol(name, _) = &**base {
        match (b.scope.places.get(name), space) {
            (Some(Place::Shared(_)), Space::Shared) | (Some(Place::Address(_)), Space::Global) => {}
            (Some(place), _) => return Err(format!("{name} is at {place:?}, expected in {space:?} memory")),
            (None, _) => return Err(format!("unknown name {name}")),
        }
    }
    let wide = match &**base {
        Operand::Register(id) => b.scope.register_type(*id).size() != 4,
        _ => true,
    };
    b.address(slot, base, if wide { Type::B64 } else { Type::B32 })?;
    if *offset != 0 {
        b.source(slot + 1, &Operand::Integer(*offset), Type::B64)?;
    }
    Ok(wide)
}

/// Lowers the generic address `operand`, as [`lower`].
pub fn lower_generic(b: &mut Builder<'_>, slot: usize, operand: &Operand) -> Result<(), String> {
    match operand {
        Operand::Address { base, offset } if matches!(**base, Operand::Register(_)) => {
            b.address(slot, base, Type::B64)?;
            if *offset != 0 {
                b.source(slot + 1, &Operand::Integer(*offset), Type::B64)?;
            }
            Ok(())
        }
        other => Err(format!("operand {other:?} is not a generic address in a register")),
    }
}

/// The address of each lane.
pub fn read(cx: &Context<'_, '_>, instr: &Instr, slot: usize, wide: bool) -> [u64; 32] {
    let offset = match instr.r[slot + 1] {
        NONE => 0,
        // A constant, the same in all lanes; but lanes that do not exist have none.
        r => cx.registers.double(r)[cx.group.trailing_zeros().min(31) as usize],
    };
    let base = instr.r[slot];
    match wide {
        true => cx.registers.double(base).map(|a| a.wrapping_add(offset)),
        false => cx.registers.single(base).map(|a| u64::from(a.wrapping_add(offset as u32))),
    }
}
