//! What is done to each token's row by itself: embedding and LayerNorm.
//!
//! Called by [`super::ops`]; compared with [`super::naive`] in `tests/kernels.rs`.

use super::simd::{Element, Kernel, LANES, Simd};
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

/// A vector, or what is left of the row.
#[inline(always)]
fn load<S: Simd, E: Element>(s: S, from: &[E]) -> S::V {
    match from.first_chunk() {
        Some(from) => E::load(s, from),
        None => s.load_part(from),
    }
}
