//! Any checkpoint that loads -> a folder of fp16 weights that map in place, under Hugging Face's names.
//!
//! Called by `halfwarp convert`. The folder is written beside its destination and renamed when it is whole, so what
//! stands at the destination is always a complete model. The source is mapped and written tensor by tensor: memory does
//! not grow with the model. Tested in `tests/convert.rs`.

mod write;

use crate::{
    Source,
    family::Description,
    format::{self, WEIGHTS},
    weights::{
        LoadOptions, WeightsError,
        extra::{TEMPLATES, extra_files, is_extra_file},
    },
};
use serde_json::{Value, json};
use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// How to convert.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// Replaces a model folder at the destination.
    pub overwrite: bool,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tensors.
    pub n_tensors: usize,
    /// Numbers in them.
    pub n_params: u64,
    /// Bytes of the source's weights, its ignored tensors included.
    pub bytes_before: u64,
    /// Bytes of the written weights file.
    pub bytes_after: u64,
    /// Values that fp16 cannot hold exactly, and so were rounded.
    pub n_rounded: u64,
    /// Those of them that became zero: below 2⁻²⁵ in magnitude.
    pub n_to_zero: u64,
}

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Numbers that were written.
    pub n_done: u64,
    /// Numbers that the model has.
    pub n_params: u64,
}

/// Writes the model at `source` to the folder `destination`.
///
/// Fails if a value is beyond fp16's ±65504 or not finite, and if something is at `destination`: with `overwrite` a
/// folder is replaced if it holds nothing but a model's files.
pub fn convert(
    source: &Source,
    destination: &Path,
    options: &ConvertOptions,
) -> Result<Report, ConvertError> {
    convert_with(source, destination, options, |_| ControlFlow::Continue(()))
}

/// [`convert`], calling `each` after every tensor. If that breaks off, the destination is left as it was.
pub fn convert_with(
    source: &Source,
    destination: &Path,
    options: &ConvertOptions,
    each: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, ConvertError> {
    let checkpoint = source.checkpoint(&LoadOptions::default())?;
    checkpoint.check()?;
    checkpoint.check_finite()?;
    let replaces = check_destination(destination, options)?;
    let folder = Partial::create(destination)?;
    let report = write::weights(&checkpoint, &folder.0.join("model.safetensors"), each)?;
    write_file(&folder.0.join("config.json"), pretty(config_json(&checkpoint.description)).as_bytes())?;
    copy_extra_files(source, &folder.0)?;
    folder.finish(destination, replaces)?;
    Ok(report)
}

/// Whether `destination` is there and may be replaced.
fn check_destination(destination: &Path, options: &ConvertOptions) -> Result<bool, ConvertError> {
    let path = || destination.to_path_buf();
    match destination.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(ConvertError::Io { path: path(), source }),
        Ok(_) if !options.overwrite => return Err(ConvertError::Exists { path: path() }),
        Ok(metadata) if !metadata.is_dir() => return Err(ConvertError::NotAFolder { path: path() }),
        Ok(_) => {}
    }
    match first_other(destination, "").map_err(|source| ConvertError::Io { path: path(), source })? {
        Some(name) => Err(ConvertError::OtherFiles { path: path(), name }),
        None => Ok(true),
    }
}

/// A file or folder in `folder`, which is called `prefix` in a model's folder, that is none of a model's.
fn first_other(folder: &Path, prefix: &str) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        let other = match kind.is_dir() && name == TEMPLATES {
            true => first_other(&entry.path(), &format!("{TEMPLATES}/"))?,
            false => (!kind.is_file() || !is_model_file(&name)).then_some(name),
        };
        if other.is_some() {
            return Ok(other);
        }
    }
    Ok(None)
}

fn is_model_file(name: &str) -> bool {
    name == "config.json"
        || name.ends_with(".safetensors")
        || name.starts_with("pytorch_model") && name.ends_with(".bin")
        || WEIGHTS.iter().any(|(_, index)| *index == name)
        || is_extra_file(name)
}

/// A folder under construction, beside its destination; removed when dropped unfinished.
struct Partial(PathBuf);

impl Partial {
    fn create(destination: &Path) -> Result<Self, ConvertError> {
        let io = |source| ConvertError::Io { path: destination.into(), source };
        let name =
            destination.file_name().ok_or_else(|| ConvertError::NotAFolder { path: destination.into() })?;
        if let Some(parent) = destination.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let path = destination.with_file_name(beside(name, "partial"));
        // What a killed process left here under our process number is of no use to anyone.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(|source| ConvertError::Io { path: path.clone(), source })?;
        Ok(Self(path))
    }

    /// Puts the folder in its place, which `replaces` a folder that is there.
    fn finish(self, destination: &Path, replaces: bool) -> Result<(), ConvertError> {
        let io = |source| ConvertError::Io { path: destination.into(), source };
        if !replaces {
            return fs::rename(&self.0, destination).map_err(io);
        }
        let old = destination.with_file_name(beside(destination.file_name().unwrap_or_default(), "old"));
        fs::rename(destination, &old).map_err(io)?;
        if let Err(e) = fs::rename(&self.0, destination) {
            let _ = fs::rename(&old, destination);
            return Err(io(e));
        }
        fs::remove_dir_all(&old).map_err(|source| ConvertError::Io { path: old.clone(), source })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `.NAME.ROLE-PID`: hidden, and no model's name.
fn beside(name: &std::ffi::OsStr, role: &str) -> std::ffi::OsString {
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{role}-{}", std::process::id()));
    hidden
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
    fs::write(path, bytes).map_err(|source| ConvertError::Io { path: path.into(), source })
}

/// Copies what belongs to the tokenizer and the chat.
fn copy_extra_files(source: &Source, folder: &Path) -> Result<(), ConvertError> {
    let Some(from) = source.folder() else {
        #[cfg(feature = "bundled")]
        write_file(&folder.join("tokenizer.json"), crate::weights::bundled::TOKENIZER)?;
        return Ok(());
    };
    for name in extra_files(from).map_err(WeightsError::from)? {
        let bytes =
            format::read_up_to(format::TOKENIZER_MAX, &from.join(&name)).map_err(WeightsError::from)?;
        let to = folder.join(&name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|source| ConvertError::Io { path: parent.into(), source })?;
        }
        write_file(&to, &bytes)?;
    }
    Ok(())
}

/// The source's config.json, with the weights' new type and every field that the model depends on spelled out.
fn config_json(description: &Description) -> Value {
    let config = &description.config;
    let mut json = description.json.clone();
    json.remove("torch_dtype");
    (description.family.write)(config, &mut json);
    json.insert("dtype".into(), json!("float16"));
    for (key, ids) in
        [("bos_token_id", config.bos_token_id.as_slice()), ("eos_token_id", &config.eos_token_ids)]
    {
        let ids = match ids {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        };
        json.entry(key).or_insert(ids);
    }
    Value::Object(json)
}

fn pretty(json: Value) -> String {
    format!("{json:#}\n")
}

/// Why a conversion was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source is malformed or does not fit its config.json.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The operating system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is at the destination.
    #[error("{} exists; it is replaced only where that is asked for", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The destination cannot be a folder.
    #[error("{} is not a folder, expected a place for one", path.display())]
    NotAFolder {
        /// The destination.
        path: PathBuf,
    },
    /// The folder at the destination holds something beside a model, so it is not replaced.
    #[error("{} holds {name:?}, which is no model's file: it is not replaced", path.display())]
    OtherFiles {
        /// The destination.
        path: PathBuf,
        /// What it holds.
        name: String,
    },
    /// The caller broke off.
    #[error("the conversion was broken off")]
    Cancelled,
    /// A value that fp16 cannot hold.
    #[error("tensor {name} has {value:e} at {index:?}, beyond fp16's range of ±65504")]
    Overflow {
        /// The tensor.
        name: String,
        /// The value.
        value: f32,
        /// Where it is.
        index: Vec<usize>,
    },
}
