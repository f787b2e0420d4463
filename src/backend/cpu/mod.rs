//! The CPU: the fast path, whose plain twin is [`naive`](super::naive).
//!
//! [`CpuBackend`]'s forward pass is the decoder in model order, over the operations of [`ops`]. Weights are used where the file is
//! mapped; beside the KV cache the backend holds activations for [`MAX_TOKENS`] tokens. Assumes tokens and sizes that
//! [`KvCache::append`](crate::cache::KvCache::append) and [`Weights`] have checked. Tested in `tests/parity/` and `tests/invariance/`.

pub mod attention;
pub mod bandwidth;
mod forward;
pub mod linear;
mod logits;
pub mod ops;
pub mod pool;
mod rows;
pub mod simd;
pub mod tile;

use super::{BackendError, Result};
use crate::Weights;
use ops::Ops;
use simd::Isa;
use std::{fmt::Display, sync::Arc, thread};

/// Tokens that go through the layers together; a larger batch is cut.
pub const MAX_TOKENS: usize = 512;

/// A decoder on the CPU, in fp32 over the weights as stored.
#[derive(Debug)]
pub struct CpuBackend {
    weights: Arc<Weights>,
    ops: Ops,
    pages: Storage,
    activations: Activations,
    plan: Plan,
    logits: Vec<f32>,
}

/// Keys and values of all layers: `[L, pages, ...]`, see [`ops::Pages`].
#[derive(Debug, Default)]
struct Storage {
    keys: Vec<f32>,
    values: Vec<f32>,
    n_pages: usize,
    n_layer: usize,
}

/// One micro-batch's intermediate results.
#[derive(Debug, Default)]
struct Activations {
    /// The residual stream, `[T, C]`.
    x: Vec<f32>,
    /// What goes into a matrix product, `[T, C]` or `[T, H D]`.
    h: Vec<f32>,
    /// `[T, 3 H D]`.
    qkv: Vec<f32>,
    /// `[T, F]`.
    inner: Vec<f32>,
}

/// What one micro-batch processes.
#[derive(Debug, Default)]
struct Plan {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    spans: Vec<Planned>,
    /// Page tables of the spans.
    pages: Vec<u32>,
    /// Tokens that get logits.
    rows: Vec<usize>,
}

/// An [`attention::Span`] whose page table is a range of [`Plan::pages`].
#[derive(Clone, Copy, Debug)]
struct Planned {
    first: usize,
    n_tokens: usize,
    position: usize,
    pages: (usize, usize),
}

impl CpuBackend {
    /// A backend for `weights` with the best instructions there are. `None` takes one thread per core.
    pub fn new(weights: Arc<Weights>, n_threads: Option<usize>) -> Self {
        Self::with_isa(weights, n_threads, Isa::best())
    }

    /// The same with the instructions of `isa`.
    pub fn with_isa(weights: Arc<Weights>, n_threads: Option<usize>, isa: Isa) -> Self {
        let n_threads = n_threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, |n| n.get()));
        Self {
            ops: Ops::new(isa, n_threads),
            pages: Storage::default(),
            activations: Activations::default(),
            plan: Plan::default(),
            logits: Vec::new(),
            weights,
        }
    }
}

/// `len` zeros for `what`. The system gives the memory when it is first used, and the error where it would not.
fn zeros(what: impl Display, len: usize) -> Result<Vec<f32>> {
    let no_memory = |()| BackendError::HostMemory { what: what.to_string(), needed: len.saturating_mul(4) };
    bytemuck::allocation::try_zeroed_vec(len).map_err(no_memory)
}
