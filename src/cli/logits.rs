//! `halfwarp logits`: the model's logits at every position of a text, as a safetensors file.

use super::{
    exit::Failure,
    model::{Model, ModelArgs},
    output::note,
    prompt::{Ids, read_text},
};
use halfwarp::{Error, engine::Prompt};
use serde_json::json;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

const AFTER_HELP: &str = "\
The file holds `logits`, [T, V] f32, and `input_ids`, [T] i64. Rows are written as they are computed, so memory does \
not grow with T. The file appears under its name once it is complete.

Examples:
  halfwarp logits --ids 464,3290 --model gpt2 --out dog.safetensors
  halfwarp logits --text \"Once upon a time\" --out once.safetensors";

/// Write the logits at every position of a text to a file
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct InputArgs {
    /// Token ids, 1,2,3: needs no tokenizer
    #[arg(long, value_name = "IDS")]
    ids: Option<Ids>,

    /// A text; `-` reads standard input
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,

    /// A file with the text
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let prompt = match args.input {
        InputArgs { ids: Some(Ids(ids)), .. } => Prompt::Ids(ids),
        InputArgs { text, file, .. } => Prompt::Text(read_text(text.as_deref(), file.as_deref())?.text),
    };
    let model = args.model.open()?;
    let ids = model.engine.prompt_ids(prompt)?;
    let n_ctx = model.engine.config().n_ctx;
    if ids.len() > n_ctx {
        return Err(Error::PromptTooLong { n_ctx, n_prompt: ids.len() }.into());
    }
    let mut target = Target::create(&args.out).map_err(|e| Failure::because(args.out.display(), e))?;
    let written = write(&model, &ids, &mut target);
    target.close(written, &args.out)?;
    note(format_args!(
        "wrote {}: logits [{}, {}], input_ids [{}]",
        args.out.display(),
        ids.len(),
        model.engine.config().n_vocab,
        ids.len()
    ));
    Ok(())
}

/// Writes the whole file: header, ids, then row after row.
fn write(model: &Model, ids: &[u32], target: &mut Target) -> Result<(), WriteError> {
    let out = &mut target.out;
    out.write_all(&header(ids.len(), model.engine.config().n_vocab))?;
    for &id in ids {
        out.write_all(&i64::from(id).to_le_bytes())?;
    }
    let mut failed = None;
    model.engine.session().logits(ids, |_, row| {
        for logit in row {
            if failed.is_none()
                && let Err(error) = out.write_all(&logit.to_le_bytes())
            {
                failed = Some(error);
            }
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(out.flush()?),
    }
}

/// The safetensors header: its length, then JSON padded so that the tensors are aligned to 8 bytes.
fn header(n_tokens: usize, n_vocab: usize) -> Vec<u8> {
    let ids_end = 8 * n_tokens;
    let logits_end = ids_end + 4 * n_tokens * n_vocab;
    let json = json!({
        "input_ids": {"dtype": "I64", "shape": [n_tokens], "data_offsets": [0, ids_end]},
        "logits": {"dtype": "F32", "shape": [n_tokens, n_vocab], "data_offsets": [ids_end, logits_end]},
    });
    let mut text = json.to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

enum WriteError {
    Io(io::Error),
    Model(Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Model(error)
    }
}

/// A file under construction. It takes its name when it is complete: a reader never sees a part of it, and a model's
/// own weights file can be replaced while it is mapped.
struct Target {
    out: BufWriter<File>,
    /// Where the parts go; `None` where the name is a device or a pipe, which is written to as it is.
    partial: Option<PathBuf>,
}

impl Target {
    fn create(path: &Path) -> io::Result<Self> {
        let is_special = path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir());
        if is_special {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { out: BufWriter::new(file), partial: None });
        }
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(name);
        let file = File::options().write(true).create_new(true).open(&partial)?;
        Ok(Self { out: BufWriter::new(file), partial: Some(partial) })
    }

    /// Gives the file its name, or removes what there is of it.
    fn close(self, written: Result<(), WriteError>, path: &Path) -> Result<(), Failure> {
        let Self { out, partial } = self;
        drop(out);
        let outcome = match written {
            Err(WriteError::Model(error)) => Err(error.into()),
            Err(WriteError::Io(error)) => Err(Failure::writing(&path.display().to_string(), &error)),
            Ok(()) => partial.as_ref().map_or(Ok(()), |partial| {
                std::fs::rename(partial, path).map_err(|e| Failure::because(path.display(), e))
            }),
        };
        if let (Err(_), Some(partial)) = (&outcome, &partial) {
            let _ = std::fs::remove_file(partial);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_by_safetensors() {
        let mut file = header(2, 3);
        assert_eq!(file.len() % 8, 0);
        for id in [7i64, -8] {
            file.extend(id.to_le_bytes());
        }
        for x in 0..6 {
            file.extend((x as f32).to_le_bytes());
        }
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.tensor("logits").unwrap().shape(), [2, 3]);
        assert_eq!(tensors.tensor("input_ids").unwrap().data()[8..], (-8i64).to_le_bytes());
    }
}
