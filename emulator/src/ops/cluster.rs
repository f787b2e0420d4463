//! Clusters and dependent launches: `barrier.cluster`, `mapa`, `griddepcontrol`.
//!
//! A cluster is one block, so addresses in it are those of the block. Tests: `tests/cluster.rs`.

use super::memory::lanes_where;
use crate::{
    machine::{CLUSTER_BARRIER, Context, Event, Fault, FaultKind, cluster_arrive},
    memory::{Window, window_of},
    program::{Builder, Control, Exec, Instr},
    ptx::ast::{Operand, Type},
};

/// Whether the family owns this form of `barrier`.
pub fn is_barrier(modifiers: &[String]) -> bool {
    modifiers.first().is_some_and(|m| m == "cluster")
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    if b.scope.target < 90 {
        return Err(format!("needs .target sm_90 or higher, found sm_{}", b.scope.target));
    }
    let source = b.source;
    let modifiers: Vec<&str> = source.modifiers.iter().map(String::as_str).collect();
    match (source.opcode.as_str(), &modifiers[..]) {
        ("griddepcontrol", ["wait"]) => bare(b, Exec::Warp(dependency_wait)),
        ("griddepcontrol", ["launch_dependents"]) => bare(b, Exec::Warp(launch_dependents)),
        ("barrier", ["cluster", "arrive", rest @ ..]) => {
            let relaxed = match ordering(rest)? {
                None | Some("release") => 0,
                Some("relaxed") => 1,
                Some(other) => return Err(format!("unknown modifier {other}")),
            };
            b.set_flags(relaxed);
            bare(b, Exec::Warp(arrive))
        }
        ("barrier", ["cluster", "wait", rest @ ..]) => match ordering(rest)? {
            None | Some("acquire") => bare(b, Exec::Control(Control::ClusterWait)),
            Some(other) => Err(format!("unknown modifier {other}")),
        },
        ("mapa", ["u32" | "u64"]) => mapa(b, modifiers[0], false),
        ("mapa", ["shared::cluster", size @ ("u32" | "u64")]) => mapa(b, size, true),
        _ => Err("unknown form".into()),
    }
}

fn bare(b: &mut Builder<'_>, exec: Exec) -> Result<(), String> {
    b.expect_operands(0)?;
    b.emit(exec)
}

/// The ordering of a half of a barrier, without `.aligned`.
fn ordering<'a>(modifiers: &[&'a str]) -> Result<Option<&'a str>, String> {
    match modifiers {
        [] | ["aligned"] => Ok(None),
        [ordering] | [ordering, "aligned"] => Ok(Some(ordering)),
        other => Err(format!("unknown modifiers {}", other.join("."))),
    }
}

/// `mapa d, a, rank`: the address in block `rank` of the cluster of what `a` is in this one.
fn mapa(b: &mut Builder<'_>, size: &str, shared: bool) -> Result<(), String> {
    b.expect_operands(3)?;
    let ty = if size == "u32" { Type::B32 } else { Type::B64 };
    if !shared && matches!(b.operand(1)?, Operand::Symbol(..)) {
        return Err("the generic address is not in a register".into());
    }
    b.destination(0, b.operand(0)?, ty)?;
    b.address(2, b.operand(1)?, ty)?;
    b.address(4, b.operand(2)?, Type::B32)?;
    b.set_flags(u8::from(ty == Type::B64) | u8::from(shared) << 1);
    b.emit(Exec::Warp(map))
}

fn map(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let ranks = *cx.registers.single(instr.r[4]);
    let beyond = lanes_where(mask, &ranks, |r| r != 0);
    if beyond != 0 {
        let rank = ranks[beyond.trailing_zeros() as usize & 31];
        let message = format!("block {rank} of a cluster of one block");
        return Err(cx.fault(FaultKind::IllegalInstruction, beyond, message));
    }
    if instr.flags & 1 == 0 {
        let addresses = *cx.registers.single(instr.r[2]);
        if instr.flags & 2 == 0 {
            outside(cx, mask, &addresses.map(u64::from))?;
        }
        cx.registers.write_single(instr.r[0], mask, &addresses);
        return Ok(());
    }
    let addresses = *cx.registers.double(instr.r[2]);
    if instr.flags & 2 == 0 {
        outside(cx, mask, &addresses)?;
    }
    cx.registers.write_double(instr.r[0], mask, &addresses);
    Ok(())
}

/// A fault for generic addresses that are not in shared memory.
fn outside(cx: &Context<'_, '_>, mask: u32, addresses: &[u64; 32]) -> Result<(), Fault> {
    match lanes_where(mask, addresses, |a| !matches!(window_of(a), Window::Shared(_))) {
        0 => Ok(()),
        wrong => {
            let address = addresses[wrong.trailing_zeros() as usize & 31];
            let message = format!("address {address:#x} is not in shared memory");
            Err(cx.fault(FaultKind::InvalidAddressSpace, wrong, message))
        }
    }
}

fn arrive(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    if instr.flags == 0 {
        cx.event(&Event::MbarrierArrive { offset: CLUSTER_BARRIER, mask })?;
    }
    cluster_arrive(cx.warp, cx.block, mask)
}

/// Launches run one after the other, so what came before is done.
fn dependency_wait(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    cx.event(&Event::DependencyWait { mask })
}

fn launch_dependents(_: &mut Context<'_, '_>, _: u32, _: &Instr) -> Result<(), Fault> {
    Ok(())
}
