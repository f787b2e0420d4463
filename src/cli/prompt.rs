//! What a text starts from: an argument, a file, standard input, or token ids.

use super::exit::Failure;
use halfwarp::engine::Prompt;
use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

/// A comma-separated list of token ids.
#[derive(Clone, Debug)]
pub struct Ids(pub Vec<u32>);

impl std::str::FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |piece: &str| {
            let piece = piece.trim();
            piece.parse().map_err(|_| format!("{piece:?} is not a token id, expected 0..={}", u32::MAX))
        };
        text.trim().split(',').map(id).collect::<Result<_, _>>().map(Self)
    }
}

/// Where the prompt comes from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct PromptArgs {
    /// The text to continue; `-`, or nothing where input is piped in, reads standard input
    #[arg(value_name = "PROMPT")]
    pub text: Option<String>,

    /// The text to continue, as an option
    #[arg(short, long, value_name = "PROMPT", allow_hyphen_values = true)]
    pub prompt: Option<String>,

    /// Read the prompt from a file, without its last line break
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// The prompt as token ids, 1,2,3: needs no tokenizer
    #[arg(long, value_name = "IDS", conflicts_with_all = ["chat", "special"])]
    pub ids: Option<Ids>,
}

impl PromptArgs {
    /// Reads the prompt, without the line break that ends a file or piped input.
    pub fn read(self) -> Result<Prompt, Failure> {
        match self {
            Self { ids: Some(Ids(ids)), .. } => Ok(Prompt::Ids(ids)),
            Self { prompt: Some(text), .. } => Ok(Prompt::Text(text)),
            Self { text, file, .. } => {
                let mut input = read_text(text.as_deref(), file.as_deref())?;
                if input.from_stream {
                    strip_line_break(&mut input.text);
                }
                Ok(Prompt::Text(input.text))
            }
        }
    }
}

/// Text that was given, and how.
pub struct Input {
    pub text: String,
    /// From a file or standard input, so that a line break at its end may be the editor's.
    pub from_stream: bool,
}

/// The text in `text`, in `file`, or on standard input if that is piped in; otherwise empty.
pub fn read_text(text: Option<&str>, file: Option<&Path>) -> Result<Input, Failure> {
    let stream = |name: &str, bytes| Ok(Input { text: utf8(name, bytes)?, from_stream: true });
    match (text, file) {
        (_, Some(path)) => {
            let name = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|e| Failure::because(&name, e))?;
            stream(&name, bytes)
        }
        (Some("-"), _) => stream("standard input", read_stdin()?),
        (Some(text), _) => Ok(Input { text: text.into(), from_stream: false }),
        (None, None) if std::io::stdin().is_terminal() => {
            Ok(Input { text: String::new(), from_stream: false })
        }
        (None, None) => stream("standard input", read_stdin()?),
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::because("cannot read standard input", e))?;
    Ok(bytes)
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::because(name, format_args!("not UTF-8: byte {:#04x} at offset {at}", e.as_bytes()[at]))
    })
}

/// Removes the line break that ends `text`.
pub fn strip_line_break(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_stripped_and_no_more() {
        for (given, kept) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("\n", ""), ("", "")]
        {
            let mut text = given.to_string();
            strip_line_break(&mut text);
            assert_eq!(text, kept, "{given:?}");
        }
    }

    #[test]
    fn ids_are_named_when_they_are_not_numbers() {
        assert_eq!("1, 2,3".parse::<Ids>().unwrap().0, [1, 2, 3]);
        for bad in ["", "1,,2", "-1", "4294967296", "a"] {
            assert!(bad.parse::<Ids>().unwrap_err().contains("is not a token id"), "{bad:?}");
        }
    }
}
