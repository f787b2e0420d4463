//! Between elements of memory and registers.

use super::Form;
use crate::machine::Registers;

/// Writes elements of `E` bytes, as little-endian words of 32 or 64 bits with anything above, to the register `r`, extended as `form` says.
#[inline(always)]
pub fn write<const E: usize>(
    registers: &mut Registers<'_>,
    r: u16,
    mask: u32,
    form: Form,
    low: &[u32; 32],
    high: &[u32; 32],
) {
    if r == crate::program::NONE {
        return;
    }
    if E == 8 {
        let wide = std::array::from_fn(|l| u64::from(low[l]) | u64::from(high[l]) << 32);
        return registers.write_double(r, mask, &wide);
    }
    if E == 4 && form.register_bytes() <= 4 {
        return registers.write_single(r, mask, low);
    }
    let bits = 64 - 8 * E as u32;
    let extend = |v: u32| {
        let top = u64::from(v) << bits;
        if form.signed() { ((top as i64) >> bits) as u64 } else { top >> bits }
    };
    match form.register_bytes() {
        8 => registers.write_double(r, mask, &low.map(extend)),
        4 => registers.write_single(r, mask, &low.map(|v| extend(v) as u32)),
        _ => registers.write_single(r, mask, &low.map(|v| extend(v) as u32 & 0xFFFF)),
    }
}

/// Reads the register `r` for a store of elements of `E` bytes: its low and its high word.
#[inline(always)]
pub fn read<const E: usize>(registers: &Registers<'_>, r: u16, form: Form) -> ([u32; 32], [u32; 32]) {
    if E == 8 || form.register_bytes() == 8 {
        let wide = registers.double(r);
        return (wide.map(|v| v as u32), wide.map(|v| (v >> 32) as u32));
    }
    (*registers.single(r), [0; 32])
}
