//! The weights on the device: copied from the map through two pinned buffers, and packed there.
//!
//! Each piece of a matrix goes file -> pinned memory -> device -> packed matrix; while one piece travels, the next is copied into
//! the other pinned buffer. fp32 matrices are rounded to fp16 on the way.

use super::{
    driver::{Buffer, Gpu, Staging},
    images::constants::TILE_K,
    kernels::{Kernels, Linear, Norm, Packed},
};
use crate::{
    Config, Result, Weights,
    weights::{self, Elements, Matrix},
};
use half::f16;

/// Bytes of a piece, at most, where a tile's rows are not more.
pub const PIECE: usize = 8 << 20;

/// A model, ready to run.
#[derive(Debug)]
pub struct Model {
    /// Token embeddings, `[V, C]`.
    pub wte: Packed,
    /// Position embeddings, `[N, C]`, fp16, row-major.
    pub wpe: Buffer<u16>,
    /// The layers.
    pub h: Vec<Layer>,
    /// Before the logits.
    pub ln_f: Norm,
    /// `[V, C]`, where the logits are not made with `wte`.
    pub lm_head: Option<Packed>,
}

/// One Transformer layer.
#[derive(Debug)]
pub struct Layer {
    /// Before attention.
    pub ln_1: Norm,
    /// Queries, keys and values.
    pub c_attn: Linear,
    /// Back to the residual stream.
    pub attn_c_proj: Linear,
    /// Before the MLP.
    pub ln_2: Norm,
    /// Into the MLP.
    pub c_fc: Linear,
    /// Back to the residual stream.
    pub mlp_c_proj: Linear,
}

/// Bytes that a model of shape `config` takes on a device, and that loading it takes beside.
pub fn n_bytes(config: &Config) -> usize {
    let (c, f, v) = (config.n_embd, config.n_inner, config.n_vocab);
    let linear = |n_in, n_out| 2 * Packed::len(n_out, n_in) + 4 * n_out;
    let layer = linear(c, 3 * c) + linear(c, c) + linear(c, f) + linear(f, c) + 4 * 4 * c;
    let heads = if config.tie_word_embeddings { 1 } else { 2 };
    config.n_layer * layer + heads * 2 * Packed::len(v, c) + 2 * config.n_ctx * c + 8 * c + 2 * PIECE
}

impl Model {
    /// Puts `weights` on the device, calling `progress` with the bytes done and those in all.
    pub fn upload(
        gpu: &Gpu,
        kernels: &Kernels,
        weights: &Weights,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let total = weights.matrices().map(Matrix::n_bytes).sum();
        let mut loader = Loader { gpu, kernels, staging: gpu.staging(PIECE)?, done: 0, total, progress };
        let model = Self {
            wte: loader.rows(&weights.wte)?,
            wpe: gpu.upload(&half_bits(&weights.wpe), "wpe")?,
            h: weights.h.iter().map(|layer| loader.layer(layer)).collect::<Result<_>>()?,
            ln_f: loader.norm(&weights.ln_f)?,
            lm_head: weights.lm_head.as_ref().map(|m| loader.rows(m)).transpose()?,
        };
        gpu.synchronize()?;
        Ok(model)
    }
}

/// What an upload needs.
struct Loader<'a> {
    gpu: &'a Gpu,
    kernels: &'a Kernels,
    staging: Staging,
    done: usize,
    total: usize,
    progress: &'a mut dyn FnMut(usize, usize) -> Result<()>,
}

impl Loader<'_> {
    fn layer(&mut self, layer: &weights::Layer) -> Result<Layer> {
        Ok(Layer {
            ln_1: self.norm(&layer.ln_1)?,
            c_attn: self.linear(&layer.attn.c_attn)?,
            attn_c_proj: self.linear(&layer.attn.c_proj)?,
            ln_2: self.norm(&layer.ln_2)?,
            c_fc: self.linear(&layer.mlp.c_fc)?,
            mlp_c_proj: self.linear(&layer.mlp.c_proj)?,
        })
    }

    fn norm(&self, norm: &weights::LayerNorm) -> Result<Norm> {
        Ok(Norm {
            gain: self.gpu.upload(&norm.weight, "a LayerNorm")?,
            shift: self.gpu.upload(&norm.bias, "a LayerNorm")?,
        })
    }

    /// A matrix `[in, out]`, as GPT-2's Conv1D keeps it.
    fn linear(&mut self, linear: &weights::Linear) -> Result<Linear> {
        let from = &linear.weight;
        let weight =
            self.packed(from, from.cols(), from.rows(), TILE_K as usize, Kernels::pack_transposed)?;
        Ok(Linear { weight, bias: self.gpu.upload(&linear.bias, "a bias")? })
    }

    /// A matrix `[V, C]`.
    fn rows(&mut self, from: &Matrix) -> Result<Packed> {
        self.packed(from, from.rows(), from.cols(), 1, Kernels::pack_rows)
    }

    /// Packs `from` piece by piece, each a multiple of `unit` rows of it.
    fn packed(
        &mut self,
        from: &Matrix,
        n_rows: usize,
        n_cols: usize,
        unit: usize,
        pack: Pack,
    ) -> Result<Packed> {
        let pieces = self.gpu.alloc(Packed::len(n_rows, n_cols), "a weight matrix")?;
        let mut packed = Packed { pieces, n_rows, n_cols };
        let (bytes, width): (&[u8], usize) = match from.elements() {
            Elements::F16(values) => (bytemuck::cast_slice(values), 2),
            Elements::F32(values) => (bytemuck::cast_slice(values), 4),
        };
        let row_len = from.cols() * width;
        let len = (PIECE / row_len / unit).max(1) * unit;
        for (i, piece) in bytes.chunks(len * row_len).enumerate() {
            let on_device = self.staging.send(self.gpu, piece)?;
            pack(
                self.kernels,
                self.gpu,
                &mut packed,
                on_device,
                (i * len, piece.len() / row_len),
                width == 4,
            )?;
            self.done += piece.len();
            (self.progress)(self.done, self.total)?;
        }
        Ok(packed)
    }
}

/// [`Kernels::pack_rows`] or [`Kernels::pack_transposed`].
type Pack = fn(&Kernels, &Gpu, &mut Packed, &Buffer<u8>, (usize, usize), bool) -> Result<()>;

/// The elements in fp16.
fn half_bits(matrix: &Matrix) -> Vec<u16> {
    match matrix.elements() {
        Elements::F16(values) => values.iter().map(|v| v.to_bits()).collect(),
        Elements::F32(values) => values.iter().map(|&v| f16::from_f32(v).to_bits()).collect(),
    }
}
