//! One token, weights `[out, in]`: each output's weights are one run of memory.

use super::{
    super::{
        simd::{Element, Kernel, LANES, Simd},
        tile::Stripe,
    },
    CACHE_LINE, Operands, finish,
};
use std::ops::Range;

/// The fourth way: `y` is some columns of the output.
pub struct Outputs<'a, 'y, E> {
    /// What is multiplied, for one token.
    pub of: Operands<'a, E>,
    /// `[1, cols]`.
    pub y: Stripe<'y>,
}

impl<E: Element> Kernel for Outputs<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let cols = self.y.cols();
        for (c, y) in self.y.row_mut(0).chunks_mut(LANES).enumerate() {
            let col = cols.start + c * LANES;
            let mut next = Ahead::new(&self.of, col + LANES);
            let mut total = s.splat(0.0);
            for block in 0..self.of.n_blocks() {
                let block = self.of.block(block);
                let mut sum = s.splat(0.0);
                for first in block.clone().step_by(LANES) {
                    next.prefetch(s);
                    let inputs = first..block.end.min(first + LANES);
                    let w = turned(s, &self.of, col, inputs.clone());
                    let x = &self.of.x[inputs];
                    for k in 0..x.len() {
                        sum = s.fma(s.splat(x[k]), w[k], sum);
                    }
                }
                total = s.add(total, sum);
            }
            finish(s, &self.of, total, col, y);
        }
    }
}

/// Asks for the weights of the next outputs, which are one run of memory, as much of it at a time as is used meanwhile.
struct Ahead<'a, E> {
    rest: &'a [E],
}

impl<'a, E: Element> Ahead<'a, E> {
    /// For the [`LANES`] outputs from `col` on, as far as there are some.
    #[inline(always)]
    fn new(of: &Operands<'a, E>, col: usize) -> Self {
        let (start, end) = (col.min(of.n_out) * of.n_in, (col + LANES).min(of.n_out) * of.n_in);
        Self { rest: &of.w[start..end] }
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&mut self, s: S) {
        let (now, rest) = self.rest.split_at(self.rest.len().min(LANES * LANES));
        for line in now.chunks(CACHE_LINE / size_of::<E>()) {
            s.prefetch(&line[0]);
        }
        self.rest = rest;
    }
}

/// The weights from up to [`LANES`] inputs to as many outputs from `col` on: a vector for each input, whose lanes are the
/// outputs; zero past the last one.
#[inline(always)]
pub fn turned<S: Simd, E: Element>(
    s: S,
    of: &Operands<E>,
    col: usize,
    inputs: Range<usize>,
) -> [S::V; LANES] {
    let n_outputs = (of.n_out - col).min(LANES);
    let mut rows = [s.splat(0.0); LANES];
    for o in 0..n_outputs {
        let row = &of.w[(col + o) * of.n_in..][inputs.clone()];
        rows[o] = match row.first_chunk() {
            Some(row) => E::load(s, row),
            None => s.load_part(row),
        };
    }
    s.transpose(rows)
}
