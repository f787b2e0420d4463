//! Where a model comes from: a folder, one weights file beside its config, a name in the Hugging Face cache, or the
//! crate itself.
//!
//! Called by [`Engine::open`](crate::Engine::open) and by the program's commands that read a model without running it.
//! Tested in `tests/sources.rs`.

pub mod cache;
#[cfg(feature = "hub")]
pub mod hub;
mod info;

pub use info::Info;

use crate::{
    Tokenizer, Weights,
    format::{FormatError, WEIGHTS, is_weights_file},
    tokenizer::TokenizerError,
    weights::{LoadOptions, WeightsError, checkpoint::Checkpoint},
};
use cache::{HubCache, ModelId};
use std::path::{Path, PathBuf};

/// Shorthand for results with [`SourceError`].
type Result<T, E = SourceError> = std::result::Result<T, E>;

/// A model that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The small model that comes with the crate.
    #[cfg(feature = "bundled")]
    Bundled,
    /// A folder with config.json, weights and a tokenizer.
    Folder(PathBuf),
    /// A safetensors file or a PyTorch checkpoint; config.json and the tokenizer are beside it.
    File(PathBuf),
}

/// How a download goes.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// What is going to be downloaded, before anything is.
    Begins {
        /// The model, as the hub calls it.
        name: &'a str,
        /// Files that are missing.
        n_files: usize,
        /// Bytes that they lack.
        n_bytes: u64,
        /// The model's folder in the cache.
        folder: &'a Path,
    },
    /// A part of a file.
    File {
        /// The file, as it is called in the model's folder.
        file: &'a str,
        /// Bytes that are here, those of an earlier try included.
        n_done: u64,
        /// Bytes of the file.
        n_bytes: u64,
    },
}

impl Source {
    /// Finds the model that `name` names, without touching the network. In this order: nothing or `tales` is the
    /// bundled model; what exists as a folder or file is that; a name of the form `[org/]model[@revision]` is looked up
    /// in the Hugging Face cache.
    pub fn find(name: &str) -> Result<Self> {
        #[cfg(feature = "bundled")]
        if name.is_empty() || name == "tales" {
            return Ok(Self::Bundled);
        }
        let path = Path::new(name);
        if path.symlink_metadata().is_ok() {
            return Self::from_path(path);
        }
        let Some(id) = ModelId::parse(name) else {
            return Err(SourceError::NoSuchPath { path: path.into() });
        };
        let cache = HubCache::from_env()?;
        match cache.find(&id)? {
            Some(folder) => Ok(Self::Folder(folder)),
            None => Err(SourceError::NotFound { name: name.into(), cache: cache.root().into() }),
        }
    }

    /// [`find`](Self::find), and downloads a model that is not in the cache, where the crate is built with `hub` and
    /// `HF_HUB_OFFLINE` is not set. `progress` hears what that will be, and of every piece.
    pub fn fetch(name: &str, progress: &mut dyn FnMut(&Progress)) -> Result<Self> {
        let found = Self::find(name);
        #[cfg(feature = "hub")]
        if hub::should_download(&found)
            && let Some(id) = ModelId::parse(name)
            && let Some(hub) = hub::Hub::from_env()?
        {
            let downloaded = hub.download(&id, progress);
            return match (downloaded, found) {
                (Err(error), Err(SourceError::NotFound { name, cache })) => {
                    Err(SourceError::NotDownloaded { name, cache, error: Box::new(error) })
                }
                (downloaded, _) => Ok(Self::Folder(downloaded?)),
            };
        }
        let _ = progress;
        found
    }

    /// The model at a path: a folder, a weights file, or the index of its shards.
    pub fn from_path(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let metadata = path.metadata().map_err(|source| SourceError::Io { path: path.into(), source })?;
        if metadata.is_dir() {
            Ok(Self::Folder(path.into()))
        } else if name == "config.json" || WEIGHTS.iter().any(|(_, index)| *index == name) {
            Ok(Self::Folder(path.parent().unwrap_or(Path::new(".")).into()))
        } else if is_weights_file(path) {
            Ok(Self::File(path.into()))
        } else {
            Err(SourceError::NotAModel { path: path.into() })
        }
    }

    /// Opens and checks the model's files, without making weights of them.
    pub fn checkpoint(&self, options: &LoadOptions) -> Result<Checkpoint, WeightsError> {
        match self {
            #[cfg(feature = "bundled")]
            Self::Bundled => Checkpoint::bundled(),
            Self::Folder(path) | Self::File(path) => Checkpoint::open(path, options),
        }
    }

    /// Reads config.json and maps the weights.
    pub fn weights(&self, options: &LoadOptions) -> Result<Weights, WeightsError> {
        match self {
            #[cfg(feature = "bundled")]
            Self::Bundled => Weights::bundled(),
            Self::Folder(path) | Self::File(path) => Weights::open_with(path, options),
        }
    }

    /// Reads both, at the same time: parsing a tokenizer takes as long as checking 100 MB of weights.
    pub fn load(&self, options: &LoadOptions) -> Result<(Weights, Option<Tokenizer>)> {
        std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| self.tokenizer());
            let weights = self.weights(options)?;
            let tokenizer = tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((weights, tokenizer))
        })
    }

    /// What the model is, for people.
    pub fn info(&self) -> Result<Info, WeightsError> {
        Info::new(&self.checkpoint(&LoadOptions::default())?, self.folder())
    }

    /// The folder with the model's files; the bundled model has none.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            #[cfg(feature = "bundled")]
            Self::Bundled => None,
            Self::Folder(folder) => Some(folder),
            Self::File(file) => file.parent(),
        }
    }

    /// Reads the tokenizer; `None` where the model has no tokenizer files.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, TokenizerError> {
        match self.folder() {
            #[cfg(feature = "bundled")]
            None => Ok(Some(Tokenizer::bundled())),
            #[cfg(not(feature = "bundled"))]
            None => Ok(None),
            Some(folder) => Tokenizer::find(folder),
        }
    }
}

/// What to do about a model that is not here.
#[cfg(feature = "hub")]
const HOW_TO_GET: &str = "it was not downloaded, because HF_HUB_OFFLINE is set or nobody asked for it";
#[cfg(not(feature = "hub"))]
const HOW_TO_GET: &str =
    "this build does not download: run `hf download NAME`, or build with the feature `hub`";

/// Why no model was found, or it could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A checkpoint is malformed or does not fit its config.json.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer's files are malformed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A model cannot be downloaded.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] hub::HubError),
    /// A file of the cache cannot be read.
    #[error(transparent)]
    File(#[from] FormatError),
    /// The operating system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path where nothing is.
    #[error("no model at {}: there is no such file or folder", path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// A file that is not one of a model's.
    #[error("{} is not a model: expected a folder with config.json and model.safetensors or pytorch_model.bin, or a .safetensors or .bin file", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
    },
    /// A name that is neither a path nor in the cache.
    #[error(
        "no model {name:?}: there is no such path, and it is not in the Hugging Face cache at {}; {HOW_TO_GET}",
        cache.display()
    )]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// A name that is neither a path nor in the cache, and that could not be downloaded.
    #[cfg(feature = "hub")]
    #[error(
        "no model {name:?}: there is no such path, it is not in the Hugging Face cache at {}, and downloading it failed: {error}",
        cache.display()
    )]
    NotDownloaded {
        /// The name.
        name: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// Why it could not be downloaded.
        error: Box<SourceError>,
    },
    /// There is no cache to look in.
    #[error("cannot tell where the Hugging Face cache is: set HF_HUB_CACHE, HF_HOME or HOME")]
    NoCache,
    /// The name is in the cache, but not the revision.
    #[error("{name} is in the Hugging Face cache at {}, but not its revision {revision:?}", folder.display())]
    NoRevision {
        /// The model.
        name: String,
        /// The revision.
        revision: String,
        /// The model's folder in the cache.
        folder: PathBuf,
    },
}
