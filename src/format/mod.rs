//! Weights files: bytes -> named tensors, where they are.
//!
//! A file is opened without blocking, checked against what it says of itself, and mapped; nothing here knows what a tensor is
//! for. Called by [`Checkpoint`](crate::weights::checkpoint::Checkpoint). Tested in `tests/malformed_weights/` and
//! `tests/pytorch/`.
//!
//! - `file`: one file, opened and mapped or read.
//! - `safetensors`: the header of a safetensors file.
//! - `pytorch`: the records and the pickle of a PyTorch checkpoint.
//! - `narrow`: float64 as fp32.
//! - `foreign`: files of other kinds.
//! - `shown`: names that a file made up.
//! - [`mapped`]: what is mapped where, for a program's signal handler.

mod error;
mod file;
mod foreign;
pub mod mapped;
mod narrow;
mod pytorch;
mod safetensors;
mod shown;

pub use ::safetensors::Dtype;
pub use error::FormatError;
pub(crate) use file::{Bytes, TOKENIZER_MAX, read_text, read_up_to};
pub(crate) use shown::Shown;
pub use shown::acts;

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The weights of a folder, the format that is preferred first: one file, or the index of its shards.
pub(crate) const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// Most tensors in one file.
const MAX_TENSORS: usize = 100_000;

/// Most dimensions of a tensor.
const MAX_DIMS: usize = 8;

/// What wrappers put before a tensor's name when they save, any number of them.
const WRAPPERS: [&str; 2] = ["_orig_mod.", "module."];

/// A tensor in a file.
pub(crate) struct Tensor {
    /// Its name in the file.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub file: Arc<Bytes>,
    /// Where its data is in the file.
    pub range: Range<usize>,
}

impl Tensor {
    /// Its data.
    pub fn data(&self) -> &[u8] {
        &(*self.file).as_ref()[self.range.clone()]
    }
}

/// The tensors of one file or of several shards, under one set of names.
pub(crate) struct Tensors {
    /// By name, without prefix.
    pub by_name: BTreeMap<String, Tensor>,
    /// The files and their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// What is cut from the names, any number of times.
    prefixes: &'static [&'static str],
    /// Whether files are read into memory instead of mapped.
    read: bool,
}

impl Tensors {
    /// Opens the weights at `path`: a weights file, or a folder with one or with an index of shards. From the names `prefixes`
    /// are cut, and what wrappers put before them.
    pub fn open(path: &Path, prefixes: &'static [&'static str], read: bool) -> Result<Self, FormatError> {
        let mut tensors = Self { by_name: BTreeMap::new(), files: Vec::new(), prefixes, read };
        if is_weights_file(path) {
            tensors.add_file(path)?;
            return Ok(tensors);
        }
        for (whole, index) in WEIGHTS {
            let (whole, index) = (path.join(whole), path.join(index));
            if exists(&whole)? {
                tensors.add_file(&whole)?;
                return Ok(tensors);
            } else if exists(&index)? {
                tensors.add_shards(&index)?;
                return Ok(tensors);
            }
        }
        Err(FormatError::NoWeights { folder: path.into() })
    }

    /// The tensors of a safetensors file that is compiled in; `path` is what to call it.
    #[cfg_attr(not(feature = "bundled"), allow(dead_code))]
    pub fn from_static(
        bytes: &'static [u8],
        path: &Path,
        prefixes: &'static [&'static str],
    ) -> Result<Self, FormatError> {
        let header = safetensors::Header::read(bytes, bytes.len() as u64, path)?;
        let files = vec![(path.into(), bytes.len() as u64)];
        let mut tensors = Self { by_name: BTreeMap::new(), files, prefixes, read: false };
        tensors.add(header.tensors(Bytes::Static(bytes)), path)?;
        Ok(tensors)
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    /// Makes fp32 of the tensor `name` if it is float64 and fp32 holds all of it.
    pub fn narrow(&mut self, name: &str) -> Result<(), FormatError> {
        match self.by_name.get_mut(name) {
            Some(tensor) if tensor.dtype == Dtype::F64 => narrow::narrow(tensor),
            _ => Ok(()),
        }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), FormatError> {
        let open = if is_safetensors(path) { safetensors::open } else { pytorch::open };
        let (tensors, len) = open(path, self.read)?;
        self.files.push((path.into(), len));
        self.add(tensors, path)
    }

    fn add(&mut self, tensors: Vec<Tensor>, path: &Path) -> Result<(), FormatError> {
        for tensor in tensors {
            let key = self.without_prefix(&tensor.name).to_string();
            if let Some(other) = self.by_name.get(&key) {
                let message = format!("is there twice, the other time as {}", Shown(&other.name));
                return Err(FormatError::Tensor { path: path.into(), name: tensor.name, message });
            }
            self.by_name.insert(key, tensor);
        }
        Ok(())
    }

    /// Opens every shard that the index names, and checks that each tensor is in the shard that it names for it.
    fn add_shards(&mut self, index: &Path) -> Result<(), FormatError> {
        let fail = |message| FormatError::Index { path: index.into(), message };
        let json: serde_json::Value =
            serde_json::from_slice(&read_text(index)?).map_err(|e| fail(e.to_string()))?;
        let map = json.get("weight_map").and_then(|m| m.as_object());
        let map = map.ok_or_else(|| fail("weight_map is missing or not an object".into()))?;
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in map {
            let shard = shard.as_str().filter(|s| is_file_name(s)).ok_or_else(|| {
                let (tensor, shard) = (Shown(tensor), shard.to_string());
                fail(format!(
                    "tensor {tensor} is in {}, expected the name of a file beside the index",
                    Shown(&shard)
                ))
            })?;
            shards.entry(shard).or_default().push(tensor);
        }
        for (shard, tensors) in shards {
            self.add_file(&index.with_file_name(shard))?;
            let missing = tensors.into_iter().find(|t| !self.by_name.contains_key(self.without_prefix(t)));
            if let Some(name) = missing {
                return Err(fail(format!("tensor {} is not in {shard}", Shown(name))));
            }
        }
        Ok(())
    }

    fn without_prefix<'a>(&self, mut name: &'a str) -> &'a str {
        let prefixes = || WRAPPERS.iter().chain(self.prefixes);
        while let Some(rest) = prefixes().find_map(|prefix| name.strip_prefix(prefix)) {
            name = rest;
        }
        name
    }
}

/// Whether `path` is that of a weights file, not of a folder.
pub(crate) fn is_weights_file(path: &Path) -> bool {
    (is_safetensors(path) || path.extension().is_some_and(|e| e == "bin")) && !path.is_dir()
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "safetensors")
}

/// Whether `name` is one plain component of a weights file: no folder, no `..`, nothing absolute, nothing that acts on a terminal.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one =
        matches!((components.next(), components.next()), (Some(Component::Normal(c)), None) if c == name);
    is_one && name.len() <= 255 && !name.contains(acts)
}

/// Whether something is at `path`. A link into nowhere or a loop of links is there, and opening it says what is wrong.
pub(crate) fn exists(path: &Path) -> Result<bool, FormatError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FormatError::Io { path: path.into(), source }),
    }
}
