//! Why a token could not be chosen.

/// Why a token could not be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A parameter is out of range.
    #[error("{name} is {found}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A row of logits of another vocabulary.
    #[error("{found} logits, expected {n_vocab}")]
    Length {
        /// Logits that were given.
        found: usize,
        /// Logits that the sampler was made for.
        n_vocab: usize,
    },
    /// A logit is NaN or infinite.
    #[error("non-finite logits at position {position}")]
    NonFinite {
        /// Position of the token that was to be chosen.
        position: usize,
    },
    /// Every token is banned: by the parameters, or by a logit of minus infinity.
    #[error("no token can be chosen at position {position}: every one is banned")]
    AllBanned {
        /// Position of the token that was to be chosen.
        position: usize,
    },
}
