//! `halfwarp convert`: any checkpoint as fp16 weights that map in place.

use super::{
    exit::Failure,
    interrupt::Interrupt,
    model::SourceArgs,
    output::{self, bytes, count, note},
};
use halfwarp::convert::{ConvertError, ConvertOptions, Progress, Report, convert_with};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::{
    ffi::OsString,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

const AFTER_HELP: &str = "\
The folder holds config.json, model.safetensors in fp16 under Hugging Face's names, and the tokenizer's files. It \
appears under its name once it is complete. Values beyond fp16's range of ±65504 are refused, as are NaN and infinite \
ones.

Examples:
  halfwarp convert gpt2 gpt2-fp16
  halfwarp convert path/to/model.safetensors my-model --force
  halfwarp generate --model gpt2-fp16 \"The capital of France is\"";

/// Write a model as fp16 weights: half the size and half the time per token of fp32
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The model: a folder, a weights file, or a name in the Hugging Face cache
    #[arg(value_name = "SRC")]
    source: OsString,

    /// The folder to write
    #[arg(value_name = "DST")]
    destination: PathBuf,

    /// Replace a model that is there
    #[arg(short, long)]
    force: bool,

    /// Write what was done as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let source = SourceArgs { model: Some(args.source) }.source()?;
    let options = ConvertOptions { overwrite: args.force };
    let cancel = Interrupt::watch()?.token();
    let bar = ProgressBar::no_length().with_style(style());
    let outcome = convert_with(&source, &args.destination, &options, |Progress { n_done, n_params }| {
        bar.set_length(n_params);
        bar.set_position(n_done);
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    match outcome {
        Ok(report) => tell(&report, &args.destination, args.json),
        Err(ConvertError::Cancelled) => Err(Failure::Interrupted),
        Err(ConvertError::Exists { path }) => {
            Err(Failure::because(path.display(), "exists; --force replaces a model"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Hidden where standard error is no terminal.
fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:30} {percent}% of {human_len} parameters, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn tell(report: &Report, destination: &Path, json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(&json!({
            "destination": destination.to_string_lossy(),
            "n_tensors": report.n_tensors,
            "n_params": report.n_params,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "n_rounded": report.n_rounded,
            "n_to_zero": report.n_to_zero,
        }));
    }
    note(format_args!(
        "wrote {}: {} parameters in {} tensors, {} from {}; {} values rounded, {} of them to zero",
        destination.display(),
        count(report.n_params),
        report.n_tensors,
        bytes(report.bytes_after),
        bytes(report.bytes_before),
        report.n_rounded,
        report.n_to_zero,
    ));
    Ok(())
}
