//! `y[r, v] = Σ_c x[r, c] w[v, c]`: lane `i` sums the columns `i`, `i` + 16, ..., then the lanes are summed.
//!
//! One row takes one row of weights at a time, in the order in which memory is read fastest. Several rows take a tile
//! of [`Simd::DOTS`], for fewer loads; a tile's rows of weights are far apart, so that each is the next piece of a long
//! run of memory. Called by [`super::ops`]; compared with [`naive`](crate::backend::naive) in `tests/kernels.rs`.

use super::{
    simd::{Block, Element, Kernel, LANES, Simd},
    tile::Stripe,
};

/// Copies `x`, `[R, C]`, to rows of whole vectors with zeros at their ends.
pub fn pack<'a>(packed: &'a mut [f32], x: &[f32], width: usize) -> &'a [f32] {
    for (to, x) in packed.chunks_mut(width.next_multiple_of(LANES)).zip(x.chunks(width)) {
        let (to, rest) = to.split_at_mut(width);
        to.copy_from_slice(x);
        rest.fill(0.0);
    }
    packed
}

/// Some columns of the logits.
pub struct Logits<'a, 'y, E> {
    /// `[R, vs]`.
    pub y: Stripe<'y>,
    /// From [`pack`].
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
        let (n_rows, n_cols) = (self.y.n_rows(), self.y.cols().len());
        let n_groups = n_rows.div_ceil(S::DOTS.0);
        // Whole tiles first, then what is left over.
        let n_tiles = if n_rows > 1 { n_cols / S::DOTS.1 } else { 0 };
        for v in (0..n_tiles).chain(n_tiles * S::DOTS.1..n_cols) {
            let n = if v < n_tiles { S::DOTS.1 } else { 1 };
            for i in 0..n_groups {
                let (r, end) = (i * n_rows / n_groups, (i + 1) * n_rows / n_groups);
                match (end - r, n) {
                    (8, 3) => self.tile::<S, 8, 3>(s, r, v, n_tiles),
                    (7, 3) => self.tile::<S, 7, 3>(s, r, v, n_tiles),
                    (6, 3) => self.tile::<S, 6, 3>(s, r, v, n_tiles),
                    (5, 3) => self.tile::<S, 5, 3>(s, r, v, n_tiles),
                    (4, 3) => self.tile::<S, 4, 3>(s, r, v, n_tiles),
                    (3, 3) => self.tile::<S, 3, 3>(s, r, v, n_tiles),
                    (2, 3) => self.tile::<S, 2, 3>(s, r, v, n_tiles),
                    (1, 3) => self.tile::<S, 1, 3>(s, r, v, n_tiles),
                    (2, 2) => self.tile::<S, 2, 2>(s, r, v, n_tiles),
                    (1, 2) => self.tile::<S, 1, 2>(s, r, v, n_tiles),
                    _ => (r..end).for_each(|r| self.tile::<S, 1, 1>(s, r, v, n_tiles)),
                }
            }
        }
    }
}

impl<E: Element> Logits<'_, '_, E> {
    /// `R` rows of activations, from `r` on, against `N` of weights, `apart` from each other, from the stripe's `v` on.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const N: usize>(&mut self, s: S, r: usize, v: usize, apart: usize) {
        /// Elements from those that are read to those that are asked for meanwhile.
        const AHEAD: usize = 512;
        let (width, n_vectors) = (self.width, self.width / LANES);
        let first = self.y.cols().start + v;
        let x_width = width.next_multiple_of(LANES);
        let x = Block::new(self.x, x_width, r..r + R, 0, x_width / LANES);
        let mut w = [&self.w[..0]; N];
        for j in 0..N {
            w[j] = &self.w[(first + j * apart) * width..][..width];
        }
        let mut sums = [[s.splat(0.0); N]; R];
        for c in 0..n_vectors {
            let mut column = [s.splat(0.0); N];
            for j in 0..N {
                let at = (first + j * apart) * width + c * LANES + AHEAD;
                if N > 1
                    && c % 2 == 0
                    && let Some(at) = self.w.get(at)
                {
                    s.prefetch(at);
                }
                column[j] = E::load(s, &w[j].as_chunks().0[c]);
            }
            for i in 0..R {
                // SAFETY: `x` has R rows of `n_vectors` vectors or one more.
                let x = s.load(unsafe { x.at(i, c) });
                for j in 0..N {
                    sums[i][j] = s.fma(x, column[j], sums[i][j]);
                }
            }
        }
        for i in 0..R {
            for j in 0..N {
                let w = &w[j][n_vectors * LANES..];
                if !w.is_empty() {
                    // SAFETY: here `x` has one vector more than `w`.
                    let x = s.load(unsafe { x.at(i, n_vectors) });
                    sums[i][j] = s.fma(x, s.load_part(w), sums[i][j]);
                }
                self.y.row_mut(r + i)[v + j * apart] = s.sum(sums[i][j]);
            }
        }
    }
}
