//! The matrix instructions of a warp: `mma`, `wmma`, `ldmatrix`, `stmatrix`, `movmatrix`.
//!
//! What they compute is in [`crate::tensor`]; here they are checked, and bound to registers and memory. All of them are
//! `.sync.aligned`: they wait for the lanes of their warp, and all 32 must be there. Tests: `tests/matrix`.

mod fragments;
mod multiply;
mod tiles;

use crate::{
    machine::{Context, FULL, Fault, FaultKind},
    program::{Builder, Exec, Instr},
    ptx::ast::{Operand, Type},
    tensor::{Accumulator, Element, Shape},
};

/// Where the mask of the lanes that must arrive stands, see [`Exec::Sync`].
const MASK: usize = 0;

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let modifiers: Vec<&str> = b.source.modifiers.iter().map(String::as_str).collect();
    match (b.source.opcode.as_str(), &modifiers[..]) {
        ("mma", ["sync", "aligned", rest @ ..]) => multiply::mma(b, rest),
        ("wmma", ["mma", "sync", "aligned", rest @ ..]) => multiply::wmma(b, rest),
        ("wmma", ["load", part, "sync", "aligned", rest @ ..]) => fragments::load(b, part, rest),
        ("wmma", ["store", "d", "sync", "aligned", rest @ ..]) => fragments::store(b, rest),
        ("ldmatrix", ["sync", "aligned", rest @ ..]) => tiles::load(b, rest),
        ("stmatrix", ["sync", "aligned", rest @ ..]) => tiles::store(b, rest),
        ("movmatrix", ["sync", "aligned", "m8n8", "trans", "b16"]) => tiles::transpose(b),
        _ => Err("unknown form".into()),
    }
}

/// Has the instruction being lowered wait for all lanes.
fn wait_for_all(b: &mut Builder<'_>) -> Result<(), String> {
    b.address(MASK, &Operand::Integer(i64::from(FULL)), Type::B32)
}

/// Demands that all lanes of the warp run the instruction.
fn check_all_here(cx: &Context<'_, '_>, mask: u32) -> Result<(), Fault> {
    if mask == FULL {
        return Ok(());
    }
    let message = format!("lanes {mask:#010x} run it, expected all 32 lanes of the warp");
    Err(cx.fault(FaultKind::IllegalInstruction, !mask, message))
}

/// A check by itself, before an instruction of arithmetic.
fn all_here(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    check_all_here(cx, mask)
}

/// Emits that check.
fn emit_check(b: &mut Builder<'_>) -> Result<(), String> {
    wait_for_all(b)?;
    b.emit(Exec::Sync(all_here))
}

/// Demands that the module was compiled for a compute capability that has the instruction.
fn demand_target(b: &Builder<'_>, least: u32) -> Result<(), String> {
    match b.scope.target {
        target if target >= least => Ok(()),
        target => Err(format!("needs .target sm_{least} or higher, found sm_{target}")),
    }
}

/// The registers of a vector operand, of which there must be `n`.
fn vector<'a>(operand: &'a Operand, n: usize, what: &str) -> Result<&'a [Operand], String> {
    match operand {
        Operand::Vector(parts) if parts.len() == n => Ok(parts),
        Operand::Vector(parts) => Err(format!("{what} has {} registers, expected {n}", parts.len())),
        other => Err(format!("{what} is {other:?}, expected {n} registers in braces")),
    }
}

fn shape(text: &str) -> Option<Shape> {
    let (m, rest) = text.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

fn element(text: &str) -> Option<Element> {
    Some(match text {
        "f16" => Element::F16,
        "bf16" => Element::Bf16,
        "tf32" => Element::Tf32,
        "e4m3" => Element::E4m3,
        "e5m2" => Element::E5m2,
        "s8" => Element::S8,
        "u8" => Element::U8,
        "s4" => Element::S4,
        "u4" => Element::U4,
        _ => return None,
    })
}

fn accumulator(text: &str) -> Option<Accumulator> {
    Some(match text {
        "f16" => Accumulator::F16,
        "f32" => Accumulator::F32,
        "s32" => Accumulator::S32,
        _ => return None,
    })
}
