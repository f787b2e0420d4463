//! A place in a model that a tensor fills: the one list that loading, random weights, `info`, conversion and the upload
//! to a device walk.

use std::ops::Range;

/// What a tensor is for, the same in every family, forward pass and kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embeddings, `[V, C]`.
    TokenEmbd,
    /// Position embeddings, `[N, C]`.
    PositionEmbd,
    /// Norm before attention, `[C]`.
    AttnNorm,
    /// Queries, keys and values, `C -> 3 H D`.
    Qkv,
    /// Back to the residual stream, `H D -> C`.
    AttnOut,
    /// Norm before the MLP, `[C]`.
    MlpNorm,
    /// Into the MLP, `C -> F`.
    Up,
    /// Back to the residual stream, `F -> C`.
    Down,
    /// Norm before the logits, `[C]`.
    OutNorm,
    /// Logits, `[V, C]`, where they are not made with the token embeddings.
    Head,
}

/// Which of a role's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Param {
    /// Its matrix, or what a norm multiplies by.
    Weight,
    /// What it adds.
    Bias,
}

/// How a matrix is stored, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[in, out]`: GPT-2's Conv1D.
    InOut,
    /// `[out, in]`: `nn.Linear`, and every table of embeddings.
    OutIn,
}

/// A tensor that a model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it is for.
    pub role: Role,
    /// Which of the role's tensors.
    pub param: Param,
    /// In which layer; none for those around the layers.
    pub layer: Option<usize>,
    /// Its name in the checkpoint, without prefix.
    pub name: String,
    /// The outputs of the role that it gives: all, or those of the queries alone where they are stored apart.
    pub part: Range<usize>,
    /// Inputs of the matrix; none for a vector.
    pub n_in: Option<usize>,
    /// How the matrix is stored.
    pub layout: Layout,
    /// Its shape in the words of config.json.
    pub fields: &'static str,
}

impl Slot {
    /// The shape that it has in the checkpoint.
    pub fn shape(&self) -> Vec<usize> {
        match (self.n_in, self.layout) {
            (None, _) => vec![self.part.len()],
            (Some(n_in), Layout::InOut) => vec![n_in, self.part.len()],
            (Some(n_in), Layout::OutIn) => vec![self.part.len(), n_in],
        }
    }

    /// Whether both are for the same place in a model, however it is stored.
    pub fn is_for(&self, other: &Self) -> bool {
        let place = |slot: &Self| (slot.role, slot.param, slot.layer, slot.part.clone());
        place(self) == place(other)
    }

    /// Its numbers.
    pub fn len(&self) -> usize {
        self.n_in.unwrap_or(1) * self.part.len()
    }

    /// Whether it has no numbers: never, since every size of a config is at least 1.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
