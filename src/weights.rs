//! Memory-mapped safetensors -> named, shape-checked tensors.
//!
//! fp16 and fp32 matrices are used in place from the map; bf16 and unaligned ones are widened or copied once. Vectors
//! (biases and LayerNorm parameters, under 1 % of a model) are kept as fp32. Called by the engine; backends read the
//! fields of [`Weights`]. Tested in `tests/malformed_weights.rs` and `tests/formats.rs`.

mod random;

use crate::Config;
use half::f16;
use safetensors::{Dtype, SafeTensors};
use std::{path::Path, sync::Arc};

/// The bytes of a weights file.
#[derive(Debug)]
enum Bytes {
    Map(memmap2::Mmap),
    #[cfg_attr(not(feature = "bundled"), allow(dead_code))]
    Static(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

/// A range of a weights file, or values of our own.
#[derive(Clone, Debug)]
enum Storage {
    Span { bytes: Arc<Bytes>, start: usize, len: usize },
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
    half: bool,
    storage: Storage,
}

impl Matrix {
    /// A matrix `[rows, cols]` of fp32 values.
    pub fn from_f32(rows: usize, cols: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix has rows * cols elements");
        Self { rows, cols, half: false, storage: Storage::F32(values.into()) }
    }

    /// A matrix `[rows, cols]` of fp16 values.
    pub fn from_f16(rows: usize, cols: usize, values: Arc<[f16]>) -> Self {
        assert_eq!(values.len(), rows * cols, "a matrix has rows * cols elements");
        Self { rows, cols, half: true, storage: Storage::F16(values) }
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
            Storage::Span { bytes, start, len } => {
                let bytes = &(**bytes).as_ref()[*start..*start + *len];
                if self.half {
                    Elements::F16(bytemuck::cast_slice(bytes))
                } else {
                    Elements::F32(bytemuck::cast_slice(bytes))
                }
            }
        }
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
    /// Opens a folder that holds config.json and model.safetensors.
    pub fn open(folder: &Path) -> crate::Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|source| WeightsError::Io { path: path.clone(), source })?;
        let path = folder.join("model.safetensors");
        let io = |source| WeightsError::Io { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(io)?;
        // SAFETY: the map is read-only and private to this process; a file that another process truncates while it is
        // mapped ends the process with SIGBUS, which the documentation of `Weights` states.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::from_bytes(Config::from_json(&text)?, Bytes::Map(map))
    }

    /// The model that is compiled into the crate.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Self {
        #[repr(align(64))]
        struct Aligned<T: ?Sized>(T);
        static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../models/tales/model.safetensors"));
        let config = Config::from_json(include_bytes!("../models/tales/config.json"))
            .expect("the bundled model is valid");
        Self::from_bytes(config, Bytes::Static(&MODEL.0)).expect("the bundled model is valid")
    }

    fn from_bytes(config: Config, bytes: Bytes) -> crate::Result<Self> {
        let bytes = Arc::new(bytes);
        let tensors =
            SafeTensors::deserialize((*bytes).as_ref()).map_err(|e| WeightsError::Header(e.to_string()))?;
        let view = |name: &str| {
            tensors
                .tensor(&format!("transformer.{name}"))
                .or_else(|_| tensors.tensor(name))
                .map_err(|_| WeightsError::Missing { name: name.to_string() })
        };
        let matrix = |name: &str| -> Result<Matrix, WeightsError> {
            let view = view(name)?;
            let start = view.data().as_ptr() as usize - (*bytes).as_ref().as_ptr() as usize;
            Ok(Matrix {
                rows: view.shape()[0],
                cols: view.shape()[1],
                half: view.dtype() == Dtype::F16,
                storage: Storage::Span { bytes: bytes.clone(), start, len: view.data().len() },
            })
        };
        let vector = |name: &str| -> Result<Vec<f32>, WeightsError> {
            let view = view(name)?;
            Ok(match view.dtype() {
                Dtype::F16 => {
                    view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
                }
                _ => view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
            })
        };
        let norm = |name: &str| -> Result<LayerNorm, WeightsError> {
            Ok(LayerNorm {
                weight: vector(&format!("{name}.weight"))?,
                bias: vector(&format!("{name}.bias"))?,
            })
        };
        let linear = |name: &str| -> Result<Linear, WeightsError> {
            Ok(Linear { weight: matrix(&format!("{name}.weight"))?, bias: vector(&format!("{name}.bias"))? })
        };
        let layer = |i: usize| -> Result<Layer, WeightsError> {
            Ok(Layer {
                ln_1: norm(&format!("h.{i}.ln_1"))?,
                attn: Attention {
                    c_attn: linear(&format!("h.{i}.attn.c_attn"))?,
                    c_proj: linear(&format!("h.{i}.attn.c_proj"))?,
                },
                ln_2: norm(&format!("h.{i}.ln_2"))?,
                mlp: Mlp {
                    c_fc: linear(&format!("h.{i}.mlp.c_fc"))?,
                    c_proj: linear(&format!("h.{i}.mlp.c_proj"))?,
                },
            })
        };
        Ok(Self {
            wte: matrix("wte.weight")?,
            wpe: matrix("wpe.weight")?,
            h: (0..config.n_layer).map(layer).collect::<Result<_, _>>()?,
            ln_f: norm("ln_f")?,
            lm_head: None,
            config,
        })
    }
}

/// Why a weights file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is malformed.
    #[error("header: {0}")]
    Header(String),
    /// A tensor is not there.
    #[error("tensor {name} is missing")]
    Missing {
        /// The checkpoint's name for it, without prefix.
        name: String,
    },
}
