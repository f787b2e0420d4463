//! Sums as tensor cores make them: in blocks, aligned to the largest exponent, with the bits that stick out cut off.
//!
//! The model of Khattak and Mikaitis, "Accurate Models of NVIDIA Tensor Cores" (arXiv:2512.07004), which its authors compared with
//! A100, L40S and H100 bit by bit; for sm_75 the findings of Fasi et al., "Numerical behavior of NVIDIA tensor
//! cores" (2021). A block adds some products and the sum so far: the exponent of a product is the sum of its factors' exponents,
//! every summand keeps so many bits below the largest exponent, and the result is truncated to f32 or rounded to f16.
//! For fp8 into f16 nobody has published a comparison; there the model is ours.

use super::decode::Panel;
use super::exact::dots;
use super::layout::TILE;
use super::wide::power_of_two;
use super::{Accumulator, Element};
use crate::numeric::{Round, half, single};

/// The adder of a generation of tensor cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Adder {
    /// How many products of 16-bit elements it adds at once.
    block: usize,
    /// How many bits below those of an f32 it keeps while adding.
    extra_bits: i32,
}

impl Adder {
    /// sm_75.
    pub const TURING: Self = Self { block: 4, extra_bits: 1 };
    /// sm_80, sm_86, sm_87 and sm_89.
    pub const AMPERE: Self = Self { block: 8, extra_bits: 1 };
    /// sm_90 and later.
    pub const HOPPER: Self = Self { block: 16, extra_bits: 2 };

    /// The adder of a compute capability: 75 for 7.5.
    pub const fn of(capability: u32) -> Self {
        match capability {
            0..80 => Self::TURING,
            80..90 => Self::AMPERE,
            _ => Self::HOPPER,
        }
    }
}

/// The sums of a product of these types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truncating {
    block: usize,
    /// Bits that summands keep below the largest exponent.
    kept: i32,
    /// The largest exponent is taken as at least this.
    least: i32,
    /// Exponents of the normal elements of A and B begin here.
    normal: (i32, i32),
    sum: Accumulator,
}

impl Truncating {
    #[inline(always)]
    pub(super) fn new(adder: Adder, a: Element, b: Element, sum: Accumulator) -> Self {
        let (block, extra) = match a {
            Element::Tf32 => (adder.block / 2, adder.extra_bits),
            Element::E4m3 | Element::E5m2 => (adder.block * 2, -10),
            _ => (adder.block, adder.extra_bits),
        };
        let least = if sum == Accumulator::F16 { -19 } else { -131 } - extra;
        Self { block, kept: 23 + extra, least, normal: (smallest_normal(a), smallest_normal(b)), sum }
    }

    /// The sums of a panel; they are of the type of the sum.
    #[inline(always)]
    pub(super) fn sums<const M: usize, const K: usize>(
        &self,
        a: &[[f64; K]; M],
        b: &Panel<f64, K>,
        c: &Panel<f64, M>,
        out: &mut Panel<f64, M>,
    ) {
        let mut plain = [[0.0; TILE]; M];
        dots(a, b, &mut plain);
        for m in 0..M {
            out[m] = self.row(&a[m], b, &c[m], &plain[m]);
        }
    }

    #[inline(always)]
    fn row<const K: usize>(
        &self,
        a: &[f64; K],
        b: &Panel<f64, K>,
        c: &[f64; TILE],
        plain: &[f64; TILE],
    ) -> [f64; TILE] {
        let mut sums = *c;
        for start in (0..K).step_by(self.block) {
            let end = (start + self.block).min(K);
            sums = self.block(&a[start..end], &b[start..end], &sums);
        }
        for n in 0..TILE {
            let ieee = plain[n] + c[n];
            if !ieee.is_finite() {
                sums[n] = ieee;
            }
        }
        sums
    }

    #[inline(always)]
    fn block(&self, a: &[f64], b: &[[f64; TILE]], c: &[f64; TILE]) -> [f64; TILE] {
        let mut largest = c.map(|c| if c == 0.0 { i32::MIN } else { exponent(c, -126) });
        for (a, b) in a.iter().zip(b) {
            let left = exponent(*a, self.normal.0);
            for n in 0..TILE {
                let product = left + exponent(b[n], self.normal.1);
                let present = *a != 0.0 && b[n] != 0.0;
                largest[n] = largest[n].max(if present { product } else { i32::MIN });
            }
        }
        let largest = largest.map(|e| e.max(self.least));
        // Finite summands are below 2^28 in these units; converting to an integer truncates.
        let units = largest.map(|e| power_of_two(self.kept - e));
        let mut sums = [0.0; TILE];
        for n in 0..TILE {
            sums[n] = f64::from((c[n] * units[n]) as i32);
        }
        for (a, b) in a.iter().zip(b) {
            for n in 0..TILE {
                sums[n] += f64::from((a * b[n] * units[n]) as i32);
            }
        }
        for n in 0..TILE {
            let sum = self.round(sums[n] / units[n]);
            sums[n] = if c[n].is_finite() { sum } else { c[n] };
        }
        sums
    }

    /// The result of a block.
    #[inline(always)]
    fn round(&self, sum: f64) -> f64 {
        if self.sum == Accumulator::F16 {
            return f64::from(half::to_f32(half::from_f64(sum, Round::Rn)));
        }
        let dropped = (52 - self.kept.min(23)) as u32;
        let cut = f64::from_bits(sum.to_bits() >> dropped << dropped);
        let beyond = cut.abs() >= power_of_two(128);
        if beyond { f64::INFINITY.copysign(cut) } else { f64::from(single::narrow(cut, Round::Rz)) }
    }
}

/// The exponent of the leading bit, but no less than that of the smallest normal number.
#[inline(always)]
fn exponent(x: f64, normal: i32) -> i32 {
    ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(normal)
}

const fn smallest_normal(element: Element) -> i32 {
    match element {
        Element::E4m3 => -6,
        Element::F16 | Element::E5m2 => -14,
        _ => -126,
    }
}
