//! What is wrong with a PTX text, and where.

/// A PTX text that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}: `{}`", text.trim())]
pub struct Error {
    /// The line, from 1.
    pub line: u32,
    /// What stands on the line.
    pub text: String,
    /// What was found and what was expected.
    pub message: String,
}

impl Error {
    /// An error on this line of `source`, the whole text.
    pub(super) fn at(source: &str, line: u32, message: impl Into<String>) -> Error {
        let text = source.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default();
        Error { line, text: text.to_string(), message: message.into() }
    }
}

/// What a parsing step gives.
pub(super) type Result<T> = std::result::Result<T, Error>;
