//! `halfwarp tokenize`: shows how a text splits into tokens. Reads the tokenizer alone: no weights, no config.

use super::{
    exit::Failure,
    model::SourceArgs,
    output::{self, Out},
    prompt::{Ids, read_text},
};
use halfwarp::{Error, Tokenizer};
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
The text is taken as it is, the line break at the end of a file or of piped input included.

Examples:
  halfwarp tokenize \"Once upon a time\"
  halfwarp tokenize --ids \"Once upon a time\"         1,2,3 for --ids of other commands
  halfwarp tokenize --decode 464,3290 --model gpt2
  halfwarp tokenize --file story.txt --json | jq .count";

/// Show how a text splits into tokens
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The text; `-`, or nothing where input is piped in, reads standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,

    /// Read the text from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,

    /// The other way: the text of these token ids
    #[arg(long, value_name = "IDS", conflicts_with_all = ["text", "file", "ids"])]
    decode: Option<Ids>,

    /// Write only the ids, separated by commas
    #[arg(long, conflicts_with = "json")]
    ids: bool,

    /// Write one JSON object: ids, pieces, bytes, count
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    source: SourceArgs,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let tokenizer = args.source.source()?.tokenizer()?.ok_or(Error::NoTokenizer)?;
    match &args.decode {
        Some(Ids(ids)) => decode(&tokenizer, ids, args.json),
        None => encode(&tokenizer, &args),
    }
}

fn decode(tokenizer: &Tokenizer, ids: &[u32], json: bool) -> Result<(), Failure> {
    let text = tokenizer.decode(ids)?;
    if json { output::print_json(&json!({ "text": text, "ids": ids })) } else { output::print(text) }
}

fn encode(tokenizer: &Tokenizer, args: &Args) -> Result<(), Failure> {
    let text = read_text(args.text.as_deref(), args.file.as_deref())?.text;
    let ids = tokenizer.encode(&text)?;
    if args.ids {
        return output::print(comma_separated(&ids));
    }
    let bytes = ids.iter().map(|&id| tokenizer.token_bytes(id)).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        let pieces: Vec<_> = bytes.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        return output::print_json(&json!({
            "ids": ids,
            "pieces": pieces,
            "bytes": bytes,
            "count": ids.len(),
        }));
    }
    let mut out = Out::new();
    for (id, bytes) in ids.iter().zip(bytes) {
        out.line(format_args!("{id:>8}  {}", quoted(bytes)))?;
    }
    out.flush()
}

/// `"text"`, or `b"\xe4\xb8"` where the token is a part of a character.
fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

fn comma_separated(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
