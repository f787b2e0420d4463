//! Weights files: bytes -> named tensors, where they are.
//!
//! A file is opened without blocking, checked against its own header, and mapped; nothing here knows what a tensor is for.
//! Called by [`Checkpoint`](crate::weights::checkpoint::Checkpoint). Tested in `tests/malformed_weights/`.
//!
//! - `file`: one file, opened and mapped or read.
//! - `safetensors`: the header of a safetensors file.
//! - [`mapped`]: what is mapped where, for a program's signal handler.

mod error;
mod file;
pub mod mapped;
mod safetensors;

pub use ::safetensors::Dtype;
pub use error::FormatError;
pub(crate) use file::{Bytes, read_text};

use safetensors::Header;
use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

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
    /// Opens the weights at `path`: a safetensors file, or a folder with one or with an index of shards. From the names
    /// `prefixes` are cut, and what wrappers put before them.
    pub fn open(path: &Path, prefixes: &'static [&'static str], read: bool) -> Result<Self, FormatError> {
        let mut tensors = Self { by_name: BTreeMap::new(), files: Vec::new(), prefixes, read };
        let (whole, index) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        if is_weights_file(path) {
            tensors.add_file(path)?;
        } else if exists(&whole)? {
            tensors.add_file(&whole)?;
        } else if exists(&index)? {
            tensors.add_shards(&index)?;
        } else {
            return Err(no_weights(path));
        }
        Ok(tensors)
    }

    /// The tensors of a safetensors file that is compiled in; `path` is what to call it.
    #[cfg_attr(not(feature = "bundled"), allow(dead_code))]
    pub fn from_static(
        bytes: &'static [u8],
        path: &Path,
        prefixes: &'static [&'static str],
    ) -> Result<Self, FormatError> {
        let header = Header::read(bytes, bytes.len() as u64, path)?;
        let files = vec![(path.into(), bytes.len() as u64)];
        let mut tensors = Self { by_name: BTreeMap::new(), files, prefixes, read: false };
        tensors.add(header, Bytes::Static(bytes), path)?;
        Ok(tensors)
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), FormatError> {
        let (header, bytes) = file::open(path, self.read)?;
        self.files.push((path.into(), bytes.as_ref().len() as u64));
        self.add(header, bytes, path)
    }

    fn add(&mut self, header: Header, bytes: Bytes, path: &Path) -> Result<(), FormatError> {
        let bytes = Arc::new(bytes);
        for (name, entry) in header.tensors {
            let (start, end) = entry.data_offsets;
            let range = header.data_start + start..header.data_start + end;
            let key = self.without_prefix(&name).to_string();
            let (dtype, shape) = (entry.dtype, entry.shape.0);
            if let Some(other) = self.by_name.get(&key) {
                let message = format!("is there twice, the other time as {}", other.name);
                return Err(FormatError::Tensor { path: path.into(), name, message });
            }
            self.by_name.insert(key, Tensor { name, dtype, shape, file: bytes.clone(), range });
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
                fail(format!("tensor {tensor} is in {shard}, expected the name of a file beside the index"))
            })?;
            shards.entry(shard).or_default().push(tensor);
        }
        for (shard, tensors) in shards {
            self.add_file(&index.with_file_name(shard))?;
            let missing = tensors.into_iter().find(|t| !self.by_name.contains_key(self.without_prefix(t)));
            if let Some(name) = missing {
                return Err(fail(format!("tensor {name} is not in {shard}")));
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
    path.extension().is_some_and(|e| e == "safetensors") && !path.is_dir()
}

/// Whether `name` is one plain component: no folder, no `..`, nothing absolute.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(c)), None) if c == name)
}

/// Whether something is at `path`. A link into nowhere or a loop of links is there, and opening it says what is wrong.
fn exists(path: &Path) -> Result<bool, FormatError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FormatError::Io { path: path.into(), source }),
    }
}

fn no_weights(folder: &Path) -> FormatError {
    let hint = if folder.join("pytorch_model.bin").exists() {
        "; it has pytorch_model.bin: save it with `save_pretrained(..., safe_serialization=True)`"
    } else {
        ""
    };
    FormatError::NoWeights { folder: folder.into(), hint }
}
