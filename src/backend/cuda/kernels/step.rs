//! [`Step`]: what every launch of a decode step needs to know; [`Activations`]: what its kernels leave for one another.

use super::{
    super::{
        driver::{Buffer, Gpu},
        images::constants::{MAX_COLUMNS, STEP_PAGES},
    },
    COLUMN_COUNTS, Dims, Kernels, planes_len,
};
use crate::backend::Result;

/// A decode step on its way through the layers.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Its kernels.
    pub kernels: &'a Kernels,
    /// The model's shape.
    pub dims: &'a Dims,
    /// The step's columns: `kernels/layout.h`.
    pub step: &'a Buffer<u32>,
    /// One of [`COLUMN_COUNTS`].
    pub n_columns: u32,
    /// Chunks of the longest column.
    pub n_chunks: u32,
}

impl Step<'_> {
    /// The least of [`COLUMN_COUNTS`] that holds `n` columns.
    ///
    /// # Panics
    /// If there are more than [`MAX_COLUMNS`].
    pub fn column_count(n: usize) -> u32 {
        let count = COLUMN_COUNTS.into_iter().find(|&count| count as usize >= n);
        count.unwrap_or_else(|| panic!("a step of {n} columns, expected at most {MAX_COLUMNS}"))
    }
}

/// Words of a step, for page tables of `n_pages`.
pub const fn step_len(n_pages: usize) -> usize {
    STEP_PAGES as usize + MAX_COLUMNS as usize * n_pages
}

/// What decode kernels leave for one another, for [`MAX_COLUMNS`] tokens.
#[derive(Debug)]
pub struct Activations {
    /// The residual stream, `[MAX_COLUMNS, C]`.
    pub residual: Buffer<f32>,
    /// Queries, `[MAX_COLUMNS, C]`.
    pub q: Buffer<f32>,
    /// Attention by chunks, `[MAX_COLUMNS, H, max_chunks, D]`.
    pub chunk_out: Buffer<f32>,
    /// Their maxima and sums, `[MAX_COLUMNS, H, max_chunks, 2]`.
    pub chunk_stats: Buffer<f32>,
    /// The MLP's inner values in planes, `[MAX_COLUMNS, planes_len(F)]`.
    pub inner: Buffer<f32>,
}

impl Activations {
    /// All zero: the padding of `inner` stays so.
    pub fn new(gpu: &Gpu, dims: &Dims) -> Result<Self> {
        let zeros = |len: usize| gpu.zeros(MAX_COLUMNS as usize * len, "activations");
        let n_chunks = (dims.n_head * dims.max_chunks()) as usize;
        Ok(Self {
            residual: zeros(dims.n_embd as usize)?,
            q: zeros(dims.n_embd as usize)?,
            chunk_out: zeros(n_chunks * dims.head_dim as usize)?,
            chunk_stats: zeros(n_chunks * 2)?,
            inner: zeros(planes_len(dims.n_inner as usize))?,
        })
    }

    /// Their bytes.
    pub fn n_bytes(dims: &Dims) -> usize {
        let chunks = dims.n_head * dims.max_chunks() * (dims.head_dim + 2);
        4 * MAX_COLUMNS as usize * ((2 * dims.n_embd + chunks) as usize + planes_len(dims.n_inner as usize))
    }
}
