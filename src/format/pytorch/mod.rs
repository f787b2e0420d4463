//! A PyTorch checkpoint: a zip archive of one pickle, which says what the tensors are, and one record for each storage.
//!
//! What Python would run is never run: the pickle is read by a machine that knows tensors and nothing else. Tensors are used in
//! place, shared storages and all; those whose elements lie in another order are copied, once. Called by
//! [`Tensors`](super::Tensors). Tested in `tests/pytorch/`.
//!
//! - `archive`: the records, where they are.
//! - `pickle`: a pickle as values.
//! - `state_dict`: those values as views of records.

mod archive;
mod pickle;
mod state_dict;

use super::{Bytes, FormatError, Shown, Tensor, file, foreign::other_format};
use crate::memory;
use archive::Archive;
use pickle::Pickle;
use state_dict::{View, check_global, views};
use std::{fs::File, io::Read, ops::Range, path::Path, sync::Arc};

/// Longest pickle, in bytes. That of GPT-2 XL has under 100 KiB.
const MAX_LEN: usize = 16 << 20;

/// The record with the pickle.
const PICKLE: &str = "data.pkl";

/// Copies start at multiples of this, as records do.
const ALIGNMENT: usize = 64;

/// Opens the checkpoint at `path` and lists its tensors, and its size.
pub fn open(path: &Path, read: bool) -> Result<(Vec<Tensor>, u64), FormatError> {
    let ((), bytes) = file::open(path, read, |file, _| check_start(file, path))?;
    let data = bytes.as_ref();
    let len = data.len() as u64;
    let views = list(data, path)?;
    let (copies, mut ranges) = copy_scattered(&views, data, path)?;
    let (bytes, copies) = (Arc::new(bytes), Arc::new(copies));
    let tensor = |view: View| {
        let (file, range) = match view.in_place() {
            Some(range) => (&bytes, range),
            None => (&copies, ranges.next().expect("every scattered view was copied")),
        };
        Tensor { name: view.name, dtype: view.dtype, shape: view.shape, file: file.clone(), range }
    };
    Ok((views.into_iter().map(tensor).collect(), len))
}

/// Refuses a file that is no zip archive, and says what it is.
fn check_start(file: &File, path: &Path) -> Result<(), FormatError> {
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start).map_err(|source| FormatError::Io { path: path.into(), source })?;
    if start.starts_with(b"PK\x03\x04") {
        return Ok(());
    }
    let found = other_format(&start).unwrap_or(if start.is_empty() { "empty" } else { "no zip archive" });
    Err(FormatError::OtherFormat { path: path.into(), found, expected: "a checkpoint that PyTorch wrote" })
}

/// The tensors of the checkpoint that `data` is.
fn list(data: &[u8], path: &Path) -> Result<Vec<View>, FormatError> {
    let archive = Archive::read(data, path)?;
    if archive.find("constants.pkl").is_some() {
        let found = "a TorchScript program (save the state dict of its module instead)";
        return Err(FormatError::OtherFormat {
            path: path.into(),
            found,
            expected: "a checkpoint that PyTorch wrote",
        });
    }
    if let Some(order) = archive.bytes("byteorder").filter(|&order| order != b"little") {
        let order = String::from_utf8_lossy(order);
        return Err(archive.wrong("byteorder", format!("says {}, expected little", Shown(&order))));
    }
    let place = archive.find(PICKLE).ok_or_else(|| archive.wrong(PICKLE, "is missing"))?;
    if place.len() > MAX_LEN {
        return Err(archive.wrong(PICKLE, format!("has {} bytes, the limit is {MAX_LEN}", place.len())));
    }
    let pickle = Pickle::read(&data[place.clone()], check_global).map_err(|fault| FormatError::Header {
        path: path.into(),
        message: format!("the pickle is refused: {}", fault.message),
        offset: (place.start + fault.at) as u64,
    })?;
    views(&pickle, &archive).map_err(|(name, message)| match &*name {
        "" => archive.wrong(PICKLE, message),
        _ => FormatError::Tensor { path: path.into(), name, message },
    })
}

/// Copies of the views whose elements are not in order, in their order, and where each is. A file cannot ask for more memory
/// than it has bytes.
fn copy_scattered(
    views: &[View],
    data: &[u8],
    path: &Path,
) -> Result<(Bytes, impl Iterator<Item = Range<usize>> + use<>), FormatError> {
    let scattered = || views.iter().filter(|view| view.in_place().is_none());
    let (mut ranges, mut n_bytes, mut end) = (Vec::new(), 0, 0);
    for view in scattered() {
        let len = view.len * view.width();
        n_bytes += len;
        if n_bytes > data.len() {
            let message = format!(
                "is a view whose elements are not in order: copies of such views take {n_bytes} bytes with it, expected \
                 the {} of the file at most",
                data.len()
            );
            return Err(FormatError::Tensor { path: path.into(), name: view.name.clone(), message });
        }
        ranges.push(end..end + len);
        end = (end + len).next_multiple_of(ALIGNMENT);
    }
    if end == 0 {
        return Ok((Bytes::Static(&[]), ranges.into_iter()));
    }
    let no_memory = |_| FormatError::NoMemory { path: path.into(), bytes: end as u64 };
    let mut memory = memory::zeroed(end).map_err(no_memory)?;
    for (view, range) in scattered().zip(&ranges) {
        copy(view, &data[view.storage.clone()], &mut memory[range.clone()]);
    }
    Ok((Bytes::Read(memory.make_read_only().map_err(no_memory)?), ranges.into_iter()))
}

/// Writes the elements of `view` to `out`, the last index running fastest.
fn copy(view: &View, storage: &[u8], out: &mut [u8]) {
    let width = view.width();
    let mut index = vec![0; view.shape.len()];
    let mut at = view.offset;
    for element in out.chunks_exact_mut(width) {
        element.copy_from_slice(&storage[at * width..][..width]);
        for dim in (0..index.len()).rev() {
            index[dim] += 1;
            at += view.strides[dim];
            if index[dim] < view.shape[dim] {
                break;
            }
            at -= view.strides[dim] * index[dim];
            index[dim] = 0;
        }
    }
}
