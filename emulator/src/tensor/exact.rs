//! `c + sum over k of a[k] * b[k]` without any rounding but the last.
//!
//! Products of two elements are exact in f64. Whether a sum of them in f64 is exact too depends on how far apart the largest and the
//! smallest are, so we look at the ranges of A and B first and take the cheapest of three ways that is exact:
//!
//! 1. one f64 sum, where all partial sums are multiples of one power of two with at most 53 bits;
//! 2. two f64 sums, of the products' upper and lower parts, which reach over 106 bits: enough for any `.f16`;
//! 3. a fixed-point number as wide as f32 products go ([`super::wide`]).
//!
//! Each ends in the f64 that is the exact sum rounded to odd: rounding that to f32 or f16 rounds the exact sum once.

use super::decode::Panel;
use super::layout::TILE;
use super::wide::{Wide, power_of_two};
use super::{Element, Lanes};
use crate::numeric::single::{to_odd, two_sum};

/// Every element of a matrix is a multiple of `2^low` and smaller than `2^top`, but for infinities and NaN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    top: i32,
    low: i32,
}

/// How to sum exactly.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    One,
    /// With the constant that rounds a product to its upper part when added and subtracted again.
    Two(f64),
    Wide,
}

impl Range {
    /// The range of the elements in some registers.
    #[inline(always)]
    pub(super) fn of(element: Element, registers: &[Lanes]) -> Self {
        // (bits of an element, of its fraction, bias)
        let (bits, fraction, bias) = match element {
            Element::F16 => (16, 10, 15),
            Element::Bf16 => (16, 7, 127),
            Element::Tf32 => (32, 10, 127),
            Element::E5m2 => (8, 2, 15),
            // At most 256 steps of 2^-9 to 448: any product sum is exact.
            _ => return Self { top: 9, low: -9 },
        };
        let (smallest, largest) = match bits {
            8 => extremes::<4>(registers, |x| x.to_le_bytes().map(|x| u32::from(x & 0x7f))),
            16 => extremes::<2>(registers, |x| [x & 0x7fff, x >> 16 & 0x7fff]),
            _ => extremes::<1>(registers, |x| [x & 0x7fff_e000]),
        };
        let stored = if element == Element::Tf32 { 23 } else { fraction };
        // Subnormal numbers have steps as the smallest normal ones.
        let exponent = |magnitude: u32| (magnitude >> stored).max(1) as i32 - bias;
        let top = exponent(largest) + 1;
        Self { top, low: (exponent(smallest) - fraction).min(top) }
    }
}

/// The smallest magnitude but 0, and the largest.
#[inline(always)]
fn extremes<const W: usize>(registers: &[Lanes], magnitudes: impl Fn(u32) -> [u32; W]) -> (u32, u32) {
    // Less one, 0 becomes the largest.
    let (mut smallest, mut largest) = (u32::MAX >> 1, 0);
    for x in registers.iter().flatten() {
        for magnitude in magnitudes(*x) {
            smallest = smallest.min(magnitude.wrapping_sub(1) & u32::MAX >> 1);
            largest = largest.max(magnitude);
        }
    }
    (smallest + 1, largest)
}

impl Way {
    /// The cheapest exact way for `k` products of elements in these ranges.
    #[inline(always)]
    pub(super) fn choose(a: Range, b: Range, k: usize) -> Self {
        let carries = k.ilog2() as i32;
        let (top, low) = (a.top + b.top, a.low + b.low);
        if top + carries - low <= 53 {
            return Self::One;
        }
        // Upper parts are multiples of this, so that their sums have 53 bits.
        let grid = top + carries - 53;
        if grid - 1 + carries - low <= 53 {
            return Self::Two(1.5 * power_of_two(grid + 52));
        }
        Self::Wide
    }

    /// The sums of a panel, rounded to odd.
    #[inline(always)]
    pub(super) fn sums<const M: usize, const K: usize>(
        self,
        a: &[[f64; K]; M],
        b: &Panel<f64, K>,
        c: &Panel<f64, M>,
        out: &mut Panel<f64, M>,
    ) {
        match self {
            Self::One => (0..M).for_each(|m| out[m] = one(&a[m], b, &c[m])),
            Self::Two(splitter) => (0..M).for_each(|m| out[m] = two(&a[m], b, &c[m], splitter)),
            Self::Wide => (0..M).for_each(|m| out[m] = wide(&a[m], b, &c[m])),
        }
    }
}

#[inline(always)]
fn one<const K: usize>(a: &[f64; K], b: &Panel<f64, K>, c: &[f64; TILE]) -> [f64; TILE] {
    let sums = dot(a, b);
    let mut out = [0.0; TILE];
    for n in 0..TILE {
        let (sum, error) = two_sum(sums[n], c[n]);
        out[n] = to_odd(sum, error);
    }
    out
}

/// The products summed in f64, from -0, which changes no sum.
#[inline(always)]
pub(super) fn dot<const K: usize>(a: &[f64; K], b: &Panel<f64, K>) -> [f64; TILE] {
    let mut sums = [-0.0; TILE];
    for k in 0..K {
        for n in 0..TILE {
            sums[n] += a[k] * b[k][n];
        }
    }
    sums
}

#[inline(always)]
fn two<const K: usize>(a: &[f64; K], b: &Panel<f64, K>, c: &[f64; TILE], splitter: f64) -> [f64; TILE] {
    let (mut upper, mut lower) = ([-0.0; TILE], [-0.0; TILE]);
    for k in 0..K {
        for n in 0..TILE {
            let product = a[k] * b[k][n];
            let high = (product + splitter) - splitter;
            upper[n] += high;
            lower[n] += product - high;
        }
    }
    let mut out = [0.0; TILE];
    for n in 0..TILE {
        out[n] = three(upper[n], lower[n], c[n]);
    }
    out
}

/// `upper + lower + c` rounded to odd (Boldo and Melquiond 2008). `lower` is -0 where every product is.
#[inline(always)]
fn three(upper: f64, lower: f64, c: f64) -> f64 {
    let plain = upper + c;
    if !plain.is_finite() {
        return plain;
    }
    let (low, low_error) = two_sum(lower, c);
    let (high, high_error) = two_sum(upper, low);
    let (rest, rest_error) = two_sum(low_error, high_error);
    let (sum, error) = two_sum(high, to_odd(rest, rest_error));
    match (sum == 0.0, lower == 0.0 && c == 0.0) {
        (false, _) => to_odd(sum, error),
        (true, true) => lower + c,
        (true, false) => 0.0,
    }
}

#[inline(never)]
fn wide<const K: usize>(a: &[f64; K], b: &Panel<f64, K>, c: &[f64; TILE]) -> [f64; TILE] {
    let plain = dot(a, b);
    let mut out = [0.0; TILE];
    for n in 0..TILE {
        let sum = plain[n] + c[n];
        if !sum.is_finite() || sum == 0.0 && sum.is_sign_negative() {
            // -0 is the sum of nothing but -0.
            out[n] = sum;
            continue;
        }
        let mut exact = Wide::new();
        (0..K).for_each(|k| exact.add(a[k] * b[k][n]));
        exact.add(c[n]);
        out[n] = exact.rounded_to_odd();
    }
    out
}
