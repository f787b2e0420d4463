//! `y = x · w + b` with `w` stored `[in, out]`, as GPT-2's Conv1D does, or `[out, in]`, as `nn.Linear` does.
//!
//! ```text
//! for t, o:  y[t, o] = then(Σ_blocks Σ_i x[t, i] w[i, o] + b[o])
//!            a block is 128 inputs, one chain:  sum = 0;  for i ascending: sum = fma(x[t, i], w[i, o], sum)
//!            blocks are added in order, from 0
//! ```
//!
//! Lanes are outputs, so this sum is all that the ways below compute, and they agree to the bit:
//!
//! 1. One token, many blocks ([`Part`], [`Join`]): the weights are the work, and memory is read fastest in order. A task
//!    takes a block, which is contiguous in `w`; then the blocks' sums are added.
//! 2. One token, fewer blocks than share out evenly ([`Stream`]): a task takes some columns. A few rows of `w` at a time
//!    flow through registers, and the sums wait in the first-level cache.
//! 3. Several tokens ([`Tiles`]): a task takes some columns. Tiles of tokens x columns are summed in registers over some
//!    rows of `w`, which are widened once for all tokens; what the next rows need comes into the cache meanwhile.
//! 4. One token, `[out, in]` ([`Outputs`]): a task takes some outputs, whose weights are contiguous, and turns sixteen by
//!    sixteen of them, so that lanes are outputs again. Several tokens do the same as they widen ([`Tiles`]).
//!
//! Called by [`super::ops`]; compared with [`naive::linear`](crate::backend::naive::linear) in `tests/kernels.rs`.

mod outputs;
mod stream;
mod tiles;

pub use outputs::Outputs;
pub use stream::{Join, Part, Stream};
pub use tiles::{TileShape, Tiles, pack};

use super::simd::{Element, LANES, Simd, math};
use crate::{config::Activation, family::Layout};
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

/// A matrix product's operands: `x` `[T, in]`, `w` `[in, out]` or `[out, in]`, `bias` `[out]`.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a, E> {
    /// Activations, row-major.
    pub x: &'a [f32],
    /// Weights, row-major.
    pub w: &'a [E],
    /// How they are stored.
    pub layout: Layout,
    /// One per output.
    pub bias: Option<&'a [f32]>,
    /// `in`.
    pub n_in: usize,
    /// `out`.
    pub n_out: usize,
    /// What becomes of the result.
    pub then: Then,
}

/// Bytes of a cache line.
pub const CACHE_LINE: usize = 64;

/// Inputs of a block.
pub const BLOCK: usize = 128;

impl<E> Operands<'_, E> {
    /// Rows of the activations.
    pub fn n_tokens(&self) -> usize {
        self.x.len() / self.n_in
    }

    /// Blocks of inputs.
    pub fn n_blocks(&self) -> usize {
        self.n_in.div_ceil(BLOCK)
    }

    /// The inputs of block `i`.
    pub fn block(&self, i: usize) -> Range<usize> {
        i * BLOCK..self.n_in.min((i + 1) * BLOCK)
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
    let n = y.len().min(LANES);
    let v = match of.bias {
        None => sum,
        Some(bias) => match bias[col..].first_chunk() {
            Some(bias) => s.add(sum, s.load(bias)),
            None => s.add(sum, s.load_part(&bias[col..])),
        },
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
