//! `halfwarp completions` and `halfwarp man`: what is derived from the definition of the command line.

use super::{Cli, exit::Failure};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

/// Write shell completions to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  halfwarp completions bash > ~/.local/share/bash-completion/completions/halfwarp
  halfwarp completions zsh > ~/.zfunc/_halfwarp
  halfwarp completions fish > ~/.config/fish/completions/halfwarp.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual page to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  halfwarp man | man -l -
  halfwarp man generate > halfwarp-generate.1")]
pub struct ManArgs {
    /// The command to describe [default: the program]
    command: Option<String>,
}

/// Runs `halfwarp completions`.
pub fn completions(args: CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "halfwarp", &mut text);
    write(&text)
}

/// Runs `halfwarp man`.
pub fn man(args: ManArgs) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let described = match &args.command {
        None => program,
        Some(name) => program
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Failure::Message(format!("there is no command {name:?}")))?,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(described).render(&mut text).map_err(|e| Failure::because("man page", e))?;
    write(&text)
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(|e| Failure::writing("standard output", &e))
}
