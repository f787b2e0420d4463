//! Causal attention over the paged cache, one head at a time.
//!
//! ```text
//! for query at position p:  score[s] = Σ_d q[d] · scale · k[s, d]      for s in 0..=p, d ascending
//!                           weight[s] = e^(score[s] - max score)
//!                           y[d] = Σ_s weight[s] v[s, d] / Σ_s weight[s]     s ascending, from position 0
//! ```
//!
//! 1. A page keeps its keys as `[D, PAGE_LEN]`, so lanes are positions and a score is one chain over d; its values as
//!    `[PAGE_LEN, D]`, so lanes are d and an output is one chain over s. No order depends on the batch.
//! 2. A block of neighbouring queries shares each load. They run together over the positions that all of them see;
//!    each finishes alone. So no row past a query's own is ever multiplied, not even by zero: it may hold anything.
//! 3. Scores of rows past a query's own are computed with the rest of their page and then left out.
//!
//! Called by [`super::ops`]; compared with [`naive::attention`](crate::backend::naive::attention) in `tests/kernels.rs`.

use super::{
    linear::chain,
    simd::{Kernel, LANES, Simd, math},
    tile::Stripe,
};
use crate::cache::PAGE_LEN;

/// Where one sequence's new tokens stand.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Its first token among the call's rows.
    pub first: usize,
    /// How many tokens.
    pub n_tokens: usize,
    /// Position of the first.
    pub position: usize,
    /// The sequence's page table.
    pub pages: &'a [u32],
}

/// Floats of one head's values for one position: D rounded up to whole vectors.
pub fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// Floats that a thread needs beside the cache.
pub fn scratch_len(head_dim: usize, n_ctx: usize) -> usize {
    MAX_QUERIES * (head_dim + 2 * n_ctx.next_multiple_of(PAGE_LEN)) + padded(head_dim)
}

const MAX_QUERIES: usize = 8;

/// One head's task: appends the new keys and values to the cache, then attends from every new position.
pub struct Head<'a, 'm, I> {
    /// `[T, 3C]`: queries, keys, values.
    pub qkv: &'a [f32],
    /// C.
    pub width: usize,
    /// D.
    pub head_dim: usize,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// The sequences, each with tokens of its own.
    pub spans: I,
    /// This head's columns of the output, `[T, D]`.
    pub y: Stripe<'m>,
    /// This head's keys, `[pages, D * PAGE_LEN]`.
    pub keys: Stripe<'m>,
    /// This head's values, `[pages, PAGE_LEN * padded(D)]`.
    pub values: Stripe<'m>,
    /// [`scratch_len`] floats.
    pub scratch: &'a mut [f32],
}

impl<'p, I: Iterator<Item = Span<'p>>> Kernel for Head<'_, '_, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let scratch = std::mem::take(&mut self.scratch);
        while let Some(span) = self.spans.next() {
            self.append(&span);
            let mut t = 0;
            while t < span.n_tokens {
                t += match (S::QUERIES, span.n_tokens - t) {
                    (_, 1) | (1, _) => self.attend::<S, 1>(s, &span, t, scratch),
                    (2, _) => self.attend::<S, 2>(s, &span, t, scratch),
                    _ => self.attend::<S, MAX_QUERIES>(s, &span, t, scratch),
                };
            }
        }
    }
}

/// A block of queries that has its weights.
struct Block<'a, const Q: usize> {
    /// The first query's row of the output.
    row: usize,
    n_queries: usize,
    /// Positions that all of them see.
    n_joint: usize,
    /// The softmax's numerators, `[positions, Q]`.
    weights: &'a [[f32; Q]],
    /// Their sums.
    sums: [f32; Q],
}

impl<'a, I> Head<'a, '_, I> {
    /// This head's part of row `t` of the queries (0), keys (1) or values (2).
    #[inline(always)]
    fn part(&self, t: usize, which: usize) -> &'a [f32] {
        &self.qkv[(3 * t + which) * self.width + self.y.cols().start..][..self.head_dim]
    }

    #[inline(always)]
    fn append(&mut self, span: &Span) {
        let row_len = padded(self.head_dim);
        for t in 0..span.n_tokens {
            let (page, slot) = place(span, span.position + t);
            let (k, v) = (self.part(span.first + t, 1), self.part(span.first + t, 2));
            for (to, &k) in self.keys.row_mut(page)[slot..].iter_mut().step_by(PAGE_LEN).zip(k) {
                *to = k;
            }
            let (to, rest) =
                self.values.row_mut(page)[slot * row_len..][..row_len].split_at_mut(self.head_dim);
            to.copy_from_slice(v);
            rest.fill(0.0);
        }
    }

    /// Attends from up to `Q` positions, the first being the span's token `t`; returns how many.
    #[inline(always)]
    fn attend<S: Simd, const Q: usize>(&mut self, s: S, span: &Span, t: usize, scratch: &mut [f32]) -> usize {
        let n_queries = Q.min(span.n_tokens - t);
        let first = span.position + t;
        let row_len = (first + n_queries).next_multiple_of(PAGE_LEN);
        let (queries, rest) = scratch.split_at_mut(self.head_dim * Q);
        let (scores, rest) = rest.split_at_mut(Q * row_len);
        let queries = queries.as_chunks_mut::<Q>().0;
        let weights = &mut rest.as_chunks_mut::<Q>().0[..row_len];

        queries.fill([0.0; Q]);
        for q in 0..n_queries {
            for (to, &v) in queries.iter_mut().zip(self.part(span.first + t + q, 0)) {
                to[q] = v * self.scale;
            }
        }
        self.score(s, span, queries, scores, row_len);
        let mut sums = [1.0; Q];
        for q in 0..n_queries {
            let row = &mut scores[q * row_len..][..row_len];
            sums[q] = softmax(s, row, first + q + 1);
            for (to, &weight) in weights.iter_mut().zip(&*row) {
                to[q] = weight;
            }
        }
        let block = Block { row: span.first + t, n_queries, n_joint: first + 1, weights, sums };
        let n_vectors = padded(self.head_dim) / LANES;
        for vector in (0..n_vectors).step_by(2) {
            if vector + 1 < n_vectors {
                self.mix::<S, Q, 2>(s, span, &block, vector);
            } else {
                self.mix::<S, Q, 1>(s, span, &block, vector);
            }
        }
        n_queries
    }

    /// Scores of `queries`, `[D, Q]`, over all pages that `scores`, `[Q, row_len]`, has room for.
    #[inline(always)]
    fn score<S: Simd, const Q: usize>(
        &self,
        s: S,
        span: &Span,
        queries: &[[f32; Q]],
        scores: &mut [f32],
        row_len: usize,
    ) {
        for (p, &page) in span.pages[..row_len / PAGE_LEN].iter().enumerate() {
            let keys = self.keys.row(page as usize).as_chunks().0;
            let mut tile = [[s.splat(0.0); 2]; Q];
            chain(s, &mut tile, queries, keys, PAGE_LEN / LANES);
            for (q, tile) in tile.into_iter().enumerate() {
                let to = scores[q * row_len + p * PAGE_LEN..][..PAGE_LEN].as_chunks_mut::<LANES>().0;
                s.store(tile[0], &mut to[0]);
                s.store(tile[1], &mut to[1]);
            }
        }
    }

    /// Mixes `N` vectors of the values, from `vector` on, by the block's weights, and writes them to the output.
    #[inline(always)]
    fn mix<S: Simd, const Q: usize, const N: usize>(
        &mut self,
        s: S,
        span: &Span,
        block: &Block<Q>,
        vector: usize,
    ) {
        let n_vectors = padded(self.head_dim) / LANES;
        let mut tile = [[s.splat(0.0); N]; Q];
        let pages = block.weights[..block.n_joint].chunks(PAGE_LEN).zip(span.pages);
        for (weights, &page) in pages {
            let values = self.values.row(page as usize).as_chunks::<LANES>().0;
            chain(s, &mut tile, weights, &values[vector..], n_vectors);
        }
        for (q, mut sums) in tile.into_iter().enumerate().take(block.n_queries) {
            for position in block.n_joint..block.n_joint + q {
                let (page, slot) = place(span, position);
                let values = self.values.row(page).as_chunks::<LANES>().0;
                let weight = s.splat(block.weights[position][q]);
                for n in 0..N {
                    sums[n] = s.fma(weight, s.load(&values[slot * n_vectors + vector + n]), sums[n]);
                }
            }
            let y = &mut self.y.row_mut(block.row + q)[vector * LANES..];
            for (sum, y) in sums.into_iter().zip(y.chunks_mut(LANES)) {
                s.store_part(s.div(sum, s.splat(block.sums[q])), y);
            }
        }
    }
}

/// The page and the row in it of `position`.
#[inline(always)]
fn place(span: &Span, position: usize) -> (usize, usize) {
    (span.pages[position / PAGE_LEN] as usize, position % PAGE_LEN)
}

/// Turns the first `n` scores into `e^(score - max)` and returns their sum: lane `i` sums the positions `i`, `i` + 16,
/// ..., then the lanes are summed.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], n: usize) -> f32 {
    let scores = &mut scores.as_chunks_mut::<LANES>().0[..n.div_ceil(LANES)];
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut max = lowest;
    for (i, v) in scores.iter().enumerate() {
        max = s.max(max, s.first(s.load(v), n - i * LANES, lowest));
    }
    let max = s.splat(s.largest(max));
    let mut sum = s.splat(0.0);
    for (i, v) in scores.iter_mut().enumerate() {
        let e = s.first(math::exp(s, s.sub(s.load(v), max)), n - i * LANES, s.splat(0.0));
        sum = s.add(sum, e);
        s.store(e, v);
    }
    s.sum(sum)
}
