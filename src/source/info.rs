//! What a model is, for people: sizes, types and files. Shown by `halfwarp info`; tested in `tests/sources.rs`.

use crate::{
    Config,
    family::GenerationConfig,
    weights::{
        WeightsError,
        checkpoint::{Checkpoint, DtypeTotal},
        extra::extra_files,
    },
};
use std::path::{Path, PathBuf};

/// A model's facts. Nothing here needs the weights' values.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its shape.
    pub config: Config,
    /// Numbers in the model; a tied head counts once.
    pub n_params: u64,
    /// The same by element type as stored (`F16`, `BF16`, `F32`), largest first.
    pub dtypes: Vec<DtypeTotal>,
    /// The weights files, with their sizes in bytes.
    pub weights_files: Vec<(PathBuf, u64)>,
    /// The other files of the model that are there: config.json and the tokenizer's.
    pub other_files: Vec<(PathBuf, u64)>,
    /// Tensors of the files that are no part of the model and are ignored.
    pub ignored: Vec<String>,
    /// What generation_config.json asks for.
    pub generation: GenerationConfig,
    /// Bytes of fp32 keys and values that each cached token takes.
    pub kv_bytes_per_token: usize,
}

impl Info {
    pub(super) fn new(checkpoint: &Checkpoint, folder: Option<&Path>) -> Result<Self, WeightsError> {
        checkpoint.check()?;
        let dtypes = checkpoint.dtype_totals();
        let mut names = vec!["config.json".to_string()];
        names.extend(folder.map(extra_files).transpose()?.into_iter().flatten());
        let size = |name: String| {
            let path = folder?.join(name);
            Some((path.clone(), path.metadata().ok()?.len()))
        };
        Ok(Self {
            config: checkpoint.description.config.clone(),
            n_params: dtypes.iter().map(|total| total.n_params).sum(),
            dtypes,
            weights_files: checkpoint.files().to_vec(),
            other_files: names.into_iter().filter_map(size).collect(),
            ignored: checkpoint.ignored().into_iter().map(String::from).collect(),
            generation: checkpoint.generation.clone(),
            kv_bytes_per_token: checkpoint.description.config.kv_bytes_per_token(),
        })
    }
}
