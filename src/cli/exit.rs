//! How the program ends: one line on standard error, and an exit code that scripts can tell apart.

use std::{fmt::Display, io, process::ExitCode};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong, or it asked for help.
    Usage(clap::Error),
    /// Anything else, as a line for people.
    Message(String),
    /// Ctrl-C.
    Interrupted,
    /// Whoever read the output has gone: no error of ours.
    ReaderGone,
}

impl Failure {
    /// `what: why`.
    pub fn because(what: impl Display, why: impl Display) -> Self {
        Self::Message(format!("{what}: {why}"))
    }

    /// A failure to write to `what`.
    pub fn writing(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::because(format_args!("cannot write to {what}"), error),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Message(message) => f.write_str(message),
            Self::Interrupted => f.write_str("interrupted"),
            Self::ReaderGone => f.write_str("the reader of the output has gone"),
        }
    }
}

/// Failures of the library's rooms are told by their texts.
macro_rules! told_by_its_text {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Message(error.to_string())
            }
        })*
    };
}

told_by_its_text!(
    halfwarp::Error,
    halfwarp::backend::BackendError,
    halfwarp::cache::CacheError,
    halfwarp::convert::ConvertError,
    halfwarp::source::SourceError,
    halfwarp::tokenizer::TokenizerError,
    halfwarp::weights::WeightsError
);

/// Reports the outcome and turns it into the exit code.
pub fn code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => ExitCode::from(130),
        Err(Failure::Message(message)) => {
            super::output::note(format_args!("error: {}", one_line(&message)));
            ExitCode::from(1)
        }
        Err(Failure::Usage(error)) => match error.print() {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                code(Err(Failure::writing("standard output", &e)))
            }
            _ => ExitCode::from(error.exit_code() as u8),
        },
    }
}

/// Most characters of a message that are shown.
const LONGEST: usize = 4000;

/// `message` as one line that only says something: names of files and texts of others may hold line breaks and whatever else a
/// terminal acts on, and be of any length.
pub fn one_line(message: &str) -> String {
    let message = message.trim_end();
    let mut line = String::with_capacity(message.len().min(LONGEST));
    for c in message.chars().take(LONGEST) {
        match halfwarp::format::acts(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    match message.chars().count() {
        0..=LONGEST => line,
        n => format!("{line}… ({n} characters)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_line_breaks_stays_one_line() {
        assert_eq!(one_line("bad name \"a\nb\"\r\n"), "bad name \"a\\nb\"");
        assert_eq!(one_line("\x1b[2Jgone\u{202e}"), "\\u{1b}[2Jgone\\u{202e}");
    }

    #[test]
    fn a_message_without_end_is_cut() {
        let line = one_line(&"x".repeat(1 << 24));
        assert!(line.len() < 5000 && line.ends_with("x… (16777216 characters)"), "{} bytes", line.len());
    }
}
