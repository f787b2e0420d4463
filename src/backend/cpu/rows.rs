//! What is done to each token's row by itself: embedding, LayerNorm, and the logits.
//!
//! Called by [`super::ops`]; compared with [`super::naive`] in `tests/kernels.rs`.

use super::{
    linear::MAX_STREAMED,
    simd::{Block, Element, Kernel, LANES, Simd},
    tile::Stripe,
};
use crate::weights;

/// `y[c] = wte[token, c] + wpe[position, c]`.
pub struct Embed<'a, A, B> {
    /// `[C]`.
    pub y: &'a mut [f32],
    /// The token's row of `wte`, `[C]`.
    pub token: &'a [A],
    /// The position's row of `wpe`, `[C]`.
    pub position: &'a [B],
}

impl<A: Element, B: Element> Kernel for Embed<'_, A, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.token.chunks(LANES).zip(self.position.chunks(LANES));
        for (y, (token, position)) in self.y.chunks_mut(LANES).zip(rows) {
            s.store_part(s.add(load(s, token), load(s, position)), y);
        }
    }
}

/// `y = (x - mean) / √(variance + eps) · weight + bias`, for one row.
///
/// Two passes for the statistics: E[x²] - mean² would cancel where the mean is large. Lane `i` sums the columns `i`,
/// `i` + 16, ..., then the lanes are summed.
pub struct LayerNorm<'a> {
    /// `[C]`.
    pub y: &'a mut [f32],
    /// `[C]`.
    pub x: &'a [f32],
    /// `[C]` each.
    pub norm: &'a weights::LayerNorm,
    /// From config.json.
    pub eps: f32,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.x.len() as f32;
        let mut sum = s.splat(0.0);
        for x in self.x.chunks(LANES) {
            sum = s.add(sum, load(s, x));
        }
        let mean = s.splat(s.sum(sum) / width);
        let mut squares = s.splat(0.0);
        for x in self.x.chunks(LANES) {
            let d = s.first(s.sub(load(s, x), mean), x.len(), s.splat(0.0));
            squares = s.fma(d, d, squares);
        }
        let scale = s.splat(1.0 / (s.sum(squares) / width + self.eps).sqrt());
        let params = self.norm.weight.chunks(LANES).zip(self.norm.bias.chunks(LANES));
        for ((y, x), (weight, bias)) in self.y.chunks_mut(LANES).zip(self.x.chunks(LANES)).zip(params) {
            let normal = s.mul(s.sub(load(s, x), mean), scale);
            s.store_part(s.fma(normal, load(s, weight), load(s, bias)), y);
        }
    }
}

/// `y[r, v] = Σ_c x[r, c] w[v, c]`: lane `i` sums the columns `i`, `i` + 16, ..., then the lanes are summed.
///
/// Few rows take one row of weights at a time, in the order in which memory is read fastest; many take four, for fewer
/// loads.
pub struct Logits<'a, 'y, E> {
    /// Some columns of the logits, `[R, vs]`.
    pub y: Stripe<'y>,
    /// `[R, C]`.
    pub x: &'a [f32],
    /// The whole matrix, `[V, C]`.
    pub w: &'a [E],
    /// C.
    pub width: usize,
}

impl<E: Element> Kernel for Logits<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n_rows = self.y.n_rows();
        let cols = self.y.cols();
        let mut v = 0;
        while v < cols.len() {
            let n = if n_rows > MAX_STREAMED && v + 4 <= cols.len() { 4 } else { 1 };
            let mut r = 0;
            while r < n_rows {
                r += match (S::TILE.0, n_rows - r, n) {
                    (12, 4.., 4) => self.tile::<S, 4, 4>(s, r, v),
                    (_, 2.., 4) => self.tile::<S, 2, 4>(s, r, v),
                    (_, _, 4) => self.tile::<S, 1, 4>(s, r, v),
                    (_, 4.., _) => self.tile::<S, 4, 1>(s, r, v),
                    _ => self.tile::<S, 1, 1>(s, r, v),
                };
            }
            v += n;
        }
    }
}

impl<E: Element> Logits<'_, '_, E> {
    /// `R` rows of activations against `N` of weights; returns `R`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const N: usize>(&mut self, s: S, r: usize, v: usize) -> usize {
        let (width, n_vectors) = (self.width, self.width / LANES);
        let first = self.y.cols().start + v;
        let x = Block::new(self.x, width, r..r + R, 0, n_vectors);
        let w = Block::new(self.w, width, first..first + N, 0, n_vectors);
        let mut sums = [[s.splat(0.0); N]; R];
        for c in 0..n_vectors {
            let mut column = [s.splat(0.0); N];
            for j in 0..N {
                // SAFETY: `w` has N rows of `n_vectors` vectors.
                column[j] = E::load(s, unsafe { w.at(j, c) });
            }
            for i in 0..R {
                // SAFETY: `x` has R rows of `n_vectors` vectors.
                let x = s.load(unsafe { x.at(i, c) });
                for j in 0..N {
                    sums[i][j] = s.fma(x, column[j], sums[i][j]);
                }
            }
        }
        for i in 0..R {
            let x = &self.x[(r + i) * width..][n_vectors * LANES..width];
            for j in 0..N {
                let w = &self.w[(first + j) * width..][n_vectors * LANES..width];
                if !w.is_empty() {
                    sums[i][j] = s.fma(s.load_part(x), s.load_part(w), sums[i][j]);
                }
                self.y.row_mut(r + i)[v + j] = s.sum(sums[i][j]);
            }
        }
        R
    }
}

/// A vector, or what is left of the row.
#[inline(always)]
fn load<S: Simd, E: Element>(s: S, from: &[E]) -> S::V {
    match from.first_chunk() {
        Some(from) => E::load(s, from),
        None => s.load_part(from),
    }
}
