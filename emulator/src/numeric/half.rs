//! `.f16` as raw bits: conversions and arithmetic, correctly rounded to nearest even, the only mode that they have.
//!
//! All of it is f32 arithmetic without branches, so that loops over lanes vectorise. Why one f32 rounding before the f16 one
//! changes nothing: f32 has 24 = 2 * 11 + 2 bits, for which rounding twice is harmless in `+`, `-` and `*` (a sum that
//! is subnormal in f16 is exact, a product of two f16 always is); `fma` rounds to odd in between. Tests: `tests/numeric_half.rs`.

super::sixteen::of_sixteen_bits!(F16, infinity 0x7c00, one 0x3c00);

/// `cvt.f32.f16`: exact; NaN becomes the canonical f32 NaN.
#[inline(always)]
pub fn to_f32(x: u16) -> f32 {
    if x & 0x7fff > INF { f32::from_bits(super::single::NAN) } else { widen(x) }
}

/// [`to_f32`], but with some NaN for a NaN.
#[inline(always)]
pub fn widen(x: u16) -> f32 {
    let magnitude = u32::from(x & 0x7fff);
    let wide = magnitude << 13;
    // A subnormal is `m * 2^-24`: as the fraction of a number in [2^-14, 2^-13), less 2^-14.
    let subnormal = f32::from_bits(wide + (113 << 23)) - f32::from_bits(113 << 23);
    // The exponent of infinity and NaN is the largest there and here.
    let normal = wide + if magnitude < 0x7c00 { 112 << 23 } else { 224 << 23 };
    let finite = if magnitude < 0x400 { subnormal.to_bits() } else { normal };
    f32::from_bits(finite | u32::from(x & 0x8000) << 16)
}

/// `cvt.rn.f16.f32`.
#[inline(always)]
pub fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // Normal results: rebias, add just under half of what goes, and one more where the kept part is odd; the carry may
    // run into the exponent, up to infinity.
    let normal = (magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13) as u16;
    // Subnormal results: the sum with 0.5 has steps of 2^-24, the adder rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000) as u16;
    let finite = if magnitude < 113 << 23 { subnormal } else { normal };
    let any = if magnitude >= 143 << 23 { INF } else { finite };
    if magnitude > 0x7f80_0000 { NAN } else { any | sign }
}

/// `fma`: `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: u16, b: u16, c: u16) -> u16 {
    from_f32(sum_to_odd(to_f32(a) * to_f32(b), to_f32(c)))
}

/// `a + b`; where inexact and even, the odd neighbour on the side of the exact sum, which a narrower format rounds as it would
/// the sum itself.
#[inline(always)]
fn sum_to_odd(a: f32, b: f32) -> f32 {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    let error = (a - a_part) + (b - b_part);
    let bits = sum.to_bits();
    let outwards = ((error.to_bits() ^ bits) >> 31) == 0;
    let moved = if outwards { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    // An infinite or NaN sum has a NaN error, for which this is false.
    f32::from_bits(if (error.abs() > 0.0) & (bits & 1 == 0) { moved } else { bits })
}
