//! A model's tensors in their places, each under its role, in the type and layout in which it is stored.
//!
//! Matrices are used in place from the map, fp32, fp16 and bf16, `[in, out]` and `[out, in]`; one that is not aligned for its
//! type is copied once. Vectors (biases and norms, under 1 % of a model) are kept as fp32. Called by the engine; backends
//! read the fields of [`Weights`]. Tested in `tests/malformed_weights/` and `tests/formats.rs`.
//!
//! - [`checkpoint`]: the files of a model, held against its description.
//! - `matrix`: one matrix.
//! - `extra`: the files beside the weights.
//! - `scan`: the search for NaN and infinity.
//! - `random`: weights of any shape, for benchmarks and tests.

#[cfg(feature = "bundled")]
pub(crate) mod bundled;
pub mod checkpoint;
mod error;
pub(crate) mod extra;
mod matrix;
mod random;
mod scan;

pub use error::WeightsError;
pub(crate) use matrix::with_elements;
pub use matrix::{Elements, Matrix, StoredType};

use crate::{
    Config,
    family::{Param, Role, Slot},
};
use checkpoint::Checkpoint;
use std::path::Path;

#[cfg(target_endian = "big")]
compile_error!("weights are used as stored, which is little-endian");

/// How weights are read.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Reads the files into memory instead of mapping them, in huge pages where the system has them: costs their size in
    /// memory and the time to copy it, makes decode on a CPU faster, and survives their truncation.
    pub read: bool,
    /// Accepts NaN and infinite weights, and skips the search for them.
    pub allow_nonfinite: bool,
}

/// `y = weight x + bias`, the outputs of the parts side by side.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    /// All with the same inputs.
    pub parts: Vec<Matrix>,
    /// `[out]`.
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    /// Inputs.
    pub fn n_in(&self) -> usize {
        self.parts.first().map_or(0, Matrix::n_in)
    }

    /// Outputs of all parts together.
    pub fn n_out(&self) -> usize {
        self.parts.iter().map(Matrix::n_out).sum()
    }
}

/// `y = (x - mean) / √(variance + eps) · weight + bias`.
#[derive(Clone, Debug, Default)]
pub struct Norm {
    /// `[C]`.
    pub weight: Vec<f32>,
    /// `[C]`.
    pub bias: Option<Vec<f32>>,
}

/// One Transformer layer.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Before attention.
    pub attn_norm: Norm,
    /// `C -> 3 H D`: queries, keys, values.
    pub qkv: Linear,
    /// `H D -> C`.
    pub attn_out: Linear,
    /// Before the MLP.
    pub mlp_norm: Norm,
    /// `C -> F`.
    pub up: Linear,
    /// `F -> C`.
    pub down: Linear,
}

/// A whole model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// What it computes.
    pub config: Config,
    /// Token embeddings, `[V, C]`.
    pub token_embd: Matrix,
    /// Position embeddings, `[N, C]`.
    pub position_embd: Matrix,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Before the logits.
    pub out_norm: Norm,
    /// `[V, C]`, where the logits are not made with the token embeddings.
    pub head: Option<Matrix>,
    slots: Vec<Slot>,
}

/// What fills a slot.
#[derive(Clone, Debug)]
enum Filling {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

/// What is in a slot.
#[derive(Clone, Copy, Debug)]
pub enum Filled<'a> {
    /// A matrix.
    Matrix(&'a Matrix),
    /// A bias, or a norm's weight.
    Vector(&'a [f32]),
}

impl Weights {
    /// Opens a folder that holds config.json and model.safetensors or pytorch_model.bin, or an index of shards of either.
    ///
    /// The files are mapped. Replacing or deleting them while the weights live is safe: the old ones stay. Writing to
    /// them in place is not supported: [`changed_on_disk`](Self::changed_on_disk) detects it, and a file that becomes
    /// shorter ends the process with SIGBUS when the missing part is read. [`LoadOptions::read`] avoids both.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        Self::open_with(folder, &LoadOptions::default())
    }

    /// [`open`](Self::open) with options.
    pub fn open_with(folder: &Path, options: &LoadOptions) -> Result<Self, WeightsError> {
        Checkpoint::open(folder, options)?.weights(options)
    }

    /// The model that is compiled into the crate. Fails where the crate was built from its package, which has no weights.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Self, WeightsError> {
        // Not scanned: `tests/formats.rs` does.
        let options = LoadOptions { allow_nonfinite: true, ..LoadOptions::default() };
        Checkpoint::bundled()?.weights(&options)
    }

    /// A model whose slots are filled one by one, in their order.
    fn fill<E>(
        config: Config,
        slots: Vec<Slot>,
        mut filling: impl FnMut(&Slot) -> Result<Filling, E>,
    ) -> Result<Self, E> {
        let nothing = || Matrix::from_f32(crate::family::Layout::OutIn, 0, 0, Vec::new());
        let layers = vec![Layer::default(); config.n_layer];
        let mut weights = Self {
            config,
            token_embd: nothing(),
            position_embd: nothing(),
            layers,
            out_norm: Norm::default(),
            head: None,
            slots: Vec::new(),
        };
        for slot in &slots {
            match filling(slot)? {
                Filling::Matrix(matrix) => weights.put_matrix(slot, matrix),
                Filling::Vector(vector) => weights.put_vector(slot, vector),
            }
        }
        weights.slots = slots;
        Ok(weights)
    }

    fn put_matrix(&mut self, slot: &Slot, matrix: Matrix) {
        match slot.role {
            Role::TokenEmbd => self.token_embd = matrix,
            Role::PositionEmbd => self.position_embd = matrix,
            Role::Head => self.head = Some(matrix),
            _ => {
                let parts = &mut self.linear_mut(slot).parts;
                let n_out: usize = parts.iter().map(Matrix::n_out).sum();
                assert_eq!(n_out, slot.part.start, "{}: parts come in the order of their outputs", slot.name);
                parts.push(matrix);
            }
        }
    }

    fn put_vector(&mut self, slot: &Slot, vector: Vec<f32>) {
        let layer = slot.layer.map(|i| &mut self.layers[i]);
        let norm = match (slot.role, layer) {
            (Role::OutNorm, None) => &mut self.out_norm,
            (Role::AttnNorm, Some(layer)) => &mut layer.attn_norm,
            (Role::MlpNorm, Some(layer)) => &mut layer.mlp_norm,
            _ => return self.linear_mut(slot).bias.get_or_insert_default().extend(vector),
        };
        match slot.param {
            Param::Weight => norm.weight = vector,
            Param::Bias => norm.bias = Some(vector),
        }
    }

    fn linear_mut(&mut self, slot: &Slot) -> &mut Linear {
        let layer = slot.layer.map(|i| &mut self.layers[i]);
        match (slot.role, layer) {
            (Role::Qkv, Some(layer)) => &mut layer.qkv,
            (Role::AttnOut, Some(layer)) => &mut layer.attn_out,
            (Role::Up, Some(layer)) => &mut layer.up,
            (Role::Down, Some(layer)) => &mut layer.down,
            _ => panic!("{}: {:?} is no linear layer of one", slot.name, slot.role),
        }
    }

    /// Every tensor with its slot, in the order of the forward pass.
    pub fn tensors(&self) -> impl Iterator<Item = (&Slot, Filled<'_>)> {
        self.slots.iter().map(|slot| (slot, self.tensor(slot)))
    }

    fn tensor(&self, slot: &Slot) -> Filled<'_> {
        let layer = slot.layer.map(|i| &self.layers[i]);
        let linear = |linear| Filled::of_linear(linear, slot);
        let norm = |norm| Filled::of_norm(norm, slot);
        match (slot.role, layer) {
            (Role::TokenEmbd, _) => Filled::Matrix(&self.token_embd),
            (Role::PositionEmbd, _) => Filled::Matrix(&self.position_embd),
            (Role::Head, _) => Filled::Matrix(self.head.as_ref().unwrap_or(&self.token_embd)),
            (Role::OutNorm, _) => norm(&self.out_norm),
            (Role::AttnNorm, Some(layer)) => norm(&layer.attn_norm),
            (Role::MlpNorm, Some(layer)) => norm(&layer.mlp_norm),
            (Role::Qkv, Some(layer)) => linear(&layer.qkv),
            (Role::AttnOut, Some(layer)) => linear(&layer.attn_out),
            (Role::Up, Some(layer)) => linear(&layer.up),
            (Role::Down, Some(layer)) => linear(&layer.down),
            (role, None) => panic!("{}: {role:?} is a role of layers", slot.name),
        }
    }

    /// Every matrix: what a forward call reads, plus the position embeddings.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.tensors().filter_map(|(_, filled)| match filled {
            Filled::Matrix(matrix) => Some(matrix),
            Filled::Vector(_) => None,
        })
    }

    /// The matrix that makes the logits, `[V, C]`.
    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.token_embd)
    }

    /// What the user should know about these weights, for the program to show: matrices of fp32 cost twice the memory
    /// traffic of fp16.
    pub fn notice(&self) -> Option<String> {
        let is_wide = |matrix: &&Matrix| matrix.stored_type() == StoredType::F32;
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
        let mut of_each_file: Vec<&Matrix> = Vec::new();
        for matrix in self.matrices() {
            if matrix.is_in_place() && !of_each_file.iter().any(|other| other.shares_file(matrix)) {
                of_each_file.push(matrix);
            }
        }
        of_each_file.into_iter().find_map(Matrix::changed_on_disk)
    }
}

impl<'a> Filled<'a> {
    fn of_linear(linear: &'a Linear, slot: &Slot) -> Self {
        if slot.param == Param::Bias {
            let bias = linear.bias.as_deref().and_then(|bias| bias.get(slot.part.clone()));
            return Self::Vector(bias.unwrap_or_default());
        }
        let mut start = 0;
        let part = linear.parts.iter().find(|part| {
            let is_it = start == slot.part.start;
            start += part.n_out();
            is_it
        });
        Self::Matrix(part.expect("a slot was filled when the weights were made"))
    }

    fn of_norm(norm: &'a Norm, slot: &Slot) -> Self {
        match slot.param {
            Param::Weight => Self::Vector(&norm.weight),
            Param::Bias => Self::Vector(norm.bias.as_deref().unwrap_or_default()),
        }
    }
}
