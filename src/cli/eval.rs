//! `halfwarp eval`: how well a model predicts a text.

use super::{
    exit::Failure,
    model::ModelArgs,
    output::{self, per_second},
    prompt::read_text,
};
use halfwarp::{
    Tokenizer,
    eval::{self, Score, Windows},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

const AFTER_HELP: &str = "\
A window starts every STRIDE tokens and scores those of its tokens that no earlier one scored, as Hugging Face's \
perplexity of fixed-length models does. A small stride gives every token more context and takes longer. The standard \
error takes tokens as independent. Text is taken as it is, and no token is put before it.

Examples:
  halfwarp eval story.txt
  halfwarp eval --model gpt2 --stride 512 --json wiki.test.raw
  head -c 20000 book.txt | halfwarp eval -";

/// Measure how well a model predicts a text: perplexity, bits per byte
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The text; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Tokens in a window [default: the model's context]
    #[arg(short, long, value_name = "N")]
    window: Option<usize>,

    /// Tokens from one window to the next [default: half a window]
    #[arg(short, long, value_name = "N")]
    stride: Option<usize>,

    /// Score only the first N tokens of the text
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Write one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let text = match args.file.to_str() {
        Some("-") => read_text(Some("-"), None)?,
        _ => read_text(None, Some(&args.file))?,
    }
    .text;
    let model = args.model.open()?;
    let len = args.window.unwrap_or(model.engine.config().n_ctx);
    let windows = Windows { len, stride: args.stride.unwrap_or(len.div_ceil(2)) };
    let tokenizer = model.engine.tokenizer()?;
    let mut ids = tokenizer.prompt(tokenizer.encode(&text)?);
    ids.truncate(args.limit.unwrap_or(ids.len()));

    let bar = progress_bar(ids.len());
    let started = Instant::now();
    let (mut n_bytes, mut sum, mut n) = (0, 0.0, 0);
    let score = eval::score(&mut model.engine.session(), &ids, windows, |position, nats| {
        n_bytes += bytes_of(tokenizer, ids[position]);
        (sum, n) = (sum + nats, n + 1);
        bar.set_position(position as u64 + 1);
        if n % 64 == 0 {
            bar.set_message(format!("perplexity {:.2}", (sum / n as f64).exp()));
        }
    });
    bar.finish_and_clear();
    let speed = per_second(ids.len(), started.elapsed()).unwrap_or(0.0);
    report(&score?, n_bytes, windows, speed, &model.name, args.json)
}

/// Bytes of text that a token stands for.
fn bytes_of(tokenizer: &Tokenizer, id: u32) -> usize {
    tokenizer.token_bytes(id).map_or(0, <[u8]>::len)
}

/// Hidden where standard error is no terminal.
fn progress_bar(n_tokens: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tokens, {per_sec}, {eta} left  {msg}");
    ProgressBar::new(n_tokens as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(
    score: &Score,
    n_bytes: usize,
    windows: Windows,
    speed: f64,
    model: &str,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return output::print_json(&json!({
            "model": model,
            "perplexity": score.perplexity(),
            "perplexity_error": score.perplexity_error(),
            "nats_per_token": score.mean(),
            "nats_per_token_error": score.mean_error(),
            "bits_per_byte": score.bits_per_byte(n_bytes),
            "n_tokens": score.n_tokens,
            "n_bytes": n_bytes,
            "window": windows.len,
            "stride": windows.stride,
            "tokens_per_second": speed,
        }));
    }
    output::print(format_args!(
        "perplexity     {:.4} ± {:.4}\n\
         nats/token     {:.4} ± {:.4}\n\
         bits/byte      {:.4}\n\
         scored         {} tokens, {} bytes; window {}, stride {}\n\
         speed          {:.0} tok/s",
        score.perplexity(),
        score.perplexity_error(),
        score.mean(),
        score.mean_error(),
        score.bits_per_byte(n_bytes),
        score.n_tokens,
        n_bytes,
        windows.len,
        windows.stride,
        speed,
    ))
}
