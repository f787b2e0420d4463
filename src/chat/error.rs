//! [`TemplateError`].

use crate::{format::FormatError, tokenizer::TokenizerError};

/// Why there is no template, or no prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The model has none, and nobody gave one.
    #[error("the model has no chat template, so nobody knows how it was taught to read a conversation")]
    Missing,
    /// A file that cannot be opened or read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file that is not what it should be.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The template is no Jinja, or failed.
    #[error("the chat template: {0}")]
    Jinja(String),
    /// The template's text is longer than templates are.
    #[error("the chat template has {n_bytes} bytes, expected {limit} at most")]
    SourceTooLong {
        /// Its length.
        n_bytes: usize,
        /// The longest one.
        limit: usize,
    },
    /// The template does not end.
    #[error("the chat template took longer than {} s", limit.as_secs())]
    TooSlow {
        /// The longest time.
        limit: std::time::Duration,
    },
    /// The prompt is longer than it may be.
    #[error("the chat template makes a prompt of {n_bytes} bytes")]
    TooLong {
        /// Its length.
        n_bytes: usize,
    },
    /// The last message cannot go on.
    #[error("the chat template does not write the last message as it is, so that it cannot be continued")]
    NotContinued,
    /// What a message says decides which special tokens the template writes.
    #[error(
        "the chat template changes the messages so that its special tokens cannot be told from their text"
    )]
    Ambiguous,
    /// The prompt cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
