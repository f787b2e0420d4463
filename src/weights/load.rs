//! A checkpoint's tensors held against config.json, and made into [`Weights`].
//!
//! Everything is checked before anything is converted, so one error names every problem. Linear layers come as GPT-2's
//! Conv1D stores them, `[in, out]`, or as `nn.Linear` does, `[out, in]`; the latter are transposed once. Tensors that
//! are no part of GPT-2 (masks, heads for other tasks) are ignored, as Hugging Face does, and listed by `halfwarp info`;
//! those of layers that config.json does not count are refused, because ignoring them changes the result.

use super::{
    Attention, Layer, LayerNorm, Linear, Matrix, Mlp, Storage, Weights, WeightsError,
    checkpoint::{Checkpoint, Tensor},
    expected::{Expected, expected},
    scan,
};
use crate::{Result, source::LoadOptions};
use half::{bf16, f16};
use safetensors::Dtype;

impl Checkpoint {
    /// Checks the tensors and makes the model of them.
    pub fn weights(&self, options: &LoadOptions) -> Result<Weights> {
        self.check()?;
        if !options.allow_nonfinite {
            self.check_finite()?;
        }
        Ok(self.build()?)
    }

    /// The tensors that the model needs.
    pub(super) fn expected(&self) -> Vec<Expected> {
        expected(&self.config.config, self.config.has_bias)
    }

    /// Whether the linear layers are stored as `nn.Linear` does. `c_attn` tells: it is never square.
    pub(crate) fn is_transposed(&self) -> bool {
        let width = self.config.config.n_embd;
        self.tensors.get("h.0.attn.c_attn.weight").is_some_and(|t| t.shape == [3 * width, width])
    }

    /// Holds every tensor against what config.json says.
    pub(crate) fn check(&self) -> Result<(), WeightsError> {
        let transposed = self.is_transposed();
        let mut problems = Vec::new();
        for mut entry in self.expected() {
            let name = &entry.name;
            if entry.is_linear && transposed {
                entry.shape.reverse();
            }
            let Some(tensor) = self.tensors.get(name) else {
                problems
                    .push(format!("tensor {name} is missing, expected {:?} {}", entry.shape, entry.fields));
                continue;
            };
            if tensor.shape != entry.shape {
                problems.push(format!(
                    "tensor {name} has shape {:?}, expected {:?} {}",
                    tensor.shape, entry.shape, entry.fields
                ));
            }
            if !matches!(tensor.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32) {
                problems.push(format!("tensor {name} is {:?}, expected F16, BF16 or F32", tensor.dtype));
            }
        }
        problems.extend(self.layers_beyond());
        problems.extend(self.second_head());
        if problems.is_empty() { Ok(()) } else { Err(WeightsError::Mismatch { problems }) }
    }

    /// The tensors that are no part of the model.
    pub(crate) fn ignored(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        let used = self.expected();
        names.retain(|name| !used.iter().any(|entry| entry.name == *name));
        names
    }

    /// Layers of the file that config.json does not count.
    fn layers_beyond(&self) -> Option<String> {
        let n_layer = self.config.config.n_layer;
        let layer = |name: &String| name.strip_prefix("h.")?.split('.').next()?.parse::<usize>().ok();
        let last = self.tensors.keys().filter_map(layer).max()?;
        (last >= n_layer)
            .then(|| format!("the file has layers up to h.{last}, expected {n_layer} of them (n_layer)"))
    }

    /// A head of its own in a model whose head is said to be `wte`. Exports that hold the tied matrix twice are fine.
    fn second_head(&self) -> Option<String> {
        if !self.config.config.tie_word_embeddings {
            return None;
        }
        let (head, wte) = (self.tensors.get("lm_head.weight")?, self.tensors.get("wte.weight")?);
        let same = head.dtype == wte.dtype && head.shape == wte.shape && head.data() == wte.data();
        (!same).then(|| {
            "tensor lm_head.weight differs from wte.weight, expected the same values (tie_word_embeddings is true; \
             set it to false to use lm_head.weight)"
                .into()
        })
    }

    /// Searches the model's tensors for NaN and infinity.
    pub(crate) fn check_finite(&self) -> Result<(), WeightsError> {
        let used: Vec<(String, &Tensor)> = self
            .expected()
            .into_iter()
            .filter_map(|entry| self.tensors.get(&entry.name).map(|tensor| (entry.name, tensor)))
            .collect();
        let found = scan::nonfinite(used.iter().map(|(_, tensor)| (tensor.dtype, tensor.data())));
        if found.is_empty() {
            return Ok(());
        }
        let describe = |hit: &scan::Hit| {
            let (name, tensor) = &used[hit.tensor];
            let (plural, at) =
                (if hit.count == 1 { "value" } else { "values" }, index(hit.first, &tensor.shape));
            format!("tensor {name} has {} non-finite {plural}, first at {at:?}", hit.count)
        };
        Err(WeightsError::NonFinite { tensors: found.iter().map(describe).collect() })
    }

    /// Makes the model of tensors that [`check`](Self::check) passed.
    fn build(&self) -> Result<Weights, WeightsError> {
        let config = self.config.config.clone();
        let layer = |i: usize| {
            Ok(Layer {
                ln_1: self.norm(&format!("h.{i}.ln_1"))?,
                attn: Attention {
                    c_attn: self.linear(&format!("h.{i}.attn.c_attn"))?,
                    c_proj: self.linear(&format!("h.{i}.attn.c_proj"))?,
                },
                ln_2: self.norm(&format!("h.{i}.ln_2"))?,
                mlp: Mlp {
                    c_fc: self.linear(&format!("h.{i}.mlp.c_fc"))?,
                    c_proj: self.linear(&format!("h.{i}.mlp.c_proj"))?,
                },
            })
        };
        let lm_head =
            (!config.tie_word_embeddings).then(|| self.get("lm_head.weight").map(matrix)).transpose()?;
        Ok(Weights {
            wte: matrix(self.get("wte.weight")?),
            wpe: matrix(self.get("wpe.weight")?),
            h: (0..config.n_layer).map(layer).collect::<Result<_, WeightsError>>()?,
            ln_f: self.norm("ln_f")?,
            lm_head,
            config,
        })
    }

    fn get(&self, name: &str) -> Result<&Tensor, WeightsError> {
        let missing = || WeightsError::Mismatch { problems: vec![format!("tensor {name} is missing")] };
        self.tensors.get(name).ok_or_else(missing)
    }

    /// One tensor of a checkpoint that passed [`check`](Self::check), as Conv1D stores it; a vector is one row. The
    /// biases of a model without any are zeros.
    pub(crate) fn tensor(&self, entry: &Expected) -> Result<Matrix, WeightsError> {
        if entry.name.ends_with(".bias") && !self.config.has_bias {
            return Ok(Matrix::from_f32(1, entry.len(), vec![0.0; entry.len()]));
        }
        let stored = matrix(self.get(&entry.name)?);
        Ok(if entry.is_linear && self.is_transposed() { transpose(&stored) } else { stored })
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, WeightsError> {
        let weight = vector(self.get(&format!("{name}.weight"))?);
        Ok(LayerNorm { bias: self.bias(name, weight.len())?, weight })
    }

    fn linear(&self, name: &str) -> Result<Linear, WeightsError> {
        let stored = matrix(self.get(&format!("{name}.weight"))?);
        let weight = if self.is_transposed() { transpose(&stored) } else { stored };
        Ok(Linear { bias: self.bias(name, weight.cols())?, weight })
    }

    /// The bias of a layer, zeros in a model without biases.
    fn bias(&self, name: &str, len: usize) -> Result<Vec<f32>, WeightsError> {
        if !self.config.has_bias {
            return Ok(vec![0.0; len]);
        }
        Ok(vector(self.get(&format!("{name}.bias"))?))
    }
}

/// A tensor of one or two dimensions: in place where its type and alignment allow, otherwise copied.
fn matrix(tensor: &Tensor) -> Matrix {
    let cols = tensor.shape.last().copied().unwrap_or(1);
    let rows = tensor.shape.iter().product::<usize>() / cols.max(1);
    let data = tensor.data();
    let aligned = match tensor.dtype {
        Dtype::F16 => bytemuck::try_cast_slice::<u8, f16>(data).is_ok(),
        Dtype::F32 => bytemuck::try_cast_slice::<u8, f32>(data).is_ok(),
        _ => false,
    };
    let storage = match tensor.dtype {
        dtype if aligned => Storage::Span {
            bytes: tensor.file.clone(),
            start: tensor.range.start,
            len: tensor.range.len(),
            half: dtype == Dtype::F16,
        },
        Dtype::F16 => Storage::F16(halves(data).map(f16::from_bits).collect()),
        _ => Storage::F32(vector(tensor).into()),
    };
    Matrix { rows, cols, storage }
}

/// The values of a tensor, widened: exact for all three types.
fn vector(tensor: &Tensor) -> Vec<f32> {
    let data = tensor.data();
    match tensor.dtype {
        Dtype::F16 => halves(data).map(|bits| f16::from_bits(bits).to_f32()).collect(),
        Dtype::BF16 => halves(data).map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        _ => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
    }
}

fn halves(data: &[u8]) -> impl Iterator<Item = u16> {
    data.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes))
}

fn transpose(matrix: &Matrix) -> Matrix {
    fn transposed<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
        (0..cols).flat_map(|c| (0..rows).map(move |r| values[r * cols + c])).collect()
    }
    let (rows, cols) = (matrix.rows, matrix.cols);
    let storage = match matrix.elements() {
        super::Elements::F16(values) => Storage::F16(transposed(values, rows, cols).into()),
        super::Elements::F32(values) => Storage::F32(transposed(values, rows, cols).into()),
    };
    Matrix { rows: cols, cols: rows, storage }
}

/// Where element `i` of a row-major tensor is.
pub(crate) fn index(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let within = i % dim;
            i /= dim;
            within
        })
        .collect();
    at.reverse();
    at
}
