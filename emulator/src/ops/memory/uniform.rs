//! Parameters of kernels.

use super::{Form, Shape, addresses, check_alignment, each_lane, narrow, shared::check_bounds};
use crate::{
    machine::{Context, Fault},
    program::Instr,
};

/// `ld.param` in a kernel.
pub(super) fn load_body<S: Shape>(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    let params = &cx.launch.params[..];
    check_bounds(cx, mask, &addresses, (S::E * S::V) as u32, params.len() as u32, "the parameters")?;
    check_alignment(cx, mask, &addresses, (S::E * S::V) as u32)?;
    let element = |address: u64, v: usize| {
        let mut bytes = [0; 8];
        bytes[..S::E].copy_from_slice(&params[address as usize + v * S::E..][..S::E]);
        let value = u64::from_le_bytes(bytes);
        (value as u32, (value >> 32) as u32)
    };
    // Most often the address is a constant.
    let first = addresses[mask.trailing_zeros() as usize];
    let apart = addresses.iter().fold(0, |apart, a| apart | (a ^ first));
    for v in 0..S::V {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        if apart == 0 {
            let (a, b) = element(first, v);
            (low, high) = ([a; 32], [b; 32]);
        } else {
            each_lane(mask).for_each(|l| (low[l], high[l]) = element(addresses[l], v));
        }
        narrow::write::<S>(cx.registers, instr.r[v], mask, form, &(low, high));
    }
    Ok(())
}
