//! What a pickle says -> which tensors there are, each a view of a storage, held against the records.
//!
//! The functions and classes that stand here are all that a pickle may name; none is called. Called by
//! [`open`](super::open). Tested in `tests/pytorch/`.

use super::{
    archive::Archive,
    pickle::{Object, Pickle, Value},
};
use crate::format::{Dtype, MAX_DIMS, MAX_TENSORS, Shown};
use std::{collections::HashSet, ops::Range};

const UTILS: &str = "torch._utils";
const TENSOR: Value = Value::Global(UTILS, "_rebuild_tensor_v2");
const PARAMETER: Value = Value::Global(UTILS, "_rebuild_parameter");

/// PyTorch's storages of one type.
const STORAGES: [(&str, Dtype); 10] = [
    ("FloatStorage", Dtype::F32),
    ("HalfStorage", Dtype::F16),
    ("BFloat16Storage", Dtype::BF16),
    ("DoubleStorage", Dtype::F64),
    ("LongStorage", Dtype::I64),
    ("IntStorage", Dtype::I32),
    ("ShortStorage", Dtype::I16),
    ("CharStorage", Dtype::I8),
    ("ByteStorage", Dtype::U8),
    ("BoolStorage", Dtype::BOOL),
];

/// A tensor: some elements of a storage.
#[derive(Debug)]
pub struct View {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Elements from one index to the next, by dimension; 0 where there is one index only.
    pub strides: Vec<usize>,
    /// Where its storage is in the file.
    pub storage: Range<usize>,
    /// Its first element in the storage.
    pub offset: usize,
    /// Elements.
    pub len: usize,
}

impl View {
    /// Bytes of one element.
    pub fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// Where it is in the file, if its elements lie there in their order.
    pub fn in_place(&self) -> Option<Range<usize>> {
        let mut expected = 1;
        // Without elements there is no order, and the other dimensions may be of any size.
        let dims = self.shape.iter().zip(&self.strides).filter(|_| self.len > 0);
        for (&dim, &stride) in dims.rev() {
            if dim != 1 && stride != expected {
                return None;
            }
            expected *= dim;
        }
        let start = self.storage.start + self.offset * self.width();
        Some(start..start + self.len * self.width())
    }
}

type Result<T, E = String> = std::result::Result<T, E>;

/// Whether a checkpoint may name this.
pub fn check_global(module: &str, name: &str) -> Result<()> {
    let known = match module {
        "collections" => name == "OrderedDict",
        UTILS => [TENSOR, PARAMETER].contains(&Value::Global(module, name)),
        "torch" => STORAGES.iter().any(|(storage, _)| *storage == name),
        _ => false,
    };
    if known {
        return Ok(());
    }
    let what = match name {
        _ if !module.starts_with("torch") => "an object of Python's",
        _ if name.contains("sparse") || name.contains("nested") => "a sparse or nested tensor",
        _ if name.contains("_qtensor") || name.starts_with('Q') => "a quantised tensor",
        _ if name.starts_with("Complex") => "a complex tensor",
        _ => "an object of PyTorch's",
    };
    Err(format!(
        "found {what} ({}.{}), expected tensors of floats or integers alone; nothing else is read, and nothing is run",
        Shown(module),
        Shown(name)
    ))
}

/// The tensors of the dict that `pickle` is, or the one that is wrong and what is wrong with it.
pub fn views(pickle: &Pickle, archive: &Archive) -> Result<Vec<View>, (String, String)> {
    let fail = |message: String| (String::new(), message);
    let Some(Object::Dict(entries)) = pickle.object(pickle.root) else {
        return Err(fail(format!("holds {}, expected a dict of tensors", pickle.kind(pickle.root))));
    };
    if entries.len() > MAX_TENSORS {
        return Err(fail(format!("holds {} tensors, expected {MAX_TENSORS} at most", entries.len())));
    }
    let mut names = HashSet::new();
    let view = |&(key, value)| {
        let Value::Text(name) = key else {
            return Err(fail(format!("holds {} as a key, expected names of tensors", pickle.kind(key))));
        };
        if !names.insert(name) {
            return Err((name.into(), "is there twice".into()));
        }
        Reader { pickle, archive }.view(name, value).map_err(|message| (name.into(), message))
    };
    entries.iter().map(view).collect()
}

struct Reader<'a> {
    pickle: &'a Pickle<'a>,
    archive: &'a Archive<'a>,
}

impl Reader<'_> {
    fn view(&self, name: &str, value: Value) -> Result<View> {
        let tensor = self.parameter(value).unwrap_or(value);
        let Some(args) = self.args(tensor, TENSOR) else {
            let hint = match self.pickle.object(value) {
                Some(Object::Dict(_)) => "; of a training checkpoint save the state dict alone",
                _ => "",
            };
            return Err(format!("is {}, expected a tensor{hint}", self.pickle.kind(value)));
        };
        let &[storage, offset, size, strides, _requires_grad, hooks, ref metadata @ ..] = args else {
            return Err(format!("is made of {} values, expected 6", args.len()));
        };
        if !self.is_empty(hooks) || metadata.len() > 1 || !metadata.iter().all(|&more| self.is_empty(more)) {
            return Err("has hooks or flags, expected numbers alone".into());
        }
        let (dtype, numel, storage) = self.storage(storage)?;
        let (shape, strides) = (self.sizes("sizes", size)?, self.sizes("strides", strides)?);
        let offset = natural(offset).ok_or("has an offset that is no whole number from 0 on")?;
        let len = elements(&shape, dtype)?;
        let strides = reach(&shape, &strides, offset, numel, len)?;
        Ok(View { name: name.into(), dtype, shape, strides, storage, offset, len })
    }

    /// The tensor inside of a parameter.
    fn parameter<'b>(&'b self, value: Value<'b>) -> Option<Value<'b>> {
        self.args(value, PARAMETER)?.first().copied()
    }

    /// The arguments of a call of `callable`.
    fn args<'b>(&'b self, value: Value<'b>, callable: Value) -> Option<&'b [Value<'b>]> {
        match self.pickle.object(value)? {
            Object::Call(called, args) if *called == callable => self.pickle.tuple(*args),
            _ => None,
        }
    }

    fn is_empty(&self, value: Value) -> bool {
        value == Value::None
            || matches!(self.pickle.object(value), Some(Object::Dict(dict)) if dict.is_empty())
    }

    /// Type, number of elements, and place of a storage, described as `('storage', torch.FloatStorage, '0', 'cpu', 12)`.
    fn storage(&self, value: Value) -> Result<(Dtype, usize, Range<usize>)> {
        let described = match self.pickle.object(value) {
            Some(Object::Persistent(described)) => self.pickle.tuple(*described),
            _ => None,
        };
        let Some(
            &[Value::Text("storage"), Value::Global("torch", class), Value::Text(key), Value::Text(_), numel],
        ) = described
        else {
            return Err("has a storage that is not described as PyTorch describes one".into());
        };
        let dtype = STORAGES.iter().find(|(storage, _)| *storage == class).map(|(_, dtype)| *dtype);
        let dtype = dtype.ok_or_else(|| format!("has a storage of class {class}"))?;
        let shown = Shown(key);
        let range = self.archive.find(&format!("data/{key}"));
        let range = range.ok_or_else(|| format!("is in storage {shown}, which is not in the archive"))?;
        let needed = natural(numel).and_then(|n| n.checked_mul(dtype.bitsize() / 8));
        match needed {
            Some(needed) if needed == range.len() => Ok((dtype, needed / (dtype.bitsize() / 8), range)),
            _ => Err(format!(
                "is in storage {shown} of {} bytes, expected {} elements of {dtype:?}",
                range.len(),
                self.number(numel)
            )),
        }
    }

    /// A number, or what stands in its place.
    fn number(&self, value: Value) -> String {
        match value {
            Value::Int(n) => n.to_string(),
            other => self.pickle.kind(other).into(),
        }
    }

    fn sizes(&self, what: &str, value: Value) -> Result<Vec<usize>> {
        let sizes = self.pickle.tuple(value).ok_or_else(|| format!("has {what} that are no tuple"))?;
        if sizes.len() > MAX_DIMS {
            return Err(format!("has {} dimensions, expected {MAX_DIMS} at most", sizes.len()));
        }
        let whole = |&size| {
            natural(size).ok_or_else(|| {
                format!("has {} among its {what}, expected whole numbers from 0 on", self.number(size))
            })
        };
        sizes.iter().map(whole).collect()
    }
}

fn natural(value: Value) -> Option<usize> {
    match value {
        Value::Int(n) => usize::try_from(n).ok(),
        _ => None,
    }
}

/// Elements of a tensor, whose bytes can be counted.
fn elements(shape: &[usize], dtype: Dtype) -> Result<usize> {
    let len = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let len = len.filter(|len| len.checked_mul(dtype.bitsize()).is_some());
    len.ok_or_else(|| format!("has shape {shape:?}, which overflows"))
}

/// The strides of a tensor of `len` elements that stays inside of a storage of `numel`.
fn reach(shape: &[usize], strides: &[usize], offset: usize, numel: usize, len: usize) -> Result<Vec<usize>> {
    if strides.len() != shape.len() {
        return Err(format!("has {} strides, expected {} for shape {shape:?}", strides.len(), shape.len()));
    }
    let pairs = || shape.iter().zip(strides);
    let last = pairs()
        .filter(|(dim, _)| **dim > 0)
        .try_fold(offset, |last, (&dim, &stride)| last.checked_add((dim - 1).checked_mul(stride)?));
    let first_after = if len == 0 { Some(offset) } else { last.and_then(|last| last.checked_add(1)) };
    if first_after.is_none_or(|end| end > numel) {
        return Err(format!(
            "has shape {shape:?}, strides {strides:?} and offset {offset}, which end beyond the {numel} elements of its storage"
        ));
    }
    Ok(pairs().map(|(&dim, &stride)| if dim > 1 { stride } else { 0 }).collect())
}
