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

/// `message` with its line breaks made visible: names of files and texts of others may contain any.
fn one_line(message: &str) -> String {
    message.trim_end().replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_line_breaks_stays_one_line() {
        assert_eq!(one_line("bad name \"a\nb\"\r\n"), "bad name \"a\\nb\"");
    }
}
