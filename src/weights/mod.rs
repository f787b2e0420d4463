//! Memory-mapped safetensors -> named, shape-checked tensors.
//!
//! fp16 and fp32 matrices are used in place from the map; bf16 and unaligned ones are widened or copied once, exactly.
//! Vectors (biases and LayerNorm parameters, under 1 % of a model) are kept as fp32. Called by the engine; backends read
//! the fields of [`Weights`]. Tested in `tests/malformed_weights/` and `tests/formats.rs`.
//!
//! - `header`, `file`: one safetensors file, checked and mapped.
//! - [`checkpoint`]: the files of a model, their tensors under one set of names.
//! - `load`: those tensors held against config.json, and made into [`Weights`].
//! - `scan`: the search for NaN and infinity.
//! - [`mapped`]: what is mapped where, for a program's signal handler.

pub mod checkpoint;
mod error;
pub(crate) mod expected;
mod file;
mod header;
pub(crate) mod load;
pub mod mapped;
mod random;
mod scan;

pub use error::WeightsError;
pub(crate) use file::read_text;

use crate::{Config, source::LoadOptions};
use checkpoint::Checkpoint;
use file::Bytes;
use half::f16;
use std::{path::Path, sync::Arc};

#[cfg(target_endian = "big")]
compile_error!("weights are used as stored, which is little-endian");

/// A range of a weights file, or values of our own.
#[derive(Clone, Debug)]
enum Storage {
    /// Aligned for its elements: checked where it is made, in `load`.
    Span {
        bytes: Arc<Bytes>,
        start: usize,
        len: usize,
        half: bool,
    },
    F16(Arc<[f16]>),
    F32(Arc<[f32]>),
}

/// The elements of a [`Matrix`], row-major.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// IEEE half precision.
    F16(&'a [f16]),
    /// IEEE single precision.
    F32(&'a [f32]),
}

impl Elements<'_> {
    /// Element `i`, widened.
    pub fn get(&self, i: usize) -> f32 {
        match self {
            Self::F16(values) => values[i].to_f32(),
            Self::F32(values) => values[i],
        }
    }

    /// Bytes of one element.
    pub fn width(&self) -> usize {
        match self {
            Self::F16(_) => 2,
            Self::F32(_) => 4,
        }
    }
}

/// A matrix of the checkpoint, row-major.
#[derive(Clone, Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
}

impl Matrix {
    /// A matrix `[rows, cols]` of fp32 values.
    pub fn from_f32(rows: usize, cols: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix has rows * cols elements");
        Self { rows, cols, storage: Storage::F32(values.into()) }
    }

    /// A matrix `[rows, cols]` of fp16 values.
    pub fn from_f16(rows: usize, cols: usize, values: Arc<[f16]>) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix has rows * cols elements");
        Self { rows, cols, storage: Storage::F16(values) }
    }

    /// Rows, the outer dimension.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, the inner dimension.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The elements, `[rows, cols]`.
    pub fn elements(&self) -> Elements<'_> {
        match &self.storage {
            Storage::F16(values) => Elements::F16(values),
            Storage::F32(values) => Elements::F32(values),
            Storage::Span { bytes, start, len, half } => {
                let bytes = &(**bytes).as_ref()[*start..*start + *len];
                match half {
                    true => Elements::F16(bytemuck::cast_slice(bytes)),
                    false => Elements::F32(bytemuck::cast_slice(bytes)),
                }
            }
        }
    }

    /// Bytes of all elements: what a product with this matrix reads.
    pub fn n_bytes(&self) -> usize {
        self.rows * self.cols * self.elements().width()
    }
}

/// `y = x · weight + bias`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[in, out]`, as GPT-2's Conv1D stores it.
    pub weight: Matrix,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// `y = (x - mean) / √(variance + ε) · weight + bias`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[C]`.
    pub weight: Vec<f32>,
    /// `[C]`.
    pub bias: Vec<f32>,
}

/// Queries, keys and values, and the projection back.
#[derive(Clone, Debug)]
pub struct Attention {
    /// `[C, 3C]`: queries, keys, values.
    pub c_attn: Linear,
    /// `[C, C]`.
    pub c_proj: Linear,
}

/// The feed-forward half of a layer.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// `[C, F]`.
    pub c_fc: Linear,
    /// `[F, C]`.
    pub c_proj: Linear,
}

/// One Transformer layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Before attention.
    pub ln_1: LayerNorm,
    /// Attention.
    pub attn: Attention,
    /// Before the MLP.
    pub ln_2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
}

/// A whole model, under the checkpoint's names.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Its shape.
    pub config: Config,
    /// Token embeddings, `[V, C]`.
    pub wte: Matrix,
    /// Position embeddings, `[N, C]`.
    pub wpe: Matrix,
    /// The layers.
    pub h: Vec<Layer>,
    /// Before the logits.
    pub ln_f: LayerNorm,
    /// `[V, C]`, where the logits are not made with `wte`.
    pub lm_head: Option<Matrix>,
}

impl Weights {
    /// Opens a folder that holds config.json and model.safetensors, or an index of shards.
    ///
    /// The files are mapped. Replacing or deleting them while the weights live is safe: the old ones stay. Writing to
    /// them in place is not supported: [`changed_on_disk`](Self::changed_on_disk) detects it, and a file that becomes
    /// shorter ends the process with SIGBUS when the missing part is read. [`LoadOptions::read`] avoids both.
    pub fn open(folder: &Path) -> crate::Result<Self> {
        Self::open_with(folder, &LoadOptions::default())
    }

    /// [`open`](Self::open) with options.
    pub fn open_with(folder: &Path, options: &LoadOptions) -> crate::Result<Self> {
        Checkpoint::open(folder, options)?.weights(options)
    }

    /// The model that is compiled into the crate.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Self {
        // Not scanned: `tests/formats.rs` does.
        let options = LoadOptions { allow_nonfinite: true, ..LoadOptions::default() };
        Checkpoint::bundled().and_then(|c| c.weights(&options)).expect("the bundled model is valid")
    }

    /// Every matrix: what a forward call reads, plus `wpe`.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.h.iter().flat_map(|layer| {
            [&layer.attn.c_attn, &layer.attn.c_proj, &layer.mlp.c_fc, &layer.mlp.c_proj].map(|l| &l.weight)
        });
        [&self.wte, &self.wpe].into_iter().chain(layers).chain(&self.lm_head)
    }

    /// What the user should know about these weights, for the program to show: matrices of fp32, as fp32 and bf16
    /// checkpoints give, cost twice the memory traffic of fp16.
    pub fn notice(&self) -> Option<String> {
        let is_wide = |matrix: &&Matrix| matrix.elements().width() == size_of::<f32>();
        let bytes: usize = self.matrices().filter(is_wide).map(Matrix::n_bytes).sum();
        (bytes > 0).then(|| {
            let megabytes = bytes as f64 / 1e6;
            format!(
                "{megabytes:.0} MB of the weights are fp32: `halfwarp convert` writes fp16, which halves what each token reads"
            )
        })
    }

    /// A mapped file that was written to since it was opened: the weights may have changed under the engine. Costs one
    /// system call per file.
    pub fn changed_on_disk(&self) -> Option<&Path> {
        let mut files: Vec<&Arc<Bytes>> = Vec::new();
        for matrix in self.matrices() {
            if let Storage::Span { bytes, .. } = &matrix.storage
                && !files.iter().any(|file| Arc::ptr_eq(file, bytes))
            {
                files.push(bytes);
            }
        }
        files.into_iter().find_map(|file| file.changed())
    }
}
