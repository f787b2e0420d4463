//! The launcher of `kernels/attention_prefill.cu`: attention of every token of a plan.

use super::{
    super::{
        driver::{Gpu, Kernel, Module, Shape},
        images::constants::{ATTENTION_STEP_BYTES, PAGE_LEN, TILE_QUERIES, TILE_THREADS},
    },
    Dims, Pages, Prompt, PromptActivations, Traffic, padded,
};
use crate::backend::Result;

#[derive(Debug)]
pub(super) struct AttentionPrefill {
    kernel: Kernel,
    /// Dynamic shared memory of a block.
    shared: u32,
}

impl AttentionPrefill {
    /// For heads of the width of `dims`, or the next wider one that there is code for.
    pub fn load(gpu: &Gpu, dims: &Dims, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("attention_prefill")?;
        let (head_dim, name) = match dims.head_dim {
            0..=32 => (32, "attention_prefill_f32_32"),
            33..=64 => (64, "attention_prefill_f32_64"),
            65..=96 => (96, "attention_prefill_f32_96"),
            _ => (128, "attention_prefill_f32_128"),
        };
        let shared = head_dim / 16 * ATTENTION_STEP_BYTES;
        let kernel = module.kernel(name, shared)?;
        modules.push(module);
        Ok(Self { kernel, shared })
    }
}

impl Prompt<'_> {
    /// `h` = attention of every token.
    pub fn attention(&self, act: &mut PromptActivations, pages: &Pages, scale: f32) -> Result<()> {
        let dims = self.dims;
        let AttentionPrefill { kernel, shared } = &self.kernels.attention_prefill;
        let grid = [self.plan.n_tiles() as u32, dims.n_head, 1];
        let shape = Shape { grid, block: TILE_THREADS, shared: *shared, overlaps: true };
        let args = [
            (&mut act.h).into(),
            (&act.q).into(),
            (&pages.keys).into(),
            (&pages.values).into(),
            self.on_device.into(),
            dims.head_dim.into(),
            (padded(dims.n_embd as usize) as u32).into(),
            (scale * std::f32::consts::LOG2_E).into(),
        ];
        // SAFETY: order and types follow kernels/attention_prefill.cu. A tile's tokens are of the plan, and its page table
        // holds pages of this cache up to its last token's.
        unsafe { self.gpu.launch(kernel, shape, &args) }
    }
}

/// Distinct bytes that a prompt's `attention` touches, for spans of (tokens in the cache, new tokens) that share no page.
pub const fn attention_traffic(dims: &Dims, spans: &[(usize, usize)]) -> Traffic {
    let (c, h) = (dims.n_embd as usize, dims.n_head as usize);
    let mut traffic = Traffic { read: 0, written: 0 };
    let mut i = 0;
    while i < spans.len() {
        let (n_cached, n_tokens) = spans[i];
        let n_keys = n_cached + n_tokens;
        let plan = 4 * (4 * n_tokens.div_ceil(TILE_QUERIES as usize) + n_keys.div_ceil(PAGE_LEN as usize));
        traffic.read += plan + n_tokens * 4 * c + n_keys * 2 * 4 * h * dims.padded_dim();
        traffic.written += n_tokens * 2 * 2 * c;
        i += 1;
    }
    traffic
}
