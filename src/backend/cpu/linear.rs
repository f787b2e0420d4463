//! `y = x · w + b` with `w` as GPT-2's Conv1D stores it, `[in, out]`.
//!
//! ```text
//! for t, o:  y[t, o] = then(Σ_blocks Σ_i x[t, i] w[i, o] + b[o])
//!            a block is 128 inputs, one chain:  sum = 0;  for i ascending: sum = fma(x[t, i], w[i, o], sum)
//!            blocks are added in order, from 0
//! ```
//!
//! Lanes are outputs, so this sum is all that the three ways below compute, and they agree to the bit:
//!
//! 1. One token, many blocks ([`Part`], [`Join`]): the weights are the work, and memory is read fastest in order. A task
//!    takes a block, which is contiguous in `w`; then the blocks' sums are added.
//! 2. Few tokens ([`Stream`]): a task takes some columns. A few rows of `w` at a time flow through registers, once for
//!    all tokens, and the sums wait in the first-level cache.
//! 3. Many tokens ([`Tiles`]): the arithmetic is the work. A task widens a panel of columns to fp32 once; against it, tiles
//!    of tokens x columns are summed in registers, from tokens packed so that a tile's are adjacent.
//!
//! Called by [`super::ops`]; compared with [`super::naive::linear`] in `tests/kernels.rs`.

use super::{
    simd::{Block, Element, Kernel, LANES, Simd, math},
    tile::Stripe,
};
use crate::config::Activation;
use std::ops::Range;

/// What becomes of `x · w + b`.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// `y` is it.
    Store,
    /// `y` is the activation of it.
    Activate(Activation),
    /// It is added to `y`.
    Add,
}

/// Most tokens that [`Stream`] takes at once.
pub const MAX_STREAMED: usize = 12;

/// A matrix product's operands: `x` `[T, in]`, `w` `[in, out]`, `bias` `[out]`.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a, E> {
    /// Activations: row-major for [`Stream`], packed by [`pack`] for [`Tiles`].
    pub x: &'a [f32],
    /// Weights, row-major.
    pub w: &'a [E],
    /// One per output.
    pub bias: &'a [f32],
    /// `in`.
    pub n_in: usize,
    /// `out`.
    pub n_out: usize,
    /// What becomes of the result.
    pub then: Then,
}

/// Inputs of a block.
pub const BLOCK: usize = 128;

impl<E> Operands<'_, E> {
    /// Blocks of inputs.
    pub fn n_blocks(&self) -> usize {
        self.n_in.div_ceil(BLOCK)
    }

    /// The inputs of block `i`.
    fn block(&self, i: usize) -> Range<usize> {
        i * BLOCK..self.n_in.min((i + 1) * BLOCK)
    }
}

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

/// Tokens in the tiles of an instruction set, and columns of its panels.
pub struct TileShape;

impl Kernel for TileShape {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (S::TILE.0, S::TILE.1 * LANES)
    }
}

/// Packs one tile's tokens, `x` `[up to tile_tokens, in]`, to `[in, tile_tokens]`, with zeros for the missing ones.
pub fn pack(packed: &mut [f32], x: &[f32], n_in: usize, tile_tokens: usize) {
    if x.len() < n_in * tile_tokens {
        packed.fill(0.0);
    }
    for (t, row) in x.chunks(n_in).enumerate() {
        for (i, &v) in row.iter().enumerate() {
            packed[i * tile_tokens + t] = v;
        }
    }
}

/// The third way: `y` is one panel of columns of the output, for any number of tokens.
pub struct Tiles<'a, 'y, E> {
    /// What is multiplied.
    pub of: Operands<'a, E>,
    /// `[T, cols]`, with as many columns as [`TileShape`] says, or fewer in the last panel.
    pub y: Stripe<'y>,
    /// Room for the panel, `[in, cols]`.
    pub panel: &'a mut [f32],
}

impl<E: Element> Kernel for Tiles<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match S::TILE {
            (12, 2) => tiles::<S, E, 12, 2>(s, self),
            (6, 1) => tiles::<S, E, 6, 1>(s, self),
            _ => tiles::<S, E, 2, 1>(s, self),
        }
    }
}

#[inline(always)]
fn tiles<S: Simd, E: Element, const T: usize, const N: usize>(s: S, task: Tiles<E>) {
    let Tiles { of, mut y, panel } = task;
    let cols = y.cols();
    let panel = &mut panel.as_chunks_mut::<LANES>().0[..of.n_in * N];
    widen(s, panel.as_chunks_mut::<N>().0, &of, cols.start);
    for (tile, x) in of.x.chunks_exact(of.n_in * T).enumerate() {
        let mut totals = [[s.splat(0.0); N]; T];
        for (x, panel) in x.as_chunks().0.chunks(BLOCK).zip(panel.chunks(BLOCK * N)) {
            let mut sums = [[s.splat(0.0); N]; T];
            chain(s, &mut sums, x, panel, N);
            for t in 0..T {
                for n in 0..N {
                    totals[t][n] = s.add(totals[t][n], sums[t][n]);
                }
            }
        }
        for (t, sums) in (tile * T..y.n_rows()).zip(totals) {
            for (n, sum) in sums.into_iter().enumerate().filter(|(n, _)| n * LANES < cols.len()) {
                finish(s, &of, sum, cols.start + n * LANES, &mut y.row_mut(t)[n * LANES..]);
            }
        }
    }
}

/// Widens the columns from `first` on to fp32: `[in, N]` vectors, zero past the last column.
#[inline(always)]
fn widen<S: Simd, E: Element, const N: usize>(
    s: S,
    panel: &mut [[[f32; LANES]; N]],
    of: &Operands<E>,
    first: usize,
) {
    const AHEAD: usize = 16;
    for (i, to) in panel.iter_mut().enumerate() {
        if let Some(ahead) = of.w.get((i + AHEAD) * of.n_out + first) {
            s.prefetch(ahead);
        }
        let row = &of.w[i * of.n_out..][first..of.n_out];
        for n in 0..N {
            let from = row.get(n * LANES..).unwrap_or(&[]);
            let v = match from.first_chunk() {
                Some(from) => E::load(s, from),
                None => s.load_part(from),
            };
            s.store(v, &mut to[n]);
        }
    }
}

/// `sums[t][n] = fma(x[k][t], w[k * stride + n], sums[t][n])` for every `k` in turn: what matrix products and attention
/// are made of.
#[inline(always)]
pub fn chain<S: Simd, const T: usize, const N: usize>(
    s: S,
    sums: &mut [[S::V; N]; T],
    x: &[[f32; T]],
    w: &[[f32; LANES]],
    stride: usize,
) {
    let mut local = *sums;
    for k in 0..x.len() {
        let w = &w[k * stride..][..N];
        let mut row = [s.splat(0.0); N];
        for n in 0..N {
            row[n] = s.load(&w[n]);
        }
        for t in 0..T {
            let x = s.splat(x[k][t]);
            for n in 0..N {
                local[t][n] = s.fma(x, row[n], local[t][n]);
            }
        }
    }
    *sums = local;
}

/// Adds the bias from column `col` on, does what comes then, and writes as many lanes as `y` has room for.
#[inline(always)]
fn finish<S: Simd, E: Element>(s: S, of: &Operands<E>, sum: S::V, col: usize, y: &mut [f32]) {
    let bias = &of.bias[col..];
    let n = y.len().min(LANES);
    let v = match bias.first_chunk() {
        Some(bias) => s.add(sum, s.load(bias)),
        None => s.add(sum, s.load_part(bias)),
    };
    let y = &mut y[..n];
    let v = match of.then {
        Then::Store => v,
        Then::Activate(kind) => math::activation(s, v, kind),
        Then::Add => s.add(v, s.load_part(&*y)),
    };
    match y.first_chunk_mut() {
        Some(y) => s.store(v, y),
        None => s.store_part(v, y),
    }
}
