//! Loads and stores of generic addresses: each lane's address says in which space it lies.

use super::{
    Form, Shape,
    access::{Lanes, load_at, store_at},
    addresses, by_window,
    global::Global,
    local::Local,
    shared::Shared,
};
use crate::{
    machine::{Context, Fault},
    program::Instr,
    ptx::ast::Space,
};

/// `ld` of a generic address.
pub(super) fn load<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let addresses = addresses(cx, instr, Form(instr.imm));
    by_window(cx, mask, &addresses, |cx, mask, addresses, space| {
        let lanes = Lanes::new(mask, (S::E * S::V) as u32, |l| addresses[l]);
        match space {
            Space::Shared => load_at::<Shared, S>(cx, &lanes, instr),
            Space::Local => load_at::<Local, S>(cx, &lanes, instr),
            _ => load_at::<Global, S>(cx, &lanes, instr),
        }
    })
}

/// `st` to a generic address.
pub(super) fn store<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let addresses = addresses(cx, instr, Form(instr.imm));
    by_window(cx, mask, &addresses, |cx, mask, addresses, space| {
        let lanes = Lanes::new(mask, (S::E * S::V) as u32, |l| addresses[l]);
        match space {
            Space::Shared => store_at::<Shared, S>(cx, &lanes, instr),
            Space::Local => store_at::<Local, S>(cx, &lanes, instr),
            _ => store_at::<Global, S>(cx, &lanes, instr),
        }
    })
}
