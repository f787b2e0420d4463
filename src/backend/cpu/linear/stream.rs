//! One token: the weights flow from memory through registers once, and the sums wait in the cache.

use super::{
    super::{
        simd::{Block, Element, Kernel, LANES, Simd},
        tile::Stripe,
    },
    Operands, finish,
};
use std::ops::Range;

/// The first way, first half: the sums over one block.
pub struct Part<'a, 'y, E> {
    /// What is multiplied, for one token.
    pub of: Operands<'a, E>,
    /// Which block.
    pub block: usize,
    /// `[1, out rounded up to LANES]`.
    pub sums: Stripe<'y>,
}

impl<E: Element> Kernel for Part<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = self.of.block(self.block);
        let sums = self.sums.row_mut(0).as_chunks_mut::<LANES>().0;
        sums.fill([0.0; LANES]);
        row_by_row(s, &self.of, rows, sums, 0);
    }
}

/// The first way, second half: `y` is some columns of the output.
pub struct Join<'a, 'y, E> {
    /// What was multiplied.
    pub of: Operands<'a, E>,
    /// What [`Part`] made of each block, `[blocks, out rounded up to LANES]`.
    pub parts: &'a [f32],
    /// `[1, cols]`.
    pub y: Stripe<'y>,
}

impl<E: Element> Kernel for Join<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let cols = self.y.cols();
        let parts = self.parts.as_chunks::<LANES>().0;
        for (c, y) in self.y.row_mut(0).chunks_mut(LANES).enumerate() {
            let first = cols.start / LANES + c;
            let mut total = s.splat(0.0);
            for part in parts.chunks(self.of.n_out.div_ceil(LANES)) {
                total = s.add(total, s.load(&part[first]));
            }
            finish(s, &self.of, total, cols.start + c * LANES, y);
        }
    }
}

/// The second way: `y` is some columns of the output.
pub struct Stream<'a, 'y, E> {
    /// What is multiplied, for one token.
    pub of: Operands<'a, E>,
    /// `[1, cols]`.
    pub y: Stripe<'y>,
    /// Room for `cols` rounded up to [`LANES`], twice.
    pub sums: &'a mut [f32],
}

impl<E: Element> Kernel for Stream<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let cols = self.y.cols();
        let n_vectors = cols.len().div_ceil(LANES);
        let (sums, totals) = self.sums.as_chunks_mut::<LANES>().0[..2 * n_vectors].split_at_mut(n_vectors);
        totals.fill([0.0; LANES]);
        for block in 0..self.of.n_blocks() {
            sums.fill([0.0; LANES]);
            stripe(s, &self.of, self.of.block(block), sums, cols.start);
            for (total, sum) in totals.iter_mut().zip(&*sums) {
                s.store(s.add(s.load(total), s.load(sum)), total);
            }
        }
        for (c, (total, y)) in totals.iter().zip(self.y.row_mut(0).chunks_mut(LANES)).enumerate() {
            finish(s, &self.of, s.load(total), cols.start + c * LANES, y);
        }
    }
}

/// Adds the products of `rows` to the `sums` of columns from `first_col` on.
///
/// Sixteen rows at a time because a stripe's rows are short runs of memory, which are read fastest many at once; a whole
/// block is read fastest in order, as [`Part`] does.
#[inline(always)]
fn stripe<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    first_col: usize,
) {
    const DEPTH: usize = 16;
    let n_vectors = sums.len().min((of.n_out - first_col) / LANES);
    let last = rows.end - rows.len() % DEPTH;
    for i in (rows.start..last).step_by(DEPTH) {
        let w = Block::new(of.w, of.n_out, i..i + DEPTH, first_col, n_vectors);
        let x = &of.x[i..i + DEPTH];
        for (c, sum) in sums[..n_vectors].iter_mut().enumerate() {
            let mut v = s.load(sum);
            for r in 0..DEPTH {
                // SAFETY: the block has DEPTH rows of `n_vectors` vectors.
                v = s.fma(s.splat(x[r]), E::load(s, unsafe { w.at(r, c) }), v);
            }
            s.store(v, sum);
        }
    }
    let (whole, part) = sums.split_at_mut(n_vectors);
    row_by_row(s, of, last..rows.end, whole, first_col);
    row_by_row(s, of, rows, part, first_col + n_vectors * LANES);
}

/// Adds the products of `rows` to the `sums` of columns from `first_col` on, one row after the other.
#[inline(always)]
fn row_by_row<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    first_col: usize,
) {
    for i in rows {
        let x = s.splat(of.x[i]);
        let (w, rest) = of.w[i * of.n_out..][first_col..of.n_out].as_chunks();
        for (sum, w) in sums.iter_mut().zip(w) {
            s.store(s.fma(x, E::load(s, w), s.load(sum)), sum);
        }
        if let Some(sum) = sums.get_mut(w.len()) {
            s.store(s.fma(x, s.load_part(rest), s.load(sum)), sum);
        }
    }
}
