//! Launchers of the decode kernels: a step of up to MAX_COLUMNS tokens.

use super::{
    super::{
        driver::{Arg, Buffer, Gpu, Kernel, Shape},
        images::constants::{CHUNK_PAGES, EMBED_THREADS, OCTET, TILE_ROWS, WARP},
    },
    Activations, COLUMN_COUNTS, Dims, Kernels, Linear, Norm, Packed, Pages, check, padded, planes_len,
};
use crate::backend::Result;

/// A decode step on its way through the layers: the device, the kernels, and what every launch needs to know.
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
    /// `residual[t] = wte[token[t]] + wpe[position[t]]`.
    pub fn embed(&self, act: &mut Activations, wte: &Packed, wpe: &Buffer<u16>) -> Result<()> {
        let shape = Shape { grid: [self.n_columns, 1, 1], block: EMBED_THREADS, shared: 0, overlaps: false };
        let args = [
            (&mut act.residual).into(),
            (&wte.pieces).into(),
            wpe.into(),
            self.step.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow kernels/embed.cu. It touches n_embd floats of a column, for which `Activations` has
        // room, and the rows of tokens and positions that `KvCache::append` has checked.
        unsafe { self.gpu.launch(&self.kernels.embed, shape, &args) }
    }

    /// `q`, and the cache's new rows, from `c_attn(ln_1(residual))`.
    pub fn qkv(&self, act: &mut Activations, pages: &mut Pages, norm: &Norm, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("c_attn", &linear.weight, 3 * dims.n_embd, dims.n_embd);
        let before = [
            (&mut act.q).into(),
            (&mut pages.keys).into(),
            (&mut pages.values).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_pages.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
        ];
        let shape = self.linear(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_qkv_f16 in kernels/linear_decode.cu. The matrix has the shape that
        // was checked above, page tables hold pages of this cache, and `Activations` has room for MAX_COLUMNS columns.
        unsafe { self.product(&self.kernels.qkv, shape, &before, &linear.weight, &after) }
    }

    /// Attention of every column, left by chunks.
    pub fn attention(&self, act: &mut Activations, pages: &Pages, scale: f32) -> Result<()> {
        let dims = self.dims;
        let grid = [self.n_chunks, dims.n_head, self.n_columns];
        let shape = Shape { grid, block: WARP * CHUNK_PAGES, shared: 0, overlaps: true };
        let args = [
            (&mut act.chunk_out).into(),
            (&mut act.chunk_stats).into(),
            (&act.q).into(),
            (&pages.keys).into(),
            (&pages.values).into(),
            self.step.into(),
            dims.n_pages.into(),
            dims.head_dim.into(),
            dims.max_chunks().into(),
            (scale * std::f32::consts::LOG2_E).into(),
        ];
        // SAFETY: order and types follow kernels/attention_decode.cu. A column reads pages of its table up to its position,
        // and writes its first `n_chunks` <= max_chunks chunks.
        unsafe { self.gpu.launch(&self.kernels.attention, shape, &args) }
    }

    /// `residual += c_proj(heads)`.
    pub fn merge(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("attn.c_proj", &linear.weight, dims.n_embd, dims.n_embd);
        let before = [(&mut act.residual).into(), (&act.chunk_out).into(), (&act.chunk_stats).into()];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
            dims.max_chunks().into(),
        ];
        let shape = self.linear(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_attn_out_f16; sizes as above.
        unsafe { self.product(&self.kernels.merge, shape, &before, &linear.weight, &after) }
    }

    /// `inner = activation(c_fc(ln_2(residual)))`.
    pub fn fc(&self, act: &mut Activations, norm: &Norm, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("c_fc", &linear.weight, dims.n_inner, dims.n_embd);
        let before = [
            (&mut act.inner).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_embd.into(),
            (padded(dims.n_inner as usize) as u32 / OCTET).into(),
            dims.activation.into(),
        ];
        let shape = self.linear(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_up_f16; sizes as above.
        unsafe { self.product(&self.kernels.fc, shape, &before, &linear.weight, &after) }
    }

    /// `residual += c_proj(inner)`.
    pub fn add(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("mlp.c_proj", &linear.weight, dims.n_embd, dims.n_inner);
        let before = [(&mut act.residual).into(), (&act.inner).into()];
        let after = [(&linear.bias).into(), self.step.into(), dims.n_embd.into()];
        let shape = self.linear(&linear.weight, false);
        // SAFETY: order and types follow linear_decode_down_f16; sizes as above.
        unsafe { self.product(&self.kernels.add, shape, &before, &linear.weight, &after) }
    }

    /// `logits[row[t]]` from `ln_f(residual[t])` and the embeddings: `[rows, V]`.
    pub fn logits(
        &self,
        logits: &mut Buffer<f32>,
        act: &Activations,
        norm: &Norm,
        head: &Packed,
    ) -> Result<()> {
        let dims = self.dims;
        check("lm_head", head, n_rows_of(head), dims.n_embd);
        let before = [
            logits.into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [self.step.into(), dims.n_embd.into()];
        let mut shape = self.linear(head, true);
        // Blocks that stay for many rows normalise the input once for all of them.
        shape.grid[0] = shape.grid[0].min(BLOCKS_PER_SM * self.gpu.n_sms);
        // SAFETY: order and types follow linear_decode_logits_f16. The step's rows lie within `logits`: they were counted
        // when it was allocated.
        unsafe { self.product(&self.kernels.logits, shape, &before, head, &after) }
    }

    /// Launches the kernel for this many columns, with the matrix among its arguments.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    unsafe fn product(
        &self,
        kernels: &[Kernel; 3],
        shape: Shape,
        before: &[Arg],
        weight: &Packed,
        after: &[Arg],
    ) -> Result<()> {
        let i = COLUMN_COUNTS.iter().position(|&c| c == self.n_columns);
        let kernel = &kernels[i.expect("a step has one of COLUMN_COUNTS columns")];
        let args = [before, &weight.args(), after].concat();
        // SAFETY: the caller vouches for the arguments.
        unsafe { self.gpu.launch(kernel, shape, &args) }
    }

    /// The launch of a product; `has_planes` where the input goes through shared memory.
    fn linear(&self, weight: &Packed, has_planes: bool) -> Shape {
        let n_slices = weight.n_slices();
        let groups = (WARPS / n_slices).max(1);
        let n_groups = (weight.n_rows as u32).div_ceil(TILE_ROWS);
        let planes = if has_planes { 4 * planes_len(weight.n_cols) as u32 * self.n_columns } else { 0 };
        let parts = 4 * TILE_ROWS * self.n_columns * n_slices * groups;
        Shape {
            grid: [n_groups.div_ceil(groups), 1, 1],
            block: WARP * n_slices * groups,
            shared: planes + parts,
            overlaps: true,
        }
    }
}

/// Warps of a product's block, where its slices allow.
const WARPS: u32 = 4;

/// Blocks of the logits' product that a multiprocessor holds at once.
const BLOCKS_PER_SM: u32 = 4;

fn n_rows_of(matrix: &Packed) -> u32 {
    matrix.n_rows as u32
}
