//! A matrix of a checkpoint in the type and layout in which it is stored, in place where the map allows.

use crate::{
    family::Layout,
    format::{Bytes, Dtype, Tensor},
};
use bytemuck::Pod;
use half::{bf16, f16};
use std::{path::Path, sync::Arc};

/// A range of a weights file, or values of our own.
#[derive(Clone, Debug)]
enum Storage {
    /// Aligned for its elements: checked where it is made, in [`Matrix::stored`].
    Span {
        bytes: Arc<Bytes>,
        start: usize,
        len: usize,
        dtype: StoredType,
    },
    F32(Arc<[f32]>),
    F16(Arc<[f16]>),
    Bf16(Arc<[bf16]>),
}

/// What a matrix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an fp32.
    Bf16,
}

impl StoredType {
    /// The type of a tensor, where it is one that matrices are made of.
    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Bytes of one element.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// `f32`, `f16` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// The elements of a [`Matrix`], row-major in its layout.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// IEEE single precision.
    F32(&'a [f32]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// The upper halves of fp32 numbers.
    Bf16(&'a [bf16]),
}

impl<'a> Elements<'a> {
    /// StoredType `i`, widened: exact.
    pub fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(values) => values[i],
            Self::F16(values) => values[i].to_f32(),
            Self::Bf16(values) => values[i].to_f32(),
        }
    }

    /// As they lie in memory.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
            Self::Bf16(values) => bytemuck::cast_slice(values),
        }
    }
}

/// Runs `$body` with `$values`, the elements as a slice of whatever type they have.
macro_rules! with_elements {
    ($elements:expr, $values:ident => $body:expr) => {
        match $elements {
            $crate::weights::Elements::F32($values) => $body,
            $crate::weights::Elements::F16($values) => $body,
            $crate::weights::Elements::Bf16($values) => $body,
        }
    };
}
pub(crate) use with_elements;

/// A matrix with `n_out` outputs and `n_in` inputs: of a linear layer, or a table with a row per output.
#[derive(Clone, Debug)]
pub struct Matrix {
    n_out: usize,
    n_in: usize,
    layout: Layout,
    storage: Storage,
}

impl Matrix {
    /// A matrix of fp32 values, `[out, in]` or `[in, out]` as `layout` says.
    pub fn from_f32(layout: Layout, n_out: usize, n_in: usize, values: Vec<f32>) -> Self {
        Self::new(layout, n_out, n_in, values.len(), Storage::F32(values.into()))
    }

    /// A matrix of fp16 values, `[out, in]` or `[in, out]` as `layout` says.
    pub fn from_f16(layout: Layout, n_out: usize, n_in: usize, values: Arc<[f16]>) -> Self {
        Self::new(layout, n_out, n_in, values.len(), Storage::F16(values))
    }

    /// A matrix of bf16 values, `[out, in]` or `[in, out]` as `layout` says.
    pub fn from_bf16(layout: Layout, n_out: usize, n_in: usize, values: Arc<[bf16]>) -> Self {
        Self::new(layout, n_out, n_in, values.len(), Storage::Bf16(values))
    }

    fn new(layout: Layout, n_out: usize, n_in: usize, len: usize, storage: Storage) -> Self {
        assert_eq!(len, n_out * n_in, "a matrix has n_out * n_in elements");
        Self { n_out, n_in, layout, storage }
    }

    /// A tensor that was checked to be such a matrix of fp32, fp16 or bf16: in place, or copied where it is not aligned
    /// for its type.
    pub(super) fn stored(tensor: &Tensor, layout: Layout, n_out: usize, n_in: usize) -> Self {
        let (start, len) = (tensor.range.start, tensor.range.len());
        let dtype = StoredType::of(tensor.dtype).expect("checked to be of a type that matrices have");
        let is_aligned = (tensor.data().as_ptr() as usize).is_multiple_of(dtype.width());
        let storage = match dtype {
            _ if is_aligned => Storage::Span { bytes: tensor.file.clone(), start, len, dtype },
            StoredType::F32 => Storage::F32(copied(tensor.data())),
            StoredType::F16 => Storage::F16(copied(tensor.data())),
            StoredType::Bf16 => Storage::Bf16(copied(tensor.data())),
        };
        Self::new(layout, n_out, n_in, len / dtype.width(), storage)
    }

    /// Outputs of the layer, or rows of the table.
    pub fn n_out(&self) -> usize {
        self.n_out
    }

    /// Inputs of the layer, or columns of the table.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// How the elements are stored.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What it is made of.
    pub fn stored_type(&self) -> StoredType {
        match &self.storage {
            Storage::Span { dtype, .. } => *dtype,
            Storage::F32(_) => StoredType::F32,
            Storage::F16(_) => StoredType::F16,
            Storage::Bf16(_) => StoredType::Bf16,
        }
    }

    /// The elements, `[out, in]` or `[in, out]` as the layout says.
    pub fn elements(&self) -> Elements<'_> {
        match &self.storage {
            Storage::F32(values) => Elements::F32(values),
            Storage::F16(values) => Elements::F16(values),
            Storage::Bf16(values) => Elements::Bf16(values),
            Storage::Span { bytes, start, len, dtype } => {
                let bytes = &(**bytes).as_ref()[*start..*start + *len];
                match dtype {
                    StoredType::F32 => Elements::F32(bytemuck::cast_slice(bytes)),
                    StoredType::F16 => Elements::F16(bytemuck::cast_slice(bytes)),
                    StoredType::Bf16 => Elements::Bf16(bytemuck::cast_slice(bytes)),
                }
            }
        }
    }

    /// The weight from input `input` to output `output`, widened: exact. For tests and twins.
    pub fn get(&self, output: usize, input: usize) -> f32 {
        self.elements().get(match self.layout {
            Layout::InOut => input * self.n_out + output,
            Layout::OutIn => output * self.n_in + input,
        })
    }

    /// Bytes of all elements: what a product with this matrix reads.
    pub fn n_bytes(&self) -> usize {
        self.n_out * self.n_in * self.stored_type().width()
    }

    /// Whether the elements are used where the file is mapped or was read, not copied.
    pub fn is_in_place(&self) -> bool {
        matches!(self.storage, Storage::Span { .. })
    }

    /// The file that the elements are in, if it was written to since it was mapped.
    pub(super) fn changed_on_disk(&self) -> Option<&Path> {
        match &self.storage {
            Storage::Span { bytes, .. } => bytes.changed(),
            _ => None,
        }
    }

    /// Whether the elements of both are in one file.
    pub(super) fn shares_file(&self, other: &Self) -> bool {
        match (&self.storage, &other.storage) {
            (Storage::Span { bytes, .. }, Storage::Span { bytes: others, .. }) => Arc::ptr_eq(bytes, others),
            _ => false,
        }
    }
}

/// The elements that `data` holds, wherever it starts.
fn copied<T: Pod>(data: &[u8]) -> Arc<[T]> {
    data.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// The values of a tensor of fp32, fp16 or bf16, widened: exact for all three.
pub(super) fn vector(tensor: &Tensor) -> Vec<f32> {
    let matrix = Matrix::stored(tensor, Layout::OutIn, 1, tensor.shape.iter().product());
    let elements = matrix.elements();
    (0..matrix.n_in).map(|i| elements.get(i)).collect()
}
