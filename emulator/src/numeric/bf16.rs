//! `.bf16` as raw bits: conversions and arithmetic, correctly rounded to nearest even, subnormal numbers kept.
//!
//! Why one f32 rounding before the bf16 one changes nothing in `+`, `-` and `*`: f32 has more than 2 * 8 + 2 bits; sums that
//! are subnormal are exact; a product has 16 bits, so those that are subnormal in f32 and inexact lie below 2^-134, half of
//! the least bf16, and give zero either way. The product in `fma` may leave f32's range: it is taken in f64, and every step before
//! the last rounds to odd, because f64 alone would round twice. Tests: `tests/numeric_half.rs`.

use super::single::{to_odd, two_sum};

super::sixteen::of_sixteen_bits!(BF16, infinity 0x7f80, one 0x3f80);

/// `cvt.f32.bf16`: exact. The ISA leaves open which NaN a NaN gives; here the canonical one.
#[inline(always)]
pub fn to_f32(x: u16) -> f32 {
    super::single::canonical(f32::from_bits(u32::from(x) << 16))
}

/// `cvt.rn.bf16.f32`.
#[inline(always)]
pub fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { NAN } else { rounded }
}

/// `fma`: `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: u16, b: u16, c: u16) -> u16 {
    let (sum, error) = two_sum(f64::from(to_f32(a)) * f64::from(to_f32(b)), f64::from(to_f32(c)));
    from_f32(narrow_to_odd(to_odd(sum, error)))
}

/// `x` in f32; where inexact and even, the odd neighbour on the side of `x`. What overflows becomes infinite or the largest f32;
/// both round to an infinite bf16.
#[inline(always)]
pub(crate) fn narrow_to_odd(x: f64) -> f32 {
    let near = x as f32;
    let error = x - f64::from(near);
    let bits = near.to_bits();
    let outwards = (error.to_bits() >> 63) as u32 == bits >> 31;
    let moved = if outwards { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    f32::from_bits(if (error.abs() > 0.0) & (bits & 1 == 0) { moved } else { bits })
}
