//! `bar` and `barrier`.

use crate::{
    machine::{BarrierForm, Reduction},
    program::{Builder, Control, Exec},
    ptx::ast::{Operand, Type},
};

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let bar = b.source.opcode == "bar";
    let mut modifiers: Vec<&str> =
        b.source.modifiers.iter().map(String::as_str).filter(|&m| m != "cta").collect();
    if modifiers == ["warp", "sync"] {
        b.expect_operands(1)?;
        b.address(0, b.operand(0)?, Type::B32)?;
        return b.emit(Exec::Control(Control::WarpBarrier));
    }
    let aligned = bar || modifiers.contains(&"aligned");
    modifiers.retain(|&m| m != "aligned");
    let form = |arrive, reduction| BarrierForm { arrive, aligned, reduction, negate: false };
    let (mut form, result) = match modifiers[..] {
        ["sync"] => (form(false, None), None),
        ["arrive"] => (form(true, None), None),
        ["red", "popc", "u32"] => (form(false, Some(Reduction::Popc)), Some(Type::B32)),
        ["red", "and", "pred"] => (form(false, Some(Reduction::And)), Some(Type::Pred)),
        ["red", "or", "pred"] => (form(false, Some(Reduction::Or)), Some(Type::Pred)),
        _ => return Err("unknown form".into()),
    };
    let mut operands: &[Operand] = &b.source.operands;
    if let (Some(ty), Some((d, rest))) = (result, operands.split_first()) {
        if *d == Operand::Sink {
            return Err("the destination is _, expected a register".into());
        }
        b.destination(0, d, ty)?;
        let (p, rest) = rest.split_last().ok_or("has no predicate")?;
        form.negate = b.predicate(3, p)?;
        operands = rest;
    }
    match operands {
        [id] if !form.arrive => b.address(1, id, Type::B32)?,
        [id, threads] => {
            b.address(1, id, Type::B32)?;
            b.address(2, threads, Type::B32)?;
        }
        _ => return Err(format!("has {} operands", b.source.operands.len())),
    }
    b.set_flags(form.encode());
    b.emit(Exec::Control(Control::Barrier))
}
