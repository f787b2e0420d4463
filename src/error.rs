//! The crate's error: those of the rooms below the engine, and what can go wrong in the engine and above.

use crate::{
    backend::BackendError, cache::CacheError, config::ContextError, convert::ConvertError,
    family::ConfigError, sampler::SamplingError, source::SourceError, tokenizer::TokenizerError,
    weights::WeightsError,
};

/// Shorthand for results with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. Every text names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model was found, or it cannot be downloaded.
    #[error(transparent)]
    Source(SourceError),
    /// config.json is malformed or describes a model that is not supported.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A context that the model cannot have.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A checkpoint is malformed or does not fit its config.json.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A model cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The tokenizer's files are malformed, or a token id is not in its vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A sampling parameter is out of range, or the logits cannot be sampled from.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A batch does not fit the KV cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A device cannot run the model, or a forward call failed.
    #[error(transparent)]
    Backend(BackendError),
    /// A call that needs text, on a model that came without a tokenizer.
    #[error(
        "the model has no tokenizer: give token ids, or add tokenizer.json, vocab.json and merges.txt, or vocab.txt"
    )]
    NoTokenizer,
    /// A turn without tokens.
    #[error("turn {turn} of the batch has no tokens")]
    NoTokens {
        /// Its place in the batch, from 0.
        turn: usize,
    },
    /// A session in another engine's batch.
    #[error("the session of turn {turn} of the batch belongs to another engine")]
    OtherEngine {
        /// The turn's place in the batch, from 0.
        turn: usize,
    },
    /// A prompt without tokens, on a model without a first token.
    #[error("the prompt has no tokens, and the model has no bos_token_id to start from")]
    EmptyPrompt,
    /// The prompt alone does not fit.
    #[error("this model's maximum context length is {n_ctx} tokens; the prompt has {n_prompt}")]
    PromptTooLong {
        /// Positions the model has.
        n_ctx: usize,
        /// Tokens of the prompt.
        n_prompt: usize,
    },
    /// The prompt fits, the answer asked for does not.
    #[error(
        "this model's maximum context length is {n_ctx} tokens; the prompt has {n_prompt} and {max_tokens} more were asked for"
    )]
    TooManyTokens {
        /// Positions the model has.
        n_ctx: usize,
        /// Tokens of the prompt.
        n_prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
    },
    /// Windows that a text cannot be scored with.
    #[error(
        "a window of {len} tokens every {stride}: expected 1 <= stride <= window, and 2 <= window <= {n_ctx}"
    )]
    Windows {
        /// Tokens in a window.
        len: usize,
        /// Tokens from one window to the next.
        stride: usize,
        /// Positions the model has.
        n_ctx: usize,
    },
    /// A text without a token that follows another.
    #[error("the text has {n_tokens} tokens, expected 2 or more")]
    NothingToScore {
        /// Tokens of the text.
        n_tokens: usize,
    },
    /// A KV cache that could run out with a single text in it.
    #[error("the KV cache holds {n_cache} tokens, expected at least the model's context of {n_ctx}")]
    CacheTooSmall {
        /// Tokens that it holds.
        n_cache: usize,
        /// Positions the model has.
        n_ctx: usize,
    },
    /// More texts at once than a scheduler takes.
    #[error(
        "{n_open} texts are running or waiting and {n} more were submitted: expected at most {limit} in all"
    )]
    QueueFull {
        /// Texts that are running or waiting.
        n_open: usize,
        /// Texts that were submitted.
        n: usize,
        /// Texts that may run and wait.
        limit: usize,
    },
    /// A scheduler that takes no more texts.
    #[error("the scheduler is closed: it takes no more texts")]
    Closed,
    /// A thread could not be started.
    #[error("a thread could not be started: {error}")]
    Thread {
        /// Why.
        error: String,
    },
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Weights(error) => Self::Weights(error),
            SourceError::Tokenizer(error) => Self::Tokenizer(error),
            error => Self::Source(error),
        }
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Cache(error) => Self::Cache(error),
            BackendError::Sampling(error) => Self::Sampling(error),
            error => Self::Backend(error),
        }
    }
}

impl Error {
    /// Whether the device is lost with it: nothing can run on it any more in this process.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Backend(error) if error.is_fatal())
    }

    /// Whether a device's memory was too small: nothing has changed, and the call can be made again.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Backend(error) if error.is_out_of_memory())
    }
}
