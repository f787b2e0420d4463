//! What is done to each token's row by itself: embedding and LayerNorm.
//!
//! Called by [`super::ops`]; compared with [`naive`](crate::backend::naive) in `tests/kernels.rs`.

use super::simd::{Element, Kernel, LANES, Simd};
use crate::weights;

/// `y[c] = row[c]`, widened.
pub struct Copy<'a, E> {
    /// `[C]`.
    pub y: &'a mut [f32],
    /// A row of a table, `[C]`.
    pub row: &'a [E],
}

impl<E: Element> Kernel for Copy<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (y, row) in self.y.chunks_mut(LANES).zip(self.row.chunks(LANES)) {
            s.store_part(load(s, row), y);
        }
    }
}

/// `y[c] += row[c]`, widened.
pub struct Add<'a, E> {
    /// `[C]`.
    pub y: &'a mut [f32],
    /// A row of a table, `[C]`.
    pub row: &'a [E],
}

impl<E: Element> Kernel for Add<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (y, row) in self.y.chunks_mut(LANES).zip(self.row.chunks(LANES)) {
            s.store_part(s.add(load(s, &*y), load(s, row)), y);
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
    pub norm: &'a weights::Norm,
    /// From the config.
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
        let bias = self.norm.bias.as_deref();
        let rows = self.y.chunks_mut(LANES).zip(self.x.chunks(LANES));
        for (c, ((y, x), weight)) in rows.zip(self.norm.weight.chunks(LANES)).enumerate() {
            let normal = s.mul(s.sub(load(s, x), mean), scale);
            let v = match bias {
                Some(bias) => {
                    let bias = &bias[c * LANES..];
                    s.fma(normal, load(s, weight), load(s, &bias[..bias.len().min(LANES)]))
                }
                None => s.mul(normal, load(s, weight)),
            };
            s.store_part(v, y);
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
