//! The launcher of `kernels/attention_decode.cu`: attention of each column of a step, left by chunks.

use super::{
    super::{
        driver::Shape,
        images::constants::{CHUNK_PAGES, PAGE_LEN, WARP},
    },
    Activations, Dims, Pages, Step, Traffic,
};
use crate::backend::Result;

impl Step<'_> {
    /// Attention of every column, left by chunks for [`attn_out`](Self::attn_out).
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
        unsafe { self.gpu.launch(&self.kernels.attention_decode, shape, &args) }
    }
}

/// Distinct bytes that decode's `attention` touches for columns at `positions` of sequences that share no page.
pub const fn attention_traffic(dims: &Dims, positions: &[usize]) -> Traffic {
    let (c, h) = (dims.n_embd as usize, dims.n_head as usize);
    let mut traffic = Traffic { read: 0, written: 0 };
    let mut t = 0;
    while t < positions.len() {
        let n_keys = positions[t] + 1;
        let step = 4 * (1 + n_keys.div_ceil(PAGE_LEN as usize));
        traffic.read += step + 4 * c + n_keys * 2 * 4 * h * dims.padded_dim();
        traffic.written += dims.chunk_bytes(n_keys);
        t += 1;
    }
    traffic
}
