//! The files of a model: config.json, and one safetensors file or several shards, their tensors under one set of names.
//!
//! Checkpoints differ in prefixes (`transformer.`, and what wrappers add when they save: `_orig_mod.`, `module.`). Here
//! they are all cut, so that the rest of the crate knows `wte.weight` and `h.0.ln_1.weight` alone. Called by
//! [`Weights::open`](super::Weights::open), `halfwarp info` and `halfwarp convert`. Tested in `tests/formats.rs`.

use super::{
    WeightsError,
    file::{self, Bytes},
    header::Header,
    read_text,
};
use crate::{
    Result,
    config::ConfigFile,
    source::{DtypeTotal, LoadOptions},
};
use safetensors::Dtype;
use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// What wrappers and exports put before a tensor's name, any number of them.
const PREFIXES: [&str; 4] = ["_orig_mod.", "module.", "model.", "transformer."];

/// The files beside config.json and the weights that belong to a model: its tokenizer's, and defaults for generation.
pub(crate) const EXTRA_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
];

/// A model's files, open and checked, not yet held against config.json.
pub struct Checkpoint {
    pub(crate) config: ConfigFile,
    /// By name, without prefix.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// The weights files and their sizes in bytes.
    pub(crate) files: Vec<(PathBuf, u64)>,
}

/// A tensor in a file.
pub(super) struct Tensor {
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

impl Checkpoint {
    /// Opens the model at `path`: a folder, or a safetensors file with config.json beside it.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self> {
        let is_file = path.extension().is_some_and(|e| e == "safetensors") && !path.is_dir();
        let folder = if is_file { path.parent().unwrap_or(Path::new("")) } else { path };
        let config = ConfigFile::parse(&read_text(&folder.join("config.json"))?)?;
        let mut checkpoint = Self { config, tensors: BTreeMap::new(), files: Vec::new() };
        if is_file {
            checkpoint.add_file(path, options)?;
        } else if exists(&folder.join("model.safetensors"))? {
            checkpoint.add_file(&folder.join("model.safetensors"), options)?;
        } else if exists(&folder.join("model.safetensors.index.json"))? {
            checkpoint.add_shards(&folder.join("model.safetensors.index.json"), options)?;
        } else {
            Err(no_weights(folder))?;
        }
        Ok(checkpoint)
    }

    /// The model that is compiled into the crate.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Self> {
        use crate::source::bundled;
        let config = ConfigFile::parse(bundled::CONFIG)?;
        let path = PathBuf::from("tales/model.safetensors");
        let bytes = bundled::weights();
        let header = Header::read(bytes, bytes.len() as u64, &path)?;
        let files = vec![(path.clone(), bytes.len() as u64)];
        let mut checkpoint = Self { config, tensors: BTreeMap::new(), files };
        checkpoint.add_tensors(header, Bytes::Static(bytes), &path)?;
        Ok(checkpoint)
    }

    /// What the model's tensors hold by element type, largest first.
    pub(crate) fn dtype_totals(&self) -> Vec<DtypeTotal> {
        let mut totals: Vec<DtypeTotal> = Vec::new();
        for tensor in self.expected().iter().filter_map(|entry| self.tensors.get(&entry.name)) {
            let dtype = format!("{:?}", tensor.dtype);
            let known = totals.iter().position(|total| total.dtype == dtype);
            let i = known.unwrap_or_else(|| {
                totals.push(DtypeTotal { dtype, n_params: 0, n_bytes: 0 });
                totals.len() - 1
            });
            totals[i].n_params += tensor.shape.iter().product::<usize>() as u64;
            totals[i].n_bytes += tensor.range.len() as u64;
        }
        totals.sort_by_key(|total| std::cmp::Reverse(total.n_bytes));
        totals
    }

    fn add_file(&mut self, path: &Path, options: &LoadOptions) -> Result<(), WeightsError> {
        let (header, bytes) = file::open(path, options.read)?;
        self.files.push((path.into(), bytes.as_ref().len() as u64));
        self.add_tensors(header, bytes, path)
    }

    fn add_tensors(&mut self, header: Header, bytes: Bytes, path: &Path) -> Result<(), WeightsError> {
        let bytes = Arc::new(bytes);
        for (name, entry) in header.tensors {
            let (start, end) = entry.data_offsets;
            let range = header.data_start + start..header.data_start + end;
            let key = without_prefix(&name).to_string();
            let (dtype, shape) = (entry.dtype, entry.shape.0);
            if let Some(other) = self.tensors.get(&key) {
                let message = format!("is there twice, the other time as {}", other.name);
                return Err(WeightsError::Tensor { path: path.into(), name, message });
            }
            self.tensors.insert(key, Tensor { name, dtype, shape, file: bytes.clone(), range });
        }
        Ok(())
    }

    /// Opens every shard that the index names, and checks that each tensor is in the shard that it names for it.
    fn add_shards(&mut self, index: &Path, options: &LoadOptions) -> Result<(), WeightsError> {
        let fail = |message| WeightsError::Index { path: index.into(), message };
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
            let path = index.with_file_name(shard);
            self.add_file(&path, options)?;
            let missing = tensors.into_iter().find(|t| !self.tensors.contains_key(without_prefix(t)));
            if let Some(name) = missing {
                return Err(fail(format!("tensor {name} is not in {shard}")));
            }
        }
        Ok(())
    }
}

/// Whether `name` is one plain component: no folder, no `..`, nothing absolute.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(c)), None) if c == name)
}

/// Whether something is at `path`. A link into nowhere or a loop of links is there, and opening it says what is wrong.
fn exists(path: &Path) -> Result<bool, WeightsError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(WeightsError::Io { path: path.into(), source }),
    }
}

fn without_prefix(mut name: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    name
}

fn no_weights(folder: &Path) -> WeightsError {
    let hint = if folder.join("pytorch_model.bin").exists() {
        "; it has pytorch_model.bin: save it with `save_pretrained(..., safe_serialization=True)`"
    } else {
        ""
    };
    WeightsError::NoWeights { folder: folder.into(), hint }
}
