//! Why a config.json was refused. Every text names the field, what it is and what was expected.

/// Why a config.json was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON.
    #[error("config.json: {message}, near {near:?}")]
    Json {
        /// What is wrong, with line and column.
        message: String,
        /// The text before that place.
        near: String,
    },
    /// JSON, but not an object.
    #[error("config.json: expected an object of fields, found {found}")]
    NotAnObject {
        /// What kind of value it is.
        found: &'static str,
    },
    /// A field that has no default is not there.
    #[error("config.json: {key} is missing")]
    Missing {
        /// The field.
        key: &'static str,
    },
    /// A field of the wrong type or out of range.
    #[error("config.json: {key} is {found}, expected {expected}")]
    Invalid {
        /// The field.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Two names of one field disagree.
    #[error("config.json: {key} is {value}, but {other} is {other_value}")]
    Disagree {
        /// The field.
        key: &'static str,
        /// Its value.
        value: usize,
        /// Its other name.
        other: &'static str,
        /// The value under that name.
        other_value: usize,
    },
    /// The width is not a multiple of the heads.
    #[error("config.json: n_embd is {n_embd}, expected a multiple of n_head, {n_head}")]
    Heads {
        /// Width.
        n_embd: usize,
        /// Heads.
        n_head: usize,
    },
    /// A field asks for something that is not implemented.
    #[error("config.json: {key} is {found}, which is not supported: expected {expected}")]
    Unsupported {
        /// The field.
        key: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        expected: String,
    },
}
