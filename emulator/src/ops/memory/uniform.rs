//! Parameters of kernels.

use super::{Form, addresses, check_alignment, each_lane, narrow, shared::check_bounds};
use crate::{
    machine::{Context, Fault},
    program::Instr,
};

/// `ld.param` in a kernel: `V` elements of `E` bytes.
pub fn load<const E: usize, const V: usize>(
    cx: &mut Context<'_, '_>,
    mask: u32,
    instr: &Instr,
) -> Result<(), Fault> {
    let form = Form(instr.imm);
    let addresses = addresses(cx, instr, form);
    check_bounds(cx, mask, &addresses, (E * V) as u32, cx.launch.params.len() as u32, "the parameters")?;
    check_alignment(cx, mask, &addresses, (E * V) as u32)?;
    for v in 0..V {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        for l in each_lane(mask) {
            let mut bytes = [0; 8];
            bytes[..E].copy_from_slice(&cx.launch.params[addresses[l] as usize + v * E..][..E]);
            let value = u64::from_le_bytes(bytes);
            (low[l], high[l]) = (value as u32, (value >> 32) as u32);
        }
        narrow::write::<E>(cx.registers, instr.r[v], mask, form, &low, &high);
    }
    Ok(())
}
