//! `.tf32`: f32 with a fraction of 10 bits, held in 32 bits whose low 13 the ISA leaves undefined; here they are 0, except in NaN.
//!
//! Tests: `tests/numeric_cvt.rs`.

use super::single;

const DROPPED: u32 = 0x1fff;

/// `cvt.rna.tf32.f32`: to nearest, ties away from zero; may overflow to infinity.
#[inline(always)]
pub fn from_f32_rna(x: f32) -> f32 {
    keep(x, x.to_bits().wrapping_add(0x1000))
}

/// `cvt.rn.tf32.f32`: to nearest, ties to even.
#[inline(always)]
pub fn from_f32_rn(x: f32) -> f32 {
    let bits = x.to_bits();
    keep(x, bits.wrapping_add(0xfff + (bits >> 13 & 1)))
}

/// `cvt.rz.tf32.f32`: towards zero.
#[inline(always)]
pub fn from_f32_rz(x: f32) -> f32 {
    keep(x, x.to_bits())
}

#[inline(always)]
fn keep(x: f32, bits: u32) -> f32 {
    if x.is_nan() { f32::from_bits(single::NAN) } else { f32::from_bits(bits & !DROPPED) }
}

/// `.satfinite` on a result: an infinity becomes the largest finite tf32 of its sign.
#[inline(always)]
pub fn satfinite(x: f32) -> f32 {
    if x.is_infinite() { f32::from_bits(x.to_bits() & 0x8000_0000 | 0x7f7f_e000) } else { x }
}

/// `.relu` on a result: negative numbers and -0 become +0, NaN stays.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x.is_nan() || x.is_sign_positive() { x } else { 0.0 }
}
