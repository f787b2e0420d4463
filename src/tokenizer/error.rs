//! Why a tokenizer or a text was refused.

use crate::format::FormatError;
use std::{fmt::Display, path::PathBuf};

/// Why a tokenizer was refused, or a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FormatError),
    /// A folder without tokenizer files.
    #[error("{} has no tokenizer.json, no vocab.json with merges.txt, and no vocab.txt", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// A file does not describe a tokenizer.
    #[error("{file}{}{section}: {what}", if section.is_empty() { "" } else { ": " })]
    Malformed {
        /// The file.
        file: &'static str,
        /// The part of it that is wrong, like `model.vocab`; empty where it is the file as a whole.
        section: String,
        /// What is wrong.
        what: String,
    },
    /// A token id that is not in the vocabulary.
    #[error("token id {id} out of range 0..={}", n_vocab.saturating_sub(1))]
    OutOfRange {
        /// The id.
        id: u32,
        /// Number of token ids.
        n_vocab: usize,
    },
    /// The text cannot be encoded.
    #[error("cannot encode the text: {0}")]
    Encode(String),
    /// The text has more tokens than whoever asked has use for.
    #[error("the first {n_bytes} bytes of the text are {n_tokens} tokens, expected at most {n_max} in all")]
    TooMany {
        /// Tokens that were asked for at most.
        n_max: usize,
        /// Tokens up to where the text was given up.
        n_tokens: usize,
        /// Bytes up to there.
        n_bytes: usize,
    },
    /// Whoever asked for the ids of a text has no use for them any more.
    #[error("the ids of the text are not wanted any more")]
    Stopped,
}

impl TokenizerError {
    pub(super) fn malformed(file: &'static str, section: impl Into<String>, what: impl Display) -> Self {
        Self::Malformed { file, section: section.into(), what: what.to_string() }
    }
}
