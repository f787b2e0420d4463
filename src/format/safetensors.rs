//! The header of a safetensors file, checked whole before a byte of the data is touched.
//!
//! The format: 8 bytes of little-endian length, that many bytes of JSON, then the tensors' data without holes. The
//! `safetensors` crate defines the element types; its own checks name at most one tensor, let duplicates pass and allow
//! headers of 100 MB, so this reader replaces them and is compared with it in `tests/malformed_weights/`.

use super::{Bytes, FormatError, MAX_DIMS, MAX_TENSORS, Tensor, file, foreign::other_format};
use ::safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{collections::HashSet, fmt, io::Read, path::Path, sync::Arc};

/// Longest header, in bytes. That of GPT-2 XL has under 100 KiB.
const MAX_LEN: u64 = 16 << 20;

/// Opens the file at `path` and lists its tensors, and its size.
pub fn open(path: &Path, read: bool) -> Result<(Vec<Tensor>, u64), FormatError> {
    let (header, bytes) = file::open(path, read, |file, len| Header::read(file, len, path))?;
    let len = bytes.as_ref().len() as u64;
    Ok((header.tensors(bytes), len))
}

/// A file's tensors, in the order of their data.
pub struct Header {
    /// Name and place of each tensor.
    tensors: Vec<(String, Entry)>,
    /// Where the data starts in the file.
    data_start: usize,
}

/// One tensor's entry.
#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    /// First byte and the byte after the last, from the start of the data.
    data_offsets: (usize, usize),
}

impl Header {
    /// Reads the header from the start of a file of `len` bytes. `path` is for the errors.
    pub fn read(mut file: impl Read, len: u64, path: &Path) -> Result<Self, FormatError> {
        let path = || path.to_path_buf();
        let io = |source| FormatError::Io { path: path(), source };
        let mut start = Vec::with_capacity(64);
        file.by_ref().take(64).read_to_end(&mut start).map_err(io)?;
        if let Some(found) = other_format(&start) {
            return Err(FormatError::OtherFormat { path: path(), found, expected: "safetensors weights" });
        }
        let Some(&length) = start.first_chunk::<8>() else {
            return Err(FormatError::HeaderCut { path: path(), needed: 8, found: len });
        };
        let length = u64::from_le_bytes(length);
        if length > MAX_LEN {
            return Err(FormatError::HeaderTooLong { path: path(), found: length, limit: MAX_LEN });
        }
        if 8 + length > len {
            return Err(FormatError::HeaderCut { path: path(), needed: 8 + length, found: len });
        }
        let mut json = start.split_off(8);
        let missing = length.saturating_sub(json.len() as u64);
        file.take(missing).read_to_end(&mut json).map_err(io)?;
        json.truncate(length as usize);

        let mut tensors = parse(&json).map_err(|(message, at)| FormatError::Header {
            path: path(),
            message,
            offset: 8 + at as u64,
        })?;
        tensors.sort_by_key(|(_, entry)| entry.data_offsets);
        let data_len = check(&tensors).map_err(|(name, message)| FormatError::Tensor {
            path: path(),
            name: name.into(),
            message,
        })?;
        let needed = (8 + length).saturating_add(data_len as u64);
        if needed != len {
            return Err(FormatError::Size { path: path(), needed, found: len });
        }
        Ok(Self { tensors, data_start: 8 + length as usize })
    }

    /// The tensors, in the file that the header was read from.
    pub fn tensors(self, file: Bytes) -> Vec<Tensor> {
        let file = Arc::new(file);
        let tensor = |(name, entry): (String, Entry)| {
            let (start, end) = entry.data_offsets;
            let range = self.data_start + start..self.data_start + end;
            Tensor { name, dtype: entry.dtype, shape: entry.shape.0, file: file.clone(), range }
        };
        self.tensors.into_iter().map(tensor).collect()
    }
}

/// The entries of the JSON, or what is wrong and at which byte of it.
fn parse(json: &[u8]) -> Result<Vec<(String, Entry)>, (String, usize)> {
    let text = str::from_utf8(json).map_err(|e| ("the header is not UTF-8".to_string(), e.valid_up_to()))?;
    let body = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if !body.starts_with('{') {
        let found = body.chars().next().map_or("nothing".into(), |c| format!("{c:?}"));
        return Err((format!("the header begins with {found}, expected '{{'"), text.len() - body.len()));
    }
    let entries: Entries = serde_json::from_str(text).map_err(|e| {
        let line: usize = text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
        (format!("the header is malformed: {e}"), line + e.column())
    })?;
    Ok(entries.0)
}

/// Checks each entry against itself and all together for holes and overlaps; returns where the data ends.
fn check(tensors: &[(String, Entry)]) -> Result<usize, (&str, String)> {
    let mut end_of_last = 0;
    let mut last = None;
    for (name, entry) in tensors {
        let ((start, end), shape) = (entry.data_offsets, &entry.shape.0);
        if end < start {
            return Err((name, format!("has data_offsets [{start}, {end}], whose end is before the start")));
        }
        let elements = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        let Some(bits) = elements.and_then(|n| n.checked_mul(entry.dtype.bitsize())) else {
            return Err((name, format!("has shape {shape:?}, which overflows")));
        };
        if !bits.is_multiple_of(8) || bits / 8 != end - start {
            let message = format!(
                "has data_offsets [{start}, {end}], {} bytes; {:?} of shape {shape:?} needs {}",
                end - start,
                entry.dtype,
                bits.div_ceil(8)
            );
            return Err((name, message));
        }
        if start != end_of_last {
            let relation = if start < end_of_last { "overlaps" } else { "leaves a hole after" };
            let other = last.map_or("the start of the data".into(), |other| format!("tensor {other}"));
            let message = format!(
                "has data_offsets [{start}, {end}] and {relation} {other}, which ends at {end_of_last}"
            );
            return Err((name, message));
        }
        (end_of_last, last) = (end, Some(name));
    }
    Ok(end_of_last)
}

/// The header's object: entries in file order, none twice, [`MAX_TENSORS`] at most.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("duplicate tensor {name}")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    let entry =
                        map.next_value().map_err(|e| A::Error::custom(format!("tensor {name}: {e}")))?;
                    entries.push((name, entry));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// A shape of [`MAX_DIMS`] dimensions at most.
pub struct Shape(pub Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut dims = Vec::with_capacity(4);
                while let Some(dim) = seq.next_element()? {
                    if dims.len() == MAX_DIMS {
                        return Err(A::Error::custom(format!("a shape of more than {MAX_DIMS} dimensions")));
                    }
                    dims.push(dim);
                }
                Ok(Shape(dims))
            }
        }
        deserializer.deserialize_seq(ShapeVisitor)
    }
}
