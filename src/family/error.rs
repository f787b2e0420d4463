//! Why a model's config.json or generation_config.json was refused. Every text names the field, what it is and what was
//! expected.

/// Why a file of fields was refused.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct ConfigError {
    /// The file: config.json or generation_config.json.
    pub file: &'static str,
    /// What is wrong with it.
    pub problem: ConfigProblem,
}

/// What is wrong with a file of fields.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// Not JSON.
    #[error("{message}, near {near:?}")]
    Json {
        /// What is wrong, with line and column.
        message: String,
        /// The text before that place.
        near: String,
    },
    /// JSON, but not an object.
    #[error("expected an object of fields, found {found}")]
    NotAnObject {
        /// What kind of value it is.
        found: &'static str,
    },
    /// A field that has no default is not there.
    #[error("{key} is missing")]
    Missing {
        /// The field.
        key: &'static str,
    },
    /// A field of the wrong type or out of range.
    #[error("{key} is {found}, expected {expected}")]
    Invalid {
        /// The field.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Two names of one field disagree.
    #[error("{key} is {value}, but {other} is {other_value}")]
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
    #[error("n_embd is {n_embd}, expected a multiple of n_head, {n_head}")]
    Heads {
        /// Width.
        n_embd: usize,
        /// Heads.
        n_head: usize,
    },
    /// A field asks for something that is not implemented.
    #[error("{key} is {found}, which is not supported: expected {expected}")]
    Unsupported {
        /// The field.
        key: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        expected: String,
    },
}
