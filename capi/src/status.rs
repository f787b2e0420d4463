//! [`Failure`]: a status with its text, and what the engine's errors are in C.

use crate::types::hw_status::{self, *};
use halfwarp::{
    Error, backend::BackendError, cache::CacheError, sampler::SamplingError, tokenizer::TokenizerError,
};
use std::ffi::CStr;

/// What the body of an exported function gives.
pub type Call<T = ()> = Result<T, Failure>;

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    /// For programs.
    pub status: hw_status,
    /// For people.
    pub text: String,
}

impl Failure {
    /// A failure with a text.
    pub fn new(status: hw_status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// An argument that cannot be right.
    pub fn bad_arg(text: impl Into<String>) -> Self {
        Self::new(HW_E_BAD_ARG, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(status_of(&error), error.to_string())
    }
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        Error::from(error).into()
    }
}

impl From<SamplingError> for Failure {
    fn from(error: SamplingError) -> Self {
        Error::from(error).into()
    }
}

fn status_of(error: &Error) -> hw_status {
    match error {
        Error::Source(_) => HW_E_NOT_FOUND,
        Error::Config(_) | Error::Weights(_) => HW_E_MODEL,
        Error::Tokenizer(TokenizerError::OutOfRange { .. } | TokenizerError::Encode(_)) => HW_E_BAD_ARG,
        Error::Tokenizer(TokenizerError::Missing { .. }) | Error::NoTokenizer => HW_E_NO_TOKENIZER,
        Error::Tokenizer(_) => HW_E_MODEL,
        Error::Sampling(SamplingError::Parameter { .. } | SamplingError::AllBanned { .. }) => HW_E_BAD_ARG,
        Error::Sampling(SamplingError::NonFinite { .. }) => HW_E_MODEL,
        Error::Context(_) | Error::EmptyPrompt | Error::NoTokens { .. } | Error::OtherEngine { .. } => {
            HW_E_BAD_ARG
        }
        Error::PromptTooLong { .. } | Error::TooManyTokens { .. } => HW_E_CTX_FULL,
        Error::Cache(error) => of_cache(error),
        Error::Backend(error) => of_backend(error),
        _ => HW_E_INTERNAL,
    }
}

fn of_cache(error: &CacheError) -> hw_status {
    match error {
        CacheError::TokenOutOfRange { .. } => HW_E_BAD_ARG,
        CacheError::ContextFull { .. } => HW_E_CTX_FULL,
        CacheError::Full { .. } => HW_E_CACHE_FULL,
        _ => HW_E_INTERNAL,
    }
}

fn of_backend(error: &BackendError) -> hw_status {
    match error {
        BackendError::HostMemory { .. } => HW_E_OUT_OF_MEMORY,
        error if error.is_out_of_memory() => HW_E_OUT_OF_MEMORY,
        BackendError::NoCuda { .. } | BackendError::CudaModel { .. } => HW_E_DEVICE,
        error if error.is_fatal() => HW_E_DEVICE,
        BackendError::Cancelled => HW_E_CANCELLED,
        _ => HW_E_INTERNAL,
    }
}

/// Every status and its name.
pub const NAMES: [(hw_status, &CStr); 16] = [
    (HW_OK, c"HW_OK"),
    (HW_E_BAD_ARG, c"HW_E_BAD_ARG"),
    (HW_E_BAD_HANDLE, c"HW_E_BAD_HANDLE"),
    (HW_E_BUSY, c"HW_E_BUSY"),
    (HW_E_TOO_SMALL, c"HW_E_TOO_SMALL"),
    (HW_E_CTX_FULL, c"HW_E_CTX_FULL"),
    (HW_E_CACHE_FULL, c"HW_E_CACHE_FULL"),
    (HW_E_NOT_FOUND, c"HW_E_NOT_FOUND"),
    (HW_E_MODEL, c"HW_E_MODEL"),
    (HW_E_NO_TOKENIZER, c"HW_E_NO_TOKENIZER"),
    (HW_E_DEVICE, c"HW_E_DEVICE"),
    (HW_E_OUT_OF_MEMORY, c"HW_E_OUT_OF_MEMORY"),
    (HW_E_CANCELLED, c"HW_E_CANCELLED"),
    (HW_E_CALLBACK, c"HW_E_CALLBACK"),
    (HW_E_INTERNAL, c"HW_E_INTERNAL"),
    (HW_E_NO_TEMPLATE, c"HW_E_NO_TEMPLATE"),
];
