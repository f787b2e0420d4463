//! Why a batch does not fit a cache.

/// Why a batch does not fit a cache. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A token id that the model has no embedding for.
    #[error("token id {id} out of range 0..={}", n_vocab - 1)]
    TokenOutOfRange {
        /// The id that was given.
        id: u32,
        /// The model's vocabulary size.
        n_vocab: usize,
    },
    /// More tokens than the model has positions for.
    #[error(
        "this model's maximum context length is {n_ctx} tokens; {n_cached} are cached and {n_tokens} more were given"
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
    #[error("the KV cache needs {needed} more pages of {page_len} tokens, {free} are free", page_len = super::PAGE_LEN)]
    Full {
        /// Pages that the call needs.
        needed: usize,
        /// Pages that are free.
        free: usize,
    },
    /// A sequence that was released, or that belongs to another cache.
    #[error("sequence {index} is not in this KV cache")]
    UnknownSequence {
        /// Index of the sequence.
        index: u32,
    },
}
