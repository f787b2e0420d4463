//! Memory fences: `membar` and `fence`.
//!
//! Blocks see each other's accesses in the order that the scheduler gives them; a fence matters to the watchers, and to the
//! host's cores where blocks run on several. Fences of the asynchronous proxy are in `copy`. Tests: `tests/warp_special.rs`.

use crate::{
    machine::{Context, Event, Fault, Scope},
    program::{Builder, Exec, Instr},
};

const SCOPES: [Scope; 4] = [Scope::Block, Scope::Cluster, Scope::Device, Scope::System];

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    b.expect_operands(0)?;
    let modifiers: Vec<&str> = b.source.modifiers.iter().map(String::as_str).collect();
    let (scope, sequential) = match (b.source.opcode.as_str(), &modifiers[..]) {
        ("membar", ["cta"]) => ("cta", true),
        ("membar", ["gl"]) => ("gpu", true),
        ("membar", ["sys"]) => ("sys", true),
        ("fence", ["sc", scope]) => (*scope, true),
        ("fence", ["acq_rel" | "acquire" | "release", scope] | [scope]) => (*scope, false),
        // Orders accesses through different virtual addresses of one place; here no place has two.
        ("fence" | "membar", ["proxy", "alias"]) => return b.emit(Exec::Warp(nothing)),
        _ => return Err("unknown form".into()),
    };
    let scope = match scope {
        "cta" => 0,
        "cluster" => 1,
        "gpu" => 2,
        "sys" => 3,
        other => return Err(format!("unknown scope {other}")),
    };
    b.set_imm(scope);
    b.set_flags(u8::from(sequential));
    b.emit(Exec::Warp(fence))
}

fn nothing(_: &mut Context<'_, '_>, _: u32, _: &Instr) -> Result<(), Fault> {
    Ok(())
}

fn fence(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    let scope = SCOPES[instr.imm as usize & 3];
    cx.event(&Event::Fence { mask, scope, sequential: instr.flags == 1 })
}
