//! Handlers of fused instructions, see `program::fuse`.

use super::lanes::{op, unary};
use crate::{
    isa::{Isa, versions},
    machine::Registers,
    numeric::{Round, half, single},
    program::{Instr, LaneFn},
};

op!(WidenHalf: (u32) -> f32 = |pair; shift| half::to_f32((pair >> shift) as u16));

/// Widens the half at bit `imm` of the pair in `r[1]`.
pub fn widen_half(isa: Isa) -> LaneFn {
    unary::<WidenHalf>(isa)
}

#[inline(always)]
fn widen_halves_body(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let pair = *registers.single(instr.r[1]);
    let (mut low, mut high) = ([0; 32], [0; 32]);
    for l in 0..32 {
        low[l] = half::to_f32(pair[l] as u16).to_bits();
        high[l] = half::to_f32((pair[l] >> 16) as u16).to_bits();
    }
    registers.write_single(instr.r[0], mask, &low);
    registers.write_single(instr.r[2], mask, &high);
}

versions! {
    /// Widens both halves of the pair in `r[1]`, to `r[0]` and `r[2]`.
    pub fn widen_halves<>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = widen_halves_body
}

#[inline(always)]
fn dot_halves_body(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let (pair, addend) = (registers.single(instr.r[1]), registers.single(instr.r[4]));
    let (x, y) = (registers.single(instr.r[2]), registers.single(instr.r[3]));
    let mut sum = [0; 32];
    for l in 0..32 {
        let (x, y, addend) = (f32::from_bits(x[l]), f32::from_bits(y[l]), f32::from_bits(addend[l]));
        // Whatever is NaN on the way is made canonical at the end.
        let low = half::widen(pair[l] as u16).mul_add(x, addend);
        sum[l] = single::fma(half::widen((pair[l] >> 16) as u16), y, low, Round::Rn).to_bits();
    }
    registers.write_single(instr.r[0], mask, &sum);
}

versions! {
    /// `r[0] = r[4] + low * r[2] + high * r[3]` for the halves of the pair in `r[1]`, rounded twice.
    pub fn dot_halves<>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = dot_halves_body
}
