//! The weights on the device: copied from the map through two pinned buffers, and packed there.
//!
//! Each piece of a matrix goes file -> pinned memory -> device -> packed matrix; while one piece travels, the next is copied into
//! the other pinned buffer. fp32 and bf16 matrices are rounded to fp16 on the way.

use super::{
    driver::{Buffer, Gpu, Staging},
    images::constants::TILE_K,
    kernels::{Kernels, Linear, Norm, Packed},
};
use crate::{
    Config, Weights,
    backend::{BackendError, Progress, Result},
    config::Positions,
    family::Layout,
    weights::{self, Matrix, StoredType},
};
use half::{bf16, f16};
use std::borrow::Cow;

/// Bytes of a piece, at most, where a tile's rows are not more.
pub const PIECE: usize = 8 << 20;

/// A model, ready to run.
#[derive(Debug)]
pub struct Model {
    /// Token embeddings, `[V, C]`.
    pub token_embd: Packed,
    /// Position embeddings, `[N, C]`, fp16, row-major.
    pub position_embd: Buffer<u16>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Before the logits.
    pub out_norm: Norm,
    /// `[V, C]`, where the logits are not made with the token embeddings.
    pub head: Option<Packed>,
}

/// One Transformer layer.
#[derive(Debug)]
pub struct Layer {
    /// Before attention.
    pub attn_norm: Norm,
    /// Queries, keys and values.
    pub qkv: Linear,
    /// Back to the residual stream.
    pub attn_out: Linear,
    /// Before the MLP.
    pub mlp_norm: Norm,
    /// Into the MLP.
    pub up: Linear,
    /// Back to the residual stream.
    pub down: Linear,
}

/// Bytes that a model of shape `config` takes on a device, and that loading it takes beside.
pub fn n_bytes(config: &Config) -> usize {
    let (c, f, v) = (config.n_embd, config.mlp.n_inner, config.n_vocab);
    let linear = |n_in, n_out| 2 * Packed::len(n_out, n_in) + 4 * n_out;
    let layer = linear(c, 3 * c) + linear(c, c) + linear(c, f) + linear(f, c) + 4 * 4 * c;
    let tables = if config.tied { 1 } else { 2 };
    let positions = match config.positions {
        Positions::Learned => 2 * config.n_ctx * c,
    };
    config.n_layer * layer + tables * 2 * Packed::len(v, c) + positions + 8 * c + 2 * PIECE
}

impl Model {
    /// The matrix that makes the logits.
    pub fn head(&self) -> &Packed {
        self.head.as_ref().unwrap_or(&self.token_embd)
    }

    /// Puts `weights` on the device, calling `progress` with the bytes done and those in all.
    pub fn upload(gpu: &Gpu, kernels: &Kernels, weights: &Weights, progress: &mut Progress) -> Result<Self> {
        let total = weights.matrices().map(Matrix::n_bytes).sum();
        let mut loader = Loader { gpu, kernels, staging: gpu.staging(PIECE)?, done: 0, total, progress };
        let model = Self {
            token_embd: loader.table(&weights.token_embd)?,
            position_embd: gpu
                .upload(&half_bits(&weights.position_embd, weights.config.n_ctx), "position embeddings")?,
            layers: weights.layers.iter().map(|layer| loader.layer(layer)).collect::<Result<_>>()?,
            out_norm: loader.norm(&weights.out_norm)?,
            head: weights.head.as_ref().map(|head| loader.table(head)).transpose()?,
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
    progress: &'a mut Progress<'a>,
}

impl Loader<'_> {
    fn layer(&mut self, layer: &weights::Layer) -> Result<Layer> {
        Ok(Layer {
            attn_norm: self.norm(&layer.attn_norm)?,
            qkv: self.linear(&layer.qkv)?,
            attn_out: self.linear(&layer.attn_out)?,
            mlp_norm: self.norm(&layer.mlp_norm)?,
            up: self.linear(&layer.up)?,
            down: self.linear(&layer.down)?,
        })
    }

    fn norm(&self, norm: &weights::Norm) -> Result<Norm> {
        Ok(Norm {
            gain: self.gpu.upload(&norm.weight, "a LayerNorm")?,
            shift: self.gpu.upload(&or_zeros(&norm.bias, norm.weight.len()), "a LayerNorm")?,
        })
    }

    fn linear(&mut self, linear: &weights::Linear) -> Result<Linear> {
        let bias = or_zeros(&linear.bias, linear.n_out());
        Ok(Linear { weight: self.packed(&linear.parts)?, bias: self.gpu.upload(&bias, "a bias")? })
    }

    fn table(&mut self, table: &Matrix) -> Result<Packed> {
        self.packed(std::slice::from_ref(table))
    }

    /// Packs the parts of a matrix, one under the other.
    fn packed(&mut self, parts: &[Matrix]) -> Result<Packed> {
        let n_rows = parts.iter().map(Matrix::n_out).sum();
        let n_cols = parts.first().map_or(0, Matrix::n_in);
        let pieces = self.gpu.alloc(Packed::len(n_rows, n_cols), "a weight matrix")?;
        let mut packed = Packed { pieces, n_rows, n_cols };
        let mut first = 0;
        for part in parts {
            match part.layout() {
                Layout::OutIn => self.pieces(&mut packed, part, (first, 1), Kernels::pack_rows)?,
                Layout::InOut => {
                    assert_eq!(parts.len(), 1, "a matrix [in, out] holds all outputs of its layer");
                    self.pieces(&mut packed, part, (0, TILE_K as usize), Kernels::pack_transposed)?;
                }
            }
            first += part.n_out();
        }
        Ok(packed)
    }

    /// Packs `from` piece by piece, each a multiple of `unit` rows as they are stored; they follow the `first` rows that are
    /// packed.
    fn pieces(
        &mut self,
        packed: &mut Packed,
        from: &Matrix,
        (first, unit): (usize, usize),
        pack: Pack,
    ) -> Result<()> {
        let row_len = match from.layout() {
            Layout::InOut => from.n_out(),
            Layout::OutIn => from.n_in(),
        };
        let (stored, sent) = (from.stored_type().width(), sent_width(from.stored_type()));
        let len = (PIECE / (row_len * sent) / unit).max(1) * unit;
        for (i, piece) in from.elements().bytes().chunks(len * row_len * stored).enumerate() {
            let on_device = self.staging.send(self.gpu, &sent_bytes(from.stored_type(), piece))?;
            let rows = (first + i * len, piece.len() / (row_len * stored));
            pack(self.kernels, self.gpu, packed, on_device, rows, sent == 4)?;
            self.done += piece.len();
            if (self.progress)(self.done, self.total).is_break() {
                return Err(BackendError::Cancelled);
            }
        }
        Ok(())
    }
}

/// [`Kernels::pack_rows`] or [`Kernels::pack_transposed`].
type Pack = fn(&Kernels, &Gpu, &mut Packed, &Buffer<u8>, (usize, usize), bool) -> Result<()>;

/// Bytes of an element as it travels: bf16 is widened to fp32.
fn sent_width(stored: StoredType) -> usize {
    match stored {
        StoredType::F16 => 2,
        StoredType::F32 | StoredType::Bf16 => 4,
    }
}

/// A piece of a matrix as it travels.
fn sent_bytes(stored: StoredType, piece: &[u8]) -> Cow<'_, [u8]> {
    match stored {
        StoredType::F16 | StoredType::F32 => piece.into(),
        StoredType::Bf16 => {
            let halves: &[bf16] = bytemuck::cast_slice(piece);
            halves.iter().flat_map(|v| v.to_f32().to_ne_bytes()).collect()
        }
    }
}

/// The first `n_rows` rows of a table in fp16.
fn half_bits(table: &Matrix, n_rows: usize) -> Vec<u16> {
    let elements = table.elements();
    (0..n_rows * table.n_in()).map(|i| f16::from_f32(elements.get(i)).to_bits()).collect()
}

fn or_zeros(bias: &Option<Vec<f32>>, len: usize) -> Cow<'_, [f32]> {
    bias.as_deref().map_or_else(|| vec![0.0; len].into(), Cow::from)
}
