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

use super::decode::{Panel, Real};
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
            8 => extremes(registers, |x| x.to_le_bytes().map(|x| i32::from(x & 0x7f))),
            16 => extremes(registers, |x| [x & 0x7fff, x >> 16 & 0x7fff].map(|x| x as i32)),
            _ => extremes(registers, |x| [(x & 0x7fff_e000) as i32]),
        };
        let stored = if element == Element::Tf32 { 23 } else { fraction };
        // Subnormal numbers have steps as the smallest normal ones.
        let exponent = |magnitude: i32| (magnitude >> stored).max(1) - bias;
        let top = exponent(largest) + 1;
        Self { top, low: (exponent(smallest) - fraction).min(top) }
    }
}

/// The smallest magnitude but 0, and the largest.
#[inline(always)]
fn extremes<const W: usize>(registers: &[Lanes], magnitudes: impl Fn(u32) -> [i32; W]) -> (i32, i32) {
    // Less one, 0 becomes the largest. One pair for each lane, so that lanes do not wait for each other.
    let (mut smallest, mut largest) = ([i32::MAX; 32], [0; 32]);
    for register in registers {
        for lane in 0..32 {
            for magnitude in magnitudes(register[lane]) {
                smallest[lane] = smallest[lane].min((magnitude - 1) & i32::MAX);
                largest[lane] = largest[lane].max(magnitude);
            }
        }
    }
    let smallest = smallest.into_iter().fold(i32::MAX - 1, i32::min);
    (smallest + 1, largest.into_iter().fold(0, i32::max))
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
            Self::One => {
                dots(a, b, out);
                for (sum, c) in out.as_flattened_mut().iter_mut().zip(c.as_flattened()) {
                    let (rounded, error) = two_sum(*sum, *c);
                    *sum = to_odd(rounded, error);
                }
            }
            Self::Two(splitter) => (0..M).for_each(|m| out[m] = two(&a[m], b, &c[m], splitter)),
            Self::Wide => (0..M).for_each(|m| out[m] = wide(&a[m], b, &c[m])),
        }
    }
}

/// Rows whose sums are computed side by side, so that no addition waits for the one before it.
const ABREAST: usize = 4;

/// The products summed from -0, which changes no sum.
#[inline(always)]
pub(super) fn dots<T: Real, const M: usize, const K: usize>(
    a: &[[T; K]; M],
    b: &Panel<T, K>,
    out: &mut Panel<T, M>,
) {
    for (rows, out) in a.as_chunks::<ABREAST>().0.iter().zip(out.as_chunks_mut::<ABREAST>().0) {
        let mut sums = [[-T::default(); TILE]; ABREAST];
        for k in 0..K {
            for r in 0..ABREAST {
                for n in 0..TILE {
                    sums[r][n] = sums[r][n] + rows[r][k] * b[k][n];
                }
            }
        }
        *out = sums;
    }
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
    let (low, low_error) = two_sum(lower, c);
    let (high, high_error) = two_sum(upper, low);
    let (rest, rest_error) = two_sum(low_error, high_error);
    let (sum, error) = two_sum(high, to_odd(rest, rest_error));
    let zero = if lower == 0.0 && c == 0.0 { lower + c } else { 0.0 };
    let finite = if sum == 0.0 { zero } else { to_odd(sum, error) };
    if plain.is_finite() { finite } else { plain }
}

#[inline(never)]
fn wide<const K: usize>(a: &[f64; K], b: &Panel<f64, K>, c: &[f64; TILE]) -> [f64; TILE] {
    std::array::from_fn(|n| {
        let plain = (0..K).fold(-0.0, |sum, k| sum + a[k] * b[k][n]) + c[n];
        if !plain.is_finite() || plain == 0.0 && plain.is_sign_negative() {
            // -0 is the sum of nothing but -0.
            return plain;
        }
        let mut exact = Wide::new();
        (0..K).for_each(|k| exact.add(a[k] * b[k][n]));
        exact.add(c[n]);
        exact.rounded_to_odd()
    })
}

#[cfg(test)]
mod tests {
    use super::three;

    /// An integer rounded to odd at 53 bits.
    fn odd(x: i128) -> f64 {
        let drop = (128 - x.unsigned_abs().leading_zeros()).saturating_sub(53);
        let kept = x.unsigned_abs() >> drop;
        let inexact = kept << drop != x.unsigned_abs();
        let magnitude = (kept | u128::from(inexact)) as f64 * 2f64.powi(drop as i32);
        if x < 0 { -magnitude } else { magnitude }
    }

    /// Numbers of few bits near the places where the steps of the sum round.
    #[test]
    fn three_numbers_are_added_with_one_rounding_to_odd() {
        let mut state = 1u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..2_000_000 {
            let mut number = |width: u64, highest: u64| {
                let bit = |random: &mut dyn FnMut(u64) -> u64| 1i128 << random(width);
                let (a, b, c) = (bit(&mut random), bit(&mut random), random(3) as i128 - 1);
                let x = (a + if random(2) == 0 { b } else { -b }) + c;
                let kept = if x.unsigned_abs() < 1 << 53 { x } else { 1 };
                (if random(2) == 0 { kept } else { -kept }) << random(highest)
            };
            let (upper, lower, c) = (number(53, 60), number(53, 30), number(24, 70));
            let want = odd(upper + lower + c);
            let found = three(upper as f64, lower as f64, c as f64);
            assert_eq!(found, want, "{upper} + {lower} + {c}");
        }
    }
}
