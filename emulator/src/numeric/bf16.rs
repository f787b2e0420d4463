//! `.bf16` as raw bits: conversions and arithmetic, correctly rounded to nearest even, subnormal numbers kept.
//!
//! Why one f32 rounding before the bf16 one changes nothing in `+`, `-` and `*`: f32 has more than 2 * 8 + 2 bits; sums that
//! are subnormal are exact; a product has 16 bits, so those that are subnormal in f32 and inexact lie below 2^-134, half of
//! the least bf16, and give zero either way. The product in `fma` may leave f32's range: it is taken in f64, and every step before
//! the last rounds to odd, because f64 alone would round twice. Tests: `tests/numeric_half.rs`.

use super::Round;
use super::single::{to_odd, two_sum};
use super::soft::{BF16, F64, Value};

/// The bits of the NaN that every operation gives.
pub const NAN: u16 = 0x7fff;
/// The bits of plus infinity; magnitudes above are NaN.
pub const INF: u16 = 0x7f80;
/// The bits of 1.
pub const ONE: u16 = 0x3f80;

/// Whether `x` is NaN.
#[inline(always)]
pub fn is_nan(x: u16) -> bool {
    x & 0x7fff > INF
}

/// `cvt.f32.bf16`: exact. The ISA leaves open which NaN a NaN gives; here the canonical one.
#[inline(always)]
pub fn to_f32(x: u16) -> f32 {
    super::single::canonical(f32::from_bits(u32::from(x) << 16))
}

/// `cvt.f64.bf16`: exact; NaN becomes the canonical f64 NaN.
#[inline(always)]
pub fn to_f64(x: u16) -> f64 {
    super::double::canonical(f64::from(to_f32(x)))
}

/// `cvt.rn.bf16.f32`.
#[inline(always)]
pub fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { NAN } else { rounded }
}

/// `cvt.rn`, `.rz`, `.rm`, `.rp` to `.bf16` from `.f64`, and so from every narrower float.
#[inline]
pub fn from_f64(x: f64, round: Round) -> u16 {
    match F64.decode(x.to_bits()) {
        Value::Nan => NAN,
        Value::Inf(neg) => BF16.signed(neg, BF16.overflow) as u16,
        Value::Finite(x) => BF16.encode(x, round) as u16,
    }
}

/// `.sat`: clamped to [0, 1]; NaN and -0 become +0.
#[inline(always)]
pub fn sat(x: u16) -> u16 {
    let above_one = if x > ONE { ONE } else { x };
    if x & 0x8000 != 0 || is_nan(x) { 0 } else { above_one }
}

/// `.relu`: negative numbers and -0 become +0, NaN the canonical one.
#[inline(always)]
pub fn relu(x: u16) -> u16 {
    let clamped = if x & 0x8000 != 0 { 0 } else { x };
    if is_nan(x) { NAN } else { clamped }
}

/// `.ftz`, where a form has it: a subnormal number becomes zero of the same sign.
#[inline(always)]
pub fn ftz(x: u16) -> u16 {
    if x & INF == 0 { x & 0x8000 } else { x }
}

/// `.satfinite` on a result: an infinity becomes the largest finite number of its sign.
#[inline(always)]
pub fn satfinite(x: u16) -> u16 {
    if x & 0x7fff == INF { x - 1 } else { x }
}

/// `add`: `a + b`.
#[inline(always)]
pub fn add(a: u16, b: u16) -> u16 {
    from_f32(to_f32(a) + to_f32(b))
}

/// `sub`: `a - b`.
#[inline(always)]
pub fn sub(a: u16, b: u16) -> u16 {
    from_f32(to_f32(a) - to_f32(b))
}

/// `mul`: `a * b`.
#[inline(always)]
pub fn mul(a: u16, b: u16) -> u16 {
    from_f32(to_f32(a) * to_f32(b))
}

/// `fma`: `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: u16, b: u16, c: u16) -> u16 {
    let (sum, error) = two_sum(f64::from(to_f32(a)) * f64::from(to_f32(b)), f64::from(to_f32(c)));
    from_f32(narrow_to_odd(to_odd(sum, error)))
}

/// `neg`: flips the sign bit, of NaN too.
#[inline(always)]
pub fn neg(x: u16) -> u16 {
    x ^ 0x8000
}

/// `abs`: clears the sign bit, of NaN too.
#[inline(always)]
pub fn abs(x: u16) -> u16 {
    x & 0x7fff
}

super::pair::of_halves! {
    add2 = add(a, b);
    sub2 = sub(a, b);
    mul2 = mul(a, b);
    fma2 = fma(a, b, c);
    neg2 = neg(x);
    abs2 = abs(x);
    ftz2 = ftz(x);
    sat2 = sat(x);
    relu2 = relu(x);
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
