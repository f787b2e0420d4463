//! Launchers of `kernels/embed.cu`: tokens become rows of the residual, and a prompt's rows go on to decode's logits.

use super::{
    super::{
        driver::{Buffer, Gpu, Kernel, Module, Shape},
        images::constants::EMBED_THREADS,
    },
    Activations, Dims, Packed, Prompt, PromptActivations, Step, Traffic,
};
use crate::backend::Result;

#[derive(Debug)]
pub(super) struct EmbedKernels {
    decode: Kernel,
    prefill: Kernel,
    gather: Kernel,
}

impl EmbedKernels {
    pub fn load(gpu: &Gpu, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("embed")?;
        let kernels = Self {
            decode: module.kernel("embed_decode_f16", 0)?,
            prefill: module.kernel("embed_prefill_f16", 0)?,
            gather: module.kernel("gather_prefill_f32", 0)?,
        };
        modules.push(module);
        Ok(kernels)
    }
}

/// A block a row, after what is in front of it has ended.
fn shape(n_rows: u32) -> Shape {
    Shape { grid: [n_rows, 1, 1], block: EMBED_THREADS, shared: 0, overlaps: false }
}

impl Step<'_> {
    /// `residual[t] = token_embd[token[t]] + position_embd[position[t]]`.
    pub fn embed(
        &self,
        act: &mut Activations,
        token_embd: &Packed,
        position_embd: &Buffer<u16>,
    ) -> Result<()> {
        let args = [
            (&mut act.residual).into(),
            (&token_embd.pieces).into(),
            position_embd.into(),
            self.step.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow embed_decode_f16 in kernels/embed.cu. It touches n_embd floats of a column, for which
        // `Activations` has room, and the rows of tokens and positions that `KvCache::append` has checked.
        unsafe { self.gpu.launch(&self.kernels.embed.decode, shape(self.n_columns), &args) }
    }

    /// `residual[t] = prompt.residual[token[t]]`, for [`logits`](Self::logits).
    pub fn gather(&self, act: &mut Activations, prompt: &PromptActivations) -> Result<()> {
        let args = [
            (&mut act.residual).into(),
            (&prompt.residual).into(),
            self.step.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow gather_prefill_f32 in kernels/embed.cu. The rows are of the plan that was just run,
        // and `act` has room for MAX_COLUMNS columns.
        unsafe { self.gpu.launch(&self.kernels.embed.gather, shape(self.n_columns), &args) }
    }
}

impl Prompt<'_> {
    /// `residual[t] = token_embd[token[t]] + position_embd[position[t]]`.
    pub fn embed(
        &self,
        act: &mut PromptActivations,
        token_embd: &Packed,
        position_embd: &Buffer<u16>,
    ) -> Result<()> {
        let args = [
            (&mut act.residual).into(),
            (&token_embd.pieces).into(),
            position_embd.into(),
            self.on_device.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow embed_prefill_f16 in kernels/embed.cu. It touches n_tokens rows of the residual,
        // which has MAX_TOKENS, and the rows of tokens and positions that `KvCache::append` has checked.
        unsafe { self.gpu.launch(&self.kernels.embed.prefill, shape(self.n_tokens()), &args) }
    }
}

/// Distinct bytes that either `embed` touches, for different tokens at different positions.
pub const fn embed_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    let c = dims.n_embd as usize;
    Traffic { read: n_tokens * (2 * 2 * c + 2 * 4), written: n_tokens * 4 * c }
}

/// Distinct bytes that `gather` touches.
pub const fn gather_traffic(dims: &Dims, n_columns: usize) -> Traffic {
    let c = dims.n_embd as usize;
    Traffic { read: n_columns * (4 * c + 2 * 4), written: n_columns * 4 * c }
}
