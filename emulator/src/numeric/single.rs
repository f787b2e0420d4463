//! `.f32`: add, sub, mul, fma, div, rcp and sqrt in four rounding modes, correctly rounded, with subnormal numbers.
//!
//! `.rn` is the host's own operation. The directed modes compute in f64 and narrow that. Sums are first rounded to odd (an
//! inexact one whose last bit is even moves to its odd neighbour on the side of the exact value): 53 bits are more than
//! 24 + 2, so nothing is rounded twice. Tests: `tests/numeric_arith.rs`.

use super::Round;

/// The bits of the NaN that every operation gives.
pub const NAN: u32 = 0x7fff_ffff;

/// `x`, with every NaN made the canonical one.
///
/// Compares bits, because LLVM takes `if x.is_nan() { NAN } else { x }` for `x` where `x` is a square root: to it one NaN is as good as
/// another.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { NAN } else { bits })
}

/// `.ftz`: a subnormal number becomes zero of the same sign.
#[inline(always)]
pub fn ftz(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits })
}

/// `.sat`: clamped to [0, 1]; NaN and -0 become +0.
#[inline(always)]
pub fn sat(x: f32) -> f32 {
    let low = if x > 0.0 { x } else { 0.0 };
    if low < 1.0 { low } else { 1.0 }
}

/// `abs`. Which NaN a NaN gives the ISA leaves open; here the canonical one.
#[inline(always)]
pub fn abs(x: f32) -> f32 {
    canonical(x.abs())
}

/// `neg`. Which NaN a NaN gives the ISA leaves open; here the canonical one.
#[inline(always)]
pub fn neg(x: f32) -> f32 {
    canonical(-x)
}

/// `add`: `a + b`.
#[inline(always)]
pub fn add(a: f32, b: f32, round: Round) -> f32 {
    if round == Round::Rn {
        return canonical(a + b);
    }
    narrow_sum(f64::from(a), f64::from(b), round)
}

/// `sub`: `a - b`.
#[inline(always)]
pub fn sub(a: f32, b: f32, round: Round) -> f32 {
    add(a, -b, round)
}

/// `mul`: `a * b`.
#[inline(always)]
pub fn mul(a: f32, b: f32, round: Round) -> f32 {
    if round == Round::Rn {
        return canonical(a * b);
    }
    // 48 bits and exponents of at most 257: exact in f64.
    narrow(f64::from(a) * f64::from(b), round)
}

/// `fma` and `mad`: `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32, round: Round) -> f32 {
    if round == Round::Rn {
        return canonical(a.mul_add(b, c));
    }
    narrow_sum(f64::from(a) * f64::from(b), f64::from(c), round)
}

/// `div.rn`, `.rz`, `.rm`, `.rp`: `a / b`.
#[inline(always)]
pub fn div(a: f32, b: f32, round: Round) -> f32 {
    if round == Round::Rn {
        return canonical(a / b);
    }
    // A quotient of 24-bit numbers is a number of f32 or further from any than 2^-49 of itself (their products have 48 bits), so
    // rounding it to f64 first does not change its side.
    narrow(f64::from(a) / f64::from(b), round)
}

/// `rcp.rn`, `.rz`, `.rm`, `.rp`: `1 / x`.
#[inline(always)]
pub fn rcp(x: f32, round: Round) -> f32 {
    div(1.0, x, round)
}

/// `sqrt.rn`, `.rz`, `.rm`, `.rp`: -0 stays, anything else negative gives NaN.
#[inline(always)]
pub fn sqrt(x: f32, round: Round) -> f32 {
    if round == Round::Rn {
        return canonical(x.sqrt());
    }
    // As with quotients: squares of 24-bit numbers have 48 bits.
    narrow(f64::from(x).sqrt(), round)
}

/// `a + b` for addends that are exact in f64, rounded to f32 once.
#[inline(always)]
fn narrow_sum(a: f64, b: f64, round: Round) -> f32 {
    let (sum, error) = two_sum(a, b);
    // Zero as a sum of numbers that are not both +0 is -0 when rounding down.
    if round == Round::Rm && sum == 0.0 && (a.is_sign_negative() || b.is_sign_negative()) {
        return -0.0;
    }
    narrow(to_odd(sum, error), round)
}

/// The rounded sum and its exact error (Knuth); NaN for the error where the sum is not finite.
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// `rounded` moved to its odd neighbour towards `rounded + error`, unless it is exact (error 0 or NaN) or odd.
#[inline(always)]
pub(crate) fn to_odd(rounded: f64, error: f64) -> f64 {
    let bits = rounded.to_bits();
    let inexact_even = error.abs() > 0.0 && bits & 1 == 0;
    let outwards = (error.to_bits() ^ bits) >> 63 == 0;
    let moved = if outwards { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    f64::from_bits(if inexact_even { moved } else { bits })
}

/// `x` rounded to f32: `cvt.rn.f32.f64` and the other modes.
#[inline(always)]
pub fn narrow(x: f64, round: Round) -> f32 {
    let near = x as f32;
    let bits = near.to_bits();
    let above = f64::from(near) > x;
    let below = f64::from(near) < x;
    let negative = bits >> 31 == 1;
    // From the nearest value one step towards the mode's side reaches the neighbour beyond `x`, infinities included.
    let (down, up) = match round {
        Round::Rn => (false, false),
        Round::Rz => (above && x > 0.0, below && x < 0.0),
        Round::Rm => (above, false),
        Round::Rp => (false, below),
    };
    let outwards = (down && negative) || (up && !negative);
    let moved = if outwards { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    canonical(f32::from_bits(if down || up { moved } else { bits }))
}
