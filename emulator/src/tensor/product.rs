//! One `mma.sync` or `wmma.mma`: which there are, how many registers they take, and what they give.

use super::decode::{self, Panel};
use super::exact::{Range, Way};
use super::layout::{Fragment, Sheet, TILE};
use super::truncating::Truncating;
use super::{Accumulator, Element, Lanes, Sums};
use crate::numeric::{bf16, half, single};

/// Rows of A, columns of B, and what they share: `(m, n, k)`.
pub type Shape = (usize, usize, usize);

/// `d = a * b + c` of matrices that a warp holds: A of `[m, k]`, B of `[k, n]`, C and D of `[m, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    m: usize,
    n: usize,
    k: usize,
    a: Element,
    b: Element,
    sum: Accumulator,
    saturate: bool,
}

impl Product {
    /// `mma.sync` of this shape `(m, n, k)` and these types, C and D having the same; `saturate` is `.satfinite`. None where
    /// PTX has no such instruction, or it is not implemented.
    pub fn mma(shape: Shape, a: Element, b: Element, sum: Accumulator, saturate: bool) -> Option<Self> {
        use Element::{Bf16, E4m3, E5m2, F16, S4, S8, Tf32, U4, U8};
        let known = match (a, b, sum) {
            (F16, F16, Accumulator::F16 | Accumulator::F32) => matches!(shape, (16, 8, 8 | 16)),
            (Bf16, Bf16, Accumulator::F32) => matches!(shape, (16, 8, 8 | 16)),
            (Tf32, Tf32, Accumulator::F32) => matches!(shape, (16, 8, 4 | 8)),
            (E4m3 | E5m2, E4m3 | E5m2, Accumulator::F16 | Accumulator::F32) => {
                matches!(shape, (16, 8, 16 | 32))
            }
            (S8 | U8, S8 | U8, Accumulator::S32) => matches!(shape, (8, 8, 16) | (16, 8, 16 | 32)),
            (S4 | U4, S4 | U4, Accumulator::S32) => matches!(shape, (8, 8, 32) | (16, 8, 32 | 64)),
            _ => false,
        };
        Self::checked(known, shape, a, b, sum, saturate)
    }

    /// `wmma.mma` of this shape and these types, as for [`Product::mma`].
    pub fn wmma(shape: Shape, a: Element, b: Element, sum: Accumulator, saturate: bool) -> Option<Self> {
        use Element::{Bf16, F16, S8, Tf32, U8};
        let known = match (a, b, sum) {
            (F16, F16, Accumulator::F16 | Accumulator::F32)
            | (Bf16, Bf16, Accumulator::F32)
            | (S8, S8, Accumulator::S32)
            | (U8, U8, Accumulator::S32) => matches!(shape, (16, 16, 16) | (32, 8, 16) | (8, 32, 16)),
            (Tf32, Tf32, Accumulator::F32) => shape == (16, 16, 8),
            _ => false,
        };
        Self::checked(known, shape, a, b, sum, saturate)
    }

    fn checked(
        known: bool,
        (m, n, k): Shape,
        a: Element,
        b: Element,
        sum: Accumulator,
        saturate: bool,
    ) -> Option<Self> {
        (known && (!saturate || a.is_integer())).then_some(Self { m, n, k, a, b, sum, saturate })
    }

    /// How A sits in its registers.
    pub const fn a(&self) -> Fragment {
        Fragment::of(self.m, self.k, self.a)
    }

    /// How the transpose of B sits in its registers.
    pub const fn b(&self) -> Fragment {
        Fragment::of(self.n, self.k, self.b)
    }

    /// How C and D sit in their registers.
    pub const fn sums(&self) -> Sheet {
        Sheet::of(self.m, self.n, self.sum)
    }

    /// Computes D. Each slice has as many registers as [`Product::a`], [`Product::b`] and [`Product::sums`] say.
    pub fn run(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums) {
        self.run_inlined(a, b, c, d, sums);
    }

    /// As [`Product::run`], compiled into its caller for the caller's instruction set.
    #[inline(always)]
    pub(crate) fn run_inlined(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums) {
        let found = (a.len(), b.len(), c.len(), d.len());
        let sheet = self.sums().registers();
        assert_eq!(
            found,
            (self.a().registers(), self.b().registers(), sheet, sheet),
            "registers of A, B, C, D"
        );
        match (self.m, self.k, self.a.is_integer()) {
            (16, 4, false) => self.floats::<16, 4>(a, b, c, d, sums),
            (16, 8, false) => self.floats::<16, 8>(a, b, c, d, sums),
            (16, 16, false) => self.floats::<16, 16>(a, b, c, d, sums),
            (16, 32, false) => self.floats::<16, 32>(a, b, c, d, sums),
            (8, 16, false) => self.floats::<8, 16>(a, b, c, d, sums),
            (32, 16, false) => self.floats::<32, 16>(a, b, c, d, sums),
            (16, 16, true) => self.integers::<16, 16>(a, b, c, d),
            (16, 32, true) => self.integers::<16, 32>(a, b, c, d),
            (16, 64, true) => self.integers::<16, 64>(a, b, c, d),
            (8, 16, true) => self.integers::<8, 16>(a, b, c, d),
            (8, 32, true) => self.integers::<8, 32>(a, b, c, d),
            (32, 16, true) => self.integers::<32, 16>(a, b, c, d),
            (m, k, integer) => unreachable!("no product of m {m}, k {k}, integers: {integer}"),
        }
    }

    #[inline(always)]
    fn floats<const M: usize, const K: usize>(
        &self,
        a: &[Lanes],
        b: &[Lanes],
        c: &[Lanes],
        d: &mut [Lanes],
        sums: Sums,
    ) {
        let way = Way::choose(Range::of(self.a, a), Range::of(self.b, b), K);
        let rows = decode::rows::<f64, M, K>(self.a, a);
        for panel in 0..self.n / TILE {
            let columns = decode::columns::<f64, K>(self.b, b, self.n, panel);
            let before: Panel<f64, M> = match self.sum {
                Accumulator::F16 => decode::half_words(c, panel),
                _ => decode::words(c, panel, |x| f64::from(f32::from_bits(x))),
            };
            let mut after = [[0.0; TILE]; M];
            match sums {
                Sums::Exact => {
                    for m in 0..M {
                        after[m] = way.sums(&rows[m], &columns, &before[m]);
                    }
                }
                Sums::Truncating(adder) => {
                    let truncating = Truncating::new(adder, self.a, self.b, self.sum);
                    for m in 0..M {
                        after[m] = truncating.sums(&rows[m], &columns, &before[m]);
                    }
                }
            }
            match self.sum {
                Accumulator::F16 => {
                    decode::put_half_words(d, panel, &after, |x| half::from_f32(bf16::narrow_to_odd(x)));
                }
                _ => decode::put_words(d, panel, &after, |x| single::canonical(x as f32).to_bits()),
            }
        }
    }

    /// In f32: the products have 16 bits, their sums at most 21.
    #[inline(always)]
    fn integers<const M: usize, const K: usize>(
        &self,
        a: &[Lanes],
        b: &[Lanes],
        c: &[Lanes],
        d: &mut [Lanes],
    ) {
        let rows = decode::rows::<f32, M, K>(self.a, a);
        for panel in 0..self.n / TILE {
            let columns = decode::columns::<f32, K>(self.b, b, self.n, panel);
            let mut sums = decode::words::<i32, M>(c, panel, |x| x as i32);
            for (row, sums) in rows.iter().zip(&mut sums) {
                let mut products = [0.0; TILE];
                for k in 0..K {
                    for n in 0..TILE {
                        products[n] += row[k] * columns[k][n];
                    }
                }
                for n in 0..TILE {
                    let product = products[n] as i32;
                    let (wrapped, clamped) = (sums[n].wrapping_add(product), sums[n].saturating_add(product));
                    sums[n] = if self.saturate { clamped } else { wrapped };
                }
            }
            decode::put_words(d, panel, &sums, |x| x as u32);
        }
    }
}
