//! Between elements of memory and registers.

use super::{Form, Shape, Words};
use crate::machine::Registers;

/// Writes elements of `E` bytes, as little-endian words of 32 or 64 bits with anything above, to the register `r`, extended as `form` says.
#[inline(always)]
pub fn write<S: Shape>(registers: &mut Registers<'_>, r: u16, mask: u32, form: Form, (low, high): &Words) {
    if r == crate::program::NONE {
        return;
    }
    if S::E == 8 {
        let mut wide = [0; 32];
        for l in 0..32 {
            wide[l] = u64::from(low[l]) | u64::from(high[l]) << 32;
        }
        return registers.write_double(r, mask, &wide);
    }
    if S::E == 4 && form.register_bytes() <= 4 {
        return registers.write_single(r, mask, low);
    }
    let bits = 64 - 8 * S::E as u32;
    let extend = |v: u32| {
        let top = u64::from(v) << bits;
        if form.signed() { ((top as i64) >> bits) as u64 } else { top >> bits }
    };
    let mut wide = [0; 32];
    for l in 0..32 {
        wide[l] = extend(low[l]);
    }
    let keep = if form.register_bytes() == 2 { 0xFFFF } else { u32::MAX };
    match form.register_bytes() {
        8 => registers.write_double(r, mask, &wide),
        _ => {
            let mut single = [0; 32];
            for l in 0..32 {
                single[l] = wide[l] as u32 & keep;
            }
            registers.write_single(r, mask, &single)
        }
    }
}

/// Reads the register `r` for a store of elements of `E` bytes: its low and its high word.
#[inline(always)]
pub fn read<S: Shape>(registers: &Registers<'_>, r: u16, form: Form) -> Words {
    if S::E == 8 || form.register_bytes() == 8 {
        let wide = registers.double(r);
        return (wide.map(|v| v as u32), wide.map(|v| (v >> 32) as u32));
    }
    (*registers.single(r), [0; 32])
}
