//! The launcher of `kernels/layernorm_prefill.cu`.

use super::{
    super::{
        driver::Shape,
        images::constants::{LAYERNORM_ROWS, WARP},
    },
    Dims, Norm, Prompt, PromptActivations, Traffic, padded,
};
use crate::backend::Result;

impl Prompt<'_> {
    /// `h = norm(residual)`.
    pub fn layernorm(&self, act: &mut PromptActivations, norm: &Norm) -> Result<()> {
        let dims = self.dims;
        let grid = [self.n_tokens().div_ceil(LAYERNORM_ROWS), 1, 1];
        let shape = Shape { grid, block: WARP * LAYERNORM_ROWS, shared: 0, overlaps: true };
        let args = [
            (&mut act.h).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            self.n_tokens().into(),
            dims.n_embd.into(),
            (padded(dims.n_embd as usize) as u32).into(),
            dims.eps.into(),
        ];
        // SAFETY: order and types follow kernels/layernorm_prefill.cu. It touches n_tokens rows of the residual and of both
        // planes of `h`, which have MAX_TOKENS, and C elements of gain and shift.
        unsafe { self.gpu.launch(&self.kernels.layernorm_prefill, shape, &args) }
    }
}

/// Distinct bytes that `layernorm` touches.
pub const fn layernorm_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    let c = dims.n_embd as usize;
    Traffic { read: n_tokens * 4 * c + 2 * 4 * c, written: n_tokens * 2 * 2 * c }
}
