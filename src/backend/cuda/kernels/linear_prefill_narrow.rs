//! The blocks of `kernels/linear_prefill_narrow.cu`: products for few tokens, each warp with slices of its own.

use super::{
    super::{
        driver::{Gpu, Module, Shape},
        images::constants::{NARROW_ROWS, NARROW_TILE_BYTES, NARROW_WARPS, SUM_TILES, TILE_K, WARP},
    },
    Dims,
    linear_prefill::{Products, products},
};
use crate::backend::Result;

/// Tokens of a block.
const BLOCK_TOKENS: [u32; 3] = [8, 16, 32];

/// The kernels, by [`BLOCK_TOKENS`].
#[derive(Debug)]
pub(super) struct Narrow([Products; 3]);

impl Narrow {
    pub fn load(gpu: &Gpu, dims: &Dims, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("linear_prefill_narrow")?;
        let max_inputs = dims.n_embd.max(dims.n_inner);
        let shared = BLOCK_TOKENS.map(|tokens| Block::of(max_inputs, tokens).shared.min(gpu.max_shared));
        let kernels = Self([
            products!(module, "_8", shared[0]),
            products!(module, "_16", shared[1]),
            products!(module, "_32", shared[2]),
        ]);
        modules.push(module);
        Ok(kernels)
    }

    /// The kernels for a matrix `[n_rows, n_cols]`, and their launch: one block for all tokens where that fits, else as wide as fits.
    pub fn launch(&self, gpu: &Gpu, n_tokens: u32, (n_rows, n_cols): (u32, u32)) -> (&Products, Shape) {
        let mut i = BLOCK_TOKENS.iter().position(|&tokens| tokens >= n_tokens).unwrap_or(2);
        while i > 0 && Block::of(n_cols, BLOCK_TOKENS[i]).shared > gpu.max_shared {
            i -= 1;
        }
        let Block { warps, shared } = Block::of(n_cols, BLOCK_TOKENS[i]);
        let grid = [n_tokens.div_ceil(BLOCK_TOKENS[i]), n_rows.div_ceil(NARROW_ROWS), 1];
        (&self.0[i], Shape { grid, block: WARP * warps, shared, overlaps: true })
    }
}

struct Block {
    warps: u32,
    shared: u32,
}

impl Block {
    /// For a matrix of `n_cols` inputs, and `tokens`.
    fn of(n_cols: u32, tokens: u32) -> Self {
        let n_slices = n_cols.div_ceil(TILE_K).div_ceil(SUM_TILES);
        // As many slices for each warp.
        let warps = n_slices.div_ceil(n_slices.div_ceil(NARROW_WARPS));
        Self { warps, shared: warps * NARROW_TILE_BYTES + 4 * NARROW_ROWS * (tokens + 2) * n_slices }
    }
}
