//! `halfwarp pull`: downloads a model into the Hugging Face cache.

use super::{download::Bar, exit::Failure, output};
use halfwarp::source::{cache::ModelId, hub::Hub};

const AFTER_HELP: &str = "\
Standard output gets the folder with the model's files. What an earlier try has left is gone on with, every file is checked against \
the hub's checksum, and a model that is here is brought up to date. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE \
are honoured as other programs do.

Examples:
  halfwarp pull gpt2
  halfwarp pull openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e";

/// Download a model into the Hugging Face cache
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The model, as the Hugging Face hub calls it; REVISION is a branch, a tag or a commit
    #[arg(value_name = "NAME[@REVISION]", value_parser = parse_name)]
    name: ModelId,
}

fn parse_name(text: &str) -> Result<ModelId, String> {
    ModelId::parse(text).ok_or_else(|| "expected a name such as gpt2 or openai-community/gpt2@main".into())
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let Some(hub) = Hub::from_env()? else {
        return Err(Failure::Message("HF_HUB_OFFLINE is set, so nothing is downloaded".into()));
    };
    let mut bar = Bar::default();
    let folder = hub.download(&args.name, &mut |progress| bar.show(progress))?;
    output::print(folder.display())
}
