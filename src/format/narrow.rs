//! Float64 as fp32, where nothing is lost by it. Tested in `tests/pytorch/` and `tests/formats.rs`.

use super::{Bytes, Dtype, FormatError, Tensor};
use crate::memory;
use std::sync::Arc;

/// Makes fp32 of a tensor of float64 whose values fp32 holds, every one of them; leaves another as it is.
pub fn narrow(tensor: &mut Tensor) -> Result<(), FormatError> {
    let values = || tensor.data().as_chunks::<8>().0.iter().map(|&value| f64::from_le_bytes(value));
    if tensor.range.len() < 8 || !values().all(is_exact) {
        return Ok(());
    }
    let len = tensor.range.len() / 2;
    let no_memory = |_| FormatError::NoMemory { path: tensor.name.clone().into(), bytes: len as u64 };
    let mut memory = memory::zeroed(len).map_err(no_memory)?;
    for (narrowed, value) in memory.as_chunks_mut::<4>().0.iter_mut().zip(values()) {
        *narrowed = (value as f32).to_le_bytes();
    }
    let memory = memory.make_read_only().map_err(no_memory)?;
    (tensor.file, tensor.range, tensor.dtype) = (Arc::new(Bytes::Read(memory)), 0..len, Dtype::F32);
    Ok(())
}

/// Whether fp32 holds `value`; of a NaN nothing but that it is one matters.
fn is_exact(value: f64) -> bool {
    f64::from(value as f32) == value || value.is_nan()
}
