//! Instructions that change when things happen, or nothing: `nanosleep`, `prefetch`, `prefetchu`, `pmevent`,
//! `createpolicy`; and `isspacep`.
//!
//! Tests: `tests/warp_special.rs`.

use super::{
    memory::{lanes_where, place_address},
    moves,
};
use crate::{
    machine::{Context, Fault},
    memory::{Window, window_of},
    program::{Builder, Exec, Instr, WarpFn},
    ptx::ast::{Operand, Type},
};

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    match (b.source.opcode.as_str(), b.modifiers().as_str()) {
        ("nanosleep", "u32") => {
            b.expect_operands(1)?;
            b.source(1, b.operand(0)?, Type::U32)?;
            b.emit(Exec::Warp(sleep))
        }
        ("pmevent", "") => {
            b.expect_operands(1)?;
            match b.operand(0)? {
                Operand::Integer(0..=15) => b.emit(Exec::Warp(nothing)),
                other => Err(format!("event {other:?}, expected a number below 16")),
            }
        }
        (
            "prefetch",
            modifiers @ ("L1"
            | "L2"
            | "global.L1"
            | "global.L2"
            | "local.L1"
            | "local.L2"
            | "global.L2::evict_last"
            | "global.L2::evict_normal"),
        ) => prefetch(b, modifiers.split('.').find(|&m| m == "global" || m == "local")),
        ("prefetchu", "L1") => prefetch(b, None),
        ("createpolicy", _) => create_policy(b),
        ("isspacep", space) => {
            let run: WarpFn = match space {
                "global" => in_global,
                "shared" | "shared::cta" | "shared::cluster" => in_shared,
                "local" => in_local,
                _ => return Err("unknown form".into()),
            };
            b.expect_operands(2)?;
            b.destination(0, b.operand(0)?, Type::Pred)?;
            b.source(1, b.operand(1)?, Type::B64)?;
            b.emit(Exec::Warp(run))
        }
        _ => Err("unknown form".into()),
    }
}

/// Addresses are not looked at: hardware ignores those where nothing is.
fn prefetch(b: &mut Builder<'_>, space: Option<&str>) -> Result<(), String> {
    b.expect_operands(1)?;
    match b.operand(0)? {
        Operand::Address { base, offset } => {
            place_address(b, space, base, *offset)?;
            b.emit(Exec::Warp(nothing))
        }
        other => Err(format!("operand {other:?} is not an address")),
    }
}

/// A policy is opaque: programs hand it on to `.L2::cache_hint`, which reads it and does nothing with it.
fn create_policy(b: &mut Builder<'_>) -> Result<(), String> {
    const PRIMARY: [&str; 4] =
        ["L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"];
    const SECONDARY: [&str; 2] = ["L2::evict_first", "L2::evict_unchanged"];
    let modifiers: Vec<&str> = b.source.modifiers.iter().map(String::as_str).collect();
    let kind = match modifiers[..] {
        ["fractional", primary, "b64"] if PRIMARY.contains(&primary) => {
            PRIMARY.iter().position(|&p| p == primary)
        }
        ["fractional", primary, secondary, "b64"]
            if PRIMARY.contains(&primary) && SECONDARY.contains(&secondary) =>
        {
            PRIMARY.iter().position(|&p| p == primary)
        }
        _ => None,
    };
    let kind = kind.ok_or("unknown form")?;
    if b.scope.target < 80 {
        return Err(format!("needs sm_80, the module is for sm_{}", b.scope.target));
    }
    if b.source.operands.len() != 1 {
        b.expect_operands(2)?;
        // The fraction of accesses that it is for: a constant is above 0 and at most 1.
        let fraction = b.operand(1)?;
        match fraction {
            Operand::Register(_) => b.source(2, fraction, Type::F32)?,
            constant => {
                let value = f32::from_bits(b.immediate(constant, Type::F32)? as u32);
                if !(value > 0.0 && value <= 1.0) {
                    return Err(format!("the fraction is {value}, expected above 0 and at most 1"));
                }
            }
        }
    }
    moves::copy(b, b.operand(0)?, &Operand::Integer(1 + kind as i64), Type::B64)
}

fn nothing(_: &mut Context<'_, '_>, _: u32, _: &Instr) -> Result<(), Fault> {
    Ok(())
}

/// Others run before its loop goes round again.
fn sleep(cx: &mut Context<'_, '_>, _: u32, _: &Instr) -> Result<(), Fault> {
    cx.warp.polled = true;
    Ok(())
}

fn in_window(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr, test: fn(Window) -> bool) {
    let bits = lanes_where(u32::MAX, cx.registers.double(instr.r[1]), |a| test(window_of(a)));
    if instr.r[0] != crate::program::NONE {
        cx.registers.write_predicate(instr.r[0], mask, bits);
    }
}

fn in_global(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    in_window(cx, mask, instr, |w| w == Window::Global);
    Ok(())
}

fn in_shared(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    in_window(cx, mask, instr, |w| matches!(w, Window::Shared(_)));
    Ok(())
}

fn in_local(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    in_window(cx, mask, instr, |w| matches!(w, Window::Local(_)));
    Ok(())
}
