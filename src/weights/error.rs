//! Why a checkpoint was refused. Every text names the file, and the tensor where there is one.

use crate::{family::ConfigError, format::FormatError};
use std::path::PathBuf;

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// config.json is malformed or describes a model that is not supported.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file is malformed or cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A folder without config.json.
    #[error("{} is not a model folder: it has no config.json", folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// The crate was built where its model's weights are not.
    #[cfg(feature = "bundled")]
    #[error(
        "this build has no model of its own: it comes from the crate's package, which leaves the weights out for their size; \
         name a model, or build from the repository"
    )]
    NotBundled,
    /// The tensors do not fit config.json.
    #[error("the weights do not fit config.json: {}", list(problems))]
    Mismatch {
        /// Every problem: the tensor, what was expected and what was found.
        problems: Vec<String>,
    },
    /// Weights that are NaN or infinite.
    #[error("{} (they can be accepted with allow_nonfinite)", list(tensors))]
    NonFinite {
        /// Every tensor with such values: how many, and where the first one is.
        tensors: Vec<String>,
    },
}

/// Most entries that one message spells out.
const LISTED: usize = 20;

fn list(entries: &[String]) -> String {
    let mut text = entries.iter().take(LISTED).cloned().collect::<Vec<_>>().join("; ");
    if entries.len() > LISTED {
        text += &format!("; and {} more", entries.len() - LISTED);
    }
    text
}
