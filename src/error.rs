//! The crate's error: one variant per way in which a forward call or a generation can fail; each loader has an
//! error enum of its own, wrapped here.

use crate::{
    config::ContextError, convert::ConvertError, family::ConfigError, sampler::SamplingError,
    source::SourceError, tokenizer::TokenizerError, weights::WeightsError,
};

/// Shorthand for results with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. Every text names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model was found.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A model cannot be downloaded.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::source::hub::HubError),
    /// config.json is malformed or describes a model that is not supported.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A context that the model cannot have.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A weights file is malformed or does not fit config.json.
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
    /// A token id that the model has no embedding for.
    #[error("token id {id} out of range 0..={}", n_vocab - 1)]
    TokenOutOfRange {
        /// The id that was given.
        id: u32,
        /// The model's vocabulary size.
        n_vocab: usize,
    },
    /// A CUDA device was asked for and cannot be had.
    #[error("no CUDA device: {reason}; use --device cpu")]
    NoCuda {
        /// Why.
        reason: String,
    },
    /// A model whose shape the CUDA kernels do not support.
    #[error("the CUDA backend does not support {name} {value}: expected {expected}; use --device cpu")]
    CudaModel {
        /// The field of config.json.
        name: &'static str,
        /// What it is.
        value: usize,
        /// What the kernels support.
        expected: String,
    },
    /// The device's memory does not hold something. That passes: the call can be made again.
    #[error(
        "not enough memory on the CUDA device: {what} needs {} MiB, {} MiB are free",
        needed.div_ceil(1 << 20), free >> 20
    )]
    DeviceMemory {
        /// What it does not hold.
        what: String,
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// This machine's memory does not hold the KV cache.
    #[error("not enough memory for a KV cache of {n_tokens} tokens")]
    HostMemory {
        /// Tokens that it was to hold.
        n_tokens: usize,
    },
    /// A call of the driver failed.
    #[error("CUDA: {what} failed: {error}")]
    Cuda {
        /// What was being done.
        what: String,
        /// The driver's name of the error, and its text.
        error: String,
        /// Whether memory ran out, which passes; most other errors stay until the process ends.
        out_of_memory: bool,
    },
    /// An earlier error ended the device's work.
    #[error("the device is lost since an earlier error: {error}")]
    DeviceLost {
        /// That error.
        error: String,
    },
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
    /// Whoever heard of the progress asked to stop.
    #[error("the loading was cancelled")]
    LoadCancelled,
    /// A prompt without tokens, on a model without a first token.
    #[error("the prompt has no tokens, and the model has no bos_token_id to start from")]
    EmptyPrompt,
    /// The prompt alone does not fit.
    #[error("the model's maximum context length is {n_ctx} tokens; the prompt has {n_prompt}")]
    PromptTooLong {
        /// Positions the model has.
        n_ctx: usize,
        /// Tokens of the prompt.
        n_prompt: usize,
    },
    /// The prompt fits, the answer asked for does not.
    #[error(
        "the model's maximum context length is {n_ctx} tokens; the prompt has {n_prompt} and {max_tokens} more were asked for"
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
    /// More tokens than the model has positions for.
    #[error(
        "the model's maximum context length is {n_ctx} tokens; {n_cached} are cached and {n_tokens} more were given"
    )]
    ContextFull {
        /// Positions the model has.
        n_ctx: usize,
        /// Tokens already in the sequence.
        n_cached: usize,
        /// Tokens that were to be appended.
        n_tokens: usize,
    },
    /// The KV cache has too few free pages.
    #[error("the KV cache needs {needed} more pages of {page_len} tokens, {free} are free", page_len = crate::cache::PAGE_LEN)]
    CacheFull {
        /// Pages that the call needs.
        needed: usize,
        /// Pages that are free.
        free: usize,
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
    /// A KV cache whose memory the backend does not have: another took its place.
    #[error("a KV cache of {found} pages, expected the last one that the backend made, of {expected}")]
    OtherCache {
        /// Pages that it has.
        found: usize,
        /// Pages that the backend has.
        expected: usize,
    },
    /// A sequence that was released, or that belongs to another cache.
    #[error("sequence {index} is not in this KV cache")]
    UnknownSequence {
        /// Index of the sequence.
        index: u32,
    },
}

impl Error {
    /// Whether the device is lost with it: nothing can run on it any more in this process.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::DeviceLost { .. } | Self::Cuda { out_of_memory: false, .. })
    }

    /// Whether a device's memory was too small: nothing has changed, and the call can be made again.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::DeviceMemory { .. } | Self::Cuda { out_of_memory: true, .. })
    }
}
