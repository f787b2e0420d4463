//! Branches, calls, and ways out.

use super::print;
use crate::{
    machine::{Context, Fault, FaultKind},
    program::{Builder, CallSite, Control, Exec, Instr, Place},
    ptx::ast::{Operand, Type},
};

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let modifiers = b.modifiers();
    match (b.source.opcode.as_str(), modifiers.as_str()) {
        ("bra", "" | "uni") => {
            b.expect_operands(1)?;
            let Operand::Symbol(label, 0) = b.operand(0)? else {
                return Err("the target is not a label".into());
            };
            let target = b.scope.label(label)?;
            b.set_imm(target as i64);
            b.emit(Exec::Control(Control::Branch))
        }
        ("brx", "idx" | "idx.uni") => branch_table(b),
        ("call", "" | "uni") => call(b),
        ("ret", "" | "uni") => b.emit(Exec::Control(Control::Return)),
        ("exit", "") => b.emit(Exec::Control(Control::Exit)),
        ("trap", "") => b.emit(Exec::Warp(trap)),
        _ => Err("unknown form".into()),
    }
}

fn branch_table(b: &mut Builder<'_>) -> Result<(), String> {
    b.expect_operands(2)?;
    b.address(0, b.operand(0)?, Type::B32)?;
    let Operand::Symbol(list, 0) = b.operand(1)? else { return Err("the targets are not a list".into()) };
    let labels =
        b.scope.targets.get(list).cloned().ok_or_else(|| format!("unknown list of targets {list}"))?;
    let table = labels.iter().map(|l| b.scope.label(l).map(|i| i as u32)).collect::<Result<Vec<_>, _>>()?;
    b.set_imm(b.scope.tables.len() as i64);
    b.scope.tables.push(table);
    b.emit(Exec::Control(Control::BranchTable))
}

fn trap(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    Err(cx.fault(FaultKind::LaunchFailed, mask, "trap"))
}

/// `call (results), function, (arguments), prototype`, all but the function optional.
fn call(b: &mut Builder<'_>) -> Result<(), String> {
    let mut operands = &b.source.operands[..];
    let mut site = CallSite::default();
    if let [Operand::List(results), rest @ ..] = operands {
        (site.results, operands) = (frame_variables(b, results)?, rest);
    }
    let (target, rest) = operands.split_first().ok_or("has no function")?;
    if let [Operand::List(arguments), ..] = rest {
        site.arguments = frame_variables(b, arguments)?;
    }
    let number = b.scope.calls.len() as i64;
    match target {
        Operand::Symbol(name, 0) => {
            site.name = name.clone();
            site.function = b.scope.functions.get(name).copied();
            if site.function.is_none()
                && let Some(lowered) = print::lower_call(b, &site)
            {
                return lowered;
            }
            if site.function.is_none() {
                return Err(format!(
                    "function {name} is not defined in the module and not one that the emulator supplies"
                ));
            }
            b.scope.calls.push(site);
            b.set_imm(number);
            b.emit(Exec::Control(Control::Call))
        }
        pointer @ Operand::Register(_) => {
            b.address(0, pointer, Type::B64)?;
            b.scope.calls.push(site);
            b.set_imm(number);
            b.emit(Exec::Control(Control::CallIndirect))
        }
        other => Err(format!("target {other:?} is not a function")),
    }
}

/// Offsets and sizes of `.param` variables.
fn frame_variables(b: &Builder<'_>, names: &[Operand]) -> Result<Vec<(u32, u32)>, String> {
    let place = |operand: &Operand| match operand {
        Operand::Symbol(name, 0) => match (b.scope.places.get(name), b.scope.param_sizes.get(name)) {
            (Some(Place::Frame(offset)), Some(&size)) => Ok((*offset, size)),
            _ => Err(format!("{name} is not a parameter variable")),
        },
        other => Err(format!("argument {other:?} is not a parameter variable")),
    };
    names.iter().map(place).collect()
}
