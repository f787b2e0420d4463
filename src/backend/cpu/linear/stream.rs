//! Few tokens: the weights flow from memory through registers once.

use super::{
    super::{
        simd::{Block, Element, Kernel, LANES, Simd},
        tile::Stripe,
    },
    Operands, finish,
};
use std::ops::Range;

/// Most tokens that [`Stream`] takes at once.
pub const MAX_STREAMED: usize = 12;

/// The first way, first half: one token's sums over one block.
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
        let (rows, n_out) = (self.of.block(self.block), self.of.n_out);
        let sums = self.sums.row_mut(0).as_chunks_mut::<LANES>().0;
        sums.fill([0.0; LANES]);
        let (whole, part) = sums.split_at_mut(n_out / LANES);
        row_by_row(s, &self.of, rows.clone(), whole, 1, 0);
        if !part.is_empty() {
            stream_part(s, &self.of, rows, part, n_out - n_out % LANES..n_out);
        }
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

/// The second way: `y` is some columns of the output, for at most [`MAX_STREAMED`] tokens.
pub struct Stream<'a, 'y, E> {
    /// What is multiplied.
    pub of: Operands<'a, E>,
    /// `[T, cols]`.
    pub y: Stripe<'y>,
    /// Room for `cols` rounded up to [`LANES`], times T, twice.
    pub sums: &'a mut [f32],
}

impl<E: Element> Kernel for Stream<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (n_tokens, cols) = (self.y.n_rows(), self.y.cols());
        let n_vectors = n_tokens * cols.len().div_ceil(LANES);
        let (sums, totals) = self.sums.as_chunks_mut::<LANES>().0[..2 * n_vectors].split_at_mut(n_vectors);
        totals.fill([0.0; LANES]);
        for block in 0..self.of.n_blocks() {
            stream(s, &self.of, self.of.block(block), cols.clone(), sums, n_tokens);
            for (total, sum) in totals.iter_mut().zip(&*sums) {
                s.store(s.add(s.load(total), s.load(sum)), total);
            }
        }
        for (c, totals) in totals.chunks(n_tokens).enumerate() {
            for (t, total) in totals.iter().enumerate() {
                finish(
                    s,
                    &self.of,
                    s.load(total),
                    cols.start + c * LANES,
                    &mut self.y.row_mut(t)[c * LANES..],
                );
            }
        }
    }
}

/// Sums over the inputs `rows`, which are one block: `sums` is `[cols / LANES, T]` vectors.
#[inline(always)]
fn stream<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    cols: Range<usize>,
    sums: &mut [[f32; LANES]],
    n_tokens: usize,
) {
    sums.fill([0.0; LANES]);
    let (whole, part) = sums.split_at_mut(n_tokens * (cols.len() / LANES));
    if n_tokens == 1 {
        stream_one(s, of, rows.clone(), whole, cols.start);
    } else if S::DEPTH == 16 {
        stream_some::<S, E, 16>(s, of, rows.clone(), whole, n_tokens, cols.start);
    } else {
        stream_some::<S, E, 4>(s, of, rows.clone(), whole, n_tokens, cols.start);
    }
    if !part.is_empty() {
        stream_part(s, of, rows, part, cols.end - cols.len() % LANES..cols.end);
    }
}

/// Sums for one token and a stripe of columns: `sums` is `[cols / LANES]` vectors.
///
/// Sixteen rows at a time because a stripe's rows are short runs of memory, which are read fastest many at once; a whole
/// block is read fastest in order, as [`Part`] does.
#[inline(always)]
fn stream_one<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    first_col: usize,
) {
    const DEPTH: usize = 16;
    let (x, rest) = of.x[rows.clone()].as_chunks::<DEPTH>();
    for (i, x) in (rows.start..).step_by(DEPTH).zip(x) {
        let w = Block::new(of.w, of.n_out, i..i + DEPTH, first_col, sums.len());
        for (c, sum) in sums.iter_mut().enumerate() {
            let mut v = s.load(sum);
            for r in 0..DEPTH {
                // SAFETY: the block has DEPTH rows of `sums.len()` vectors.
                v = s.fma(s.splat(x[r]), E::load(s, unsafe { w.at(r, c) }), v);
            }
            s.store(v, sum);
        }
    }
    row_by_row(s, of, rows.end - rest.len()..rows.end, sums, 1, first_col);
}

/// Sums for some tokens: `sums` is `[cols / LANES, T]` vectors. `R` rows of weights wait in registers for all tokens.
#[inline(always)]
fn stream_some<S: Simd, E: Element, const R: usize>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    n_tokens: usize,
    first_col: usize,
) {
    let n_vectors = sums.len() / n_tokens;
    let mut x = [[0.0; R]; MAX_STREAMED];
    let last = rows.end - rows.len() % R;
    for i in (rows.start..last).step_by(R) {
        let w = Block::new(of.w, of.n_out, i..i + R, first_col, n_vectors);
        for t in 0..n_tokens {
            x[t].copy_from_slice(&of.x[t * of.n_in + i..][..R]);
        }
        for c in 0..n_vectors {
            let mut column = [s.splat(0.0); R];
            for r in 0..R {
                // SAFETY: the block has R rows of `n_vectors` vectors.
                column[r] = E::load(s, unsafe { w.at(r, c) });
            }
            for (sum, x) in sums[c * n_tokens..][..n_tokens].iter_mut().zip(&x) {
                let mut v = s.load(sum);
                for r in 0..R {
                    v = s.fma(s.splat(x[r]), column[r], v);
                }
                s.store(v, sum);
            }
        }
    }
    row_by_row(s, of, last..rows.end, sums, n_tokens, first_col);
}

/// Adds the products of `rows` to `sums`, one row after the other.
#[inline(always)]
fn row_by_row<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    n_tokens: usize,
    first_col: usize,
) {
    for i in rows {
        let w = of.w[i * of.n_out + first_col..].as_chunks().0;
        for (sums, w) in sums.chunks_mut(n_tokens).zip(w) {
            for (t, sum) in sums.iter_mut().enumerate() {
                let v = s.fma(s.splat(of.x[t * of.n_in + i]), E::load(s, w), s.load(sum));
                s.store(v, sum);
            }
        }
    }
}

/// Sums for the columns after the last whole vector: `sums` is `[T]` vectors.
#[inline(always)]
fn stream_part<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    rows: Range<usize>,
    sums: &mut [[f32; LANES]],
    cols: Range<usize>,
) {
    for i in rows {
        let w = s.load_part(&of.w[i * of.n_out..][cols.clone()]);
        for (t, sum) in sums.iter_mut().enumerate() {
            let v = s.fma(s.splat(of.x[t * of.n_in + i]), w, s.load(sum));
            s.store(v, sum);
        }
    }
}
