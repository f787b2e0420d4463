//! [`Prompt`]: what every launch of a pass over prompts needs to know; [`PromptActivations`]: what its kernels leave for one
//! another.

use super::{
    super::driver::{Buffer, Gpu},
    Dims, Kernels, MAX_TOKENS, Plan, padded,
};
use crate::backend::Result;

/// Prompts on their way through the layers.
#[derive(Clone, Copy)]
pub struct Prompt<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Its kernels.
    pub kernels: &'a Kernels,
    /// The model's shape.
    pub dims: &'a Dims,
    /// What the tokens are, of which there is at least one.
    pub plan: &'a Plan,
    /// The plan's words, on the device.
    pub on_device: &'a Buffer<u32>,
}

impl Prompt<'_> {
    pub(super) fn n_tokens(&self) -> u32 {
        self.plan.n_tokens() as u32
    }
}

/// What prefill kernels leave for one another, for [`MAX_TOKENS`] tokens.
#[derive(Debug)]
pub struct PromptActivations {
    /// The residual stream, `[MAX_TOKENS, C]`.
    pub residual: Buffer<f32>,
    /// Queries, `[MAX_TOKENS, C]`.
    pub q: Buffer<f32>,
    /// The normalised residual, then attention's output: `[2, MAX_TOKENS, padded C]` halves.
    pub h: Buffer<u16>,
    /// The MLP's inner values, `[2, MAX_TOKENS, padded F]` halves.
    pub inner: Buffer<u16>,
}

impl PromptActivations {
    /// All zero: the padding stays so.
    pub fn new(gpu: &Gpu, dims: &Dims) -> Result<Self> {
        let (c, f, what) = (dims.n_embd as usize, dims.n_inner as usize, "activations of prompts");
        Ok(Self {
            residual: gpu.zeros(MAX_TOKENS * c, what)?,
            q: gpu.zeros(MAX_TOKENS * c, what)?,
            h: gpu.zeros(2 * MAX_TOKENS * padded(c), what)?,
            inner: gpu.zeros(2 * MAX_TOKENS * padded(f), what)?,
        })
    }

    /// Their bytes.
    pub fn n_bytes(dims: &Dims) -> usize {
        let (c, f) = (dims.n_embd as usize, dims.n_inner as usize);
        MAX_TOKENS * (2 * 4 * c + 4 * padded(c) + 4 * padded(f))
    }
}
