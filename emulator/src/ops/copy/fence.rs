//! Fences between the accesses of threads and those of bulk copies.
//!
//! Both see one memory here; what a fence is for, the checks find out.

use super::needs;
use crate::{
    machine::{Context, Event, Fault},
    program::{Builder, Exec, Instr},
};

/// Lowers one of the family; `modifiers` are all.
pub fn lower(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    needs(b, 90)?;
    b.expect_operands(0)?;
    match modifiers {
        ["proxy", "async"] | ["proxy", "async", "shared::cta" | "shared::cluster"] => {
            b.emit(Exec::Warp(proxy))
        }
        // This form orders accesses to global memory, of which the checks know no proxies.
        ["proxy", "async", "global"] => b.emit(Exec::Warp(nothing)),
        // For the blocks of a cluster that use the object after a cluster barrier; a cluster of one needs no more.
        ["mbarrier_init", "release", "cluster"] => b.emit(Exec::Warp(nothing)),
        _ => Err("unknown form".into()),
    }
}

fn proxy(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    cx.event(&Event::ProxyFence { mask })
}

fn nothing(_: &mut Context<'_, '_>, _: u32, _: &Instr) -> Result<(), Fault> {
    Ok(())
}
