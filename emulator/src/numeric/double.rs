//! `.f64`: add, sub, mul, fma, div, rcp and sqrt in four rounding modes, correctly rounded, with subnormal numbers.
//!
//! `.rn` is the host's own operation; the directed modes go through [`soft`](super::soft), whose integers hold every
//! result exactly enough. Tests: `tests/numeric_arith.rs`.

use super::Round;
use super::soft::{F64, Finite, Value, product, quotient, root, sum};

/// The bits of the NaN that every operation gives: the ISA names none; this is CUDA's `CUDART_NAN`.
pub const NAN: u64 = 0xfff8_0000_0000_0000;

/// `x`, with every NaN made the canonical one; by its bits, as [`single::canonical`](super::single::canonical).
#[inline(always)]
pub fn canonical(x: f64) -> f64 {
    let bits = x.to_bits();
    f64::from_bits(if bits & (u64::MAX >> 1) > 0x7ff0_0000_0000_0000 { NAN } else { bits })
}

/// `.sat` of `cvt`: clamped to [0, 1]; NaN and -0 become +0.
#[inline(always)]
pub fn sat(x: f64) -> f64 {
    let low = if x > 0.0 { x } else { 0.0 };
    if low < 1.0 { low } else { 1.0 }
}

/// `abs`: NaN passes unchanged.
#[inline(always)]
pub fn abs(x: f64) -> f64 {
    if x.is_nan() { x } else { x.abs() }
}

/// `neg`: NaN passes unchanged.
#[inline(always)]
pub fn neg(x: f64) -> f64 {
    if x.is_nan() { x } else { -x }
}

/// `add`: `a + b`.
#[inline(always)]
pub fn add(a: f64, b: f64, round: Round) -> f64 {
    // Only finite operands round; with others the operation gives an operand, an infinity or NaN.
    match (round, finite(a), finite(b)) {
        (Round::Rz | Round::Rm | Round::Rp, Some(x), Some(y)) => encode(sum(x, y, round), round),
        _ => canonical(a + b),
    }
}

/// `sub`: `a - b`.
#[inline(always)]
pub fn sub(a: f64, b: f64, round: Round) -> f64 {
    add(a, -b, round)
}

/// `mul`: `a * b`.
#[inline(always)]
pub fn mul(a: f64, b: f64, round: Round) -> f64 {
    match (round, finite(a), finite(b)) {
        (Round::Rz | Round::Rm | Round::Rp, Some(x), Some(y)) => encode(product(x, y), round),
        _ => canonical(a * b),
    }
}

/// `fma` and `mad`: `a * b + c`, rounded once.
#[inline(always)]
pub fn fma(a: f64, b: f64, c: f64, round: Round) -> f64 {
    match (round, finite(a), finite(b), finite(c)) {
        (Round::Rz | Round::Rm | Round::Rp, Some(x), Some(y), Some(z)) => {
            encode(sum(product(x, y), z, round), round)
        }
        _ => canonical(a.mul_add(b, c)),
    }
}

/// `div.rn`, `.rz`, `.rm`, `.rp`: `a / b`.
#[inline(always)]
pub fn div(a: f64, b: f64, round: Round) -> f64 {
    match (round, finite(a), finite(b)) {
        (Round::Rz | Round::Rm | Round::Rp, Some(x), Some(y)) if x.sig != 0 && y.sig != 0 => {
            encode(quotient(x, y), round)
        }
        _ => canonical(a / b),
    }
}

/// `rcp.rn`, `.rz`, `.rm`, `.rp`: `1 / x`.
#[inline(always)]
pub fn rcp(x: f64, round: Round) -> f64 {
    div(1.0, x, round)
}

/// `sqrt.rn`, `.rz`, `.rm`, `.rp`: -0 stays, anything else negative gives NaN.
#[inline(always)]
pub fn sqrt(x: f64, round: Round) -> f64 {
    match (round, finite(x)) {
        (Round::Rz | Round::Rm | Round::Rp, Some(a)) if !a.neg => encode(root(a), round),
        _ => canonical(x.sqrt()),
    }
}

#[inline]
fn finite(x: f64) -> Option<Finite> {
    match F64.decode(x.to_bits()) {
        Value::Finite(x) => Some(x),
        Value::Nan | Value::Inf(_) => None,
    }
}

#[inline]
fn encode(x: Finite, round: Round) -> f64 {
    f64::from_bits(F64.encode(x, round))
}
