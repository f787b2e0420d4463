//! The command line: what `halfwarp` accepts, and how it ends.
//!
//! Each command is one file with its arguments and a `run`; all of them only call the library. The text that was asked
//! for goes to standard output and everything else to standard error. Tested through the built program in
//! `tests/cli/`.

mod bench;
mod chat;
mod convert;
mod download;
mod eval;
mod exit;
mod footprint;
mod generate;
mod info;
mod interrupt;
#[cfg(feature = "server")]
mod log;
mod logits;
mod machine;
mod manual;
mod model;
mod output;
mod prompt;
#[cfg(feature = "hub")]
mod pull;
mod repl;
mod sampling;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod shutdown;
mod sigbus;
mod stats;
mod tokenize;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand, builder::Resettable, error::ErrorKind};
use exit::Failure;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Every option that names an environment variable takes its value from there when it is not given.
Text goes to standard output, everything else to standard error.

Exit codes:
  0    done (also when the reader of the output went away)
  1    failed: model, device, input or output
  2    wrong usage
  74   the weights file was changed while it was mapped
  130  interrupted (Ctrl-C)
  143  ended by the second SIGTERM, where the first one lets answers end

Examples:
  halfwarp generate \"Once upon a time\"
  halfwarp generate --model gpt2 --temperature 0 --max-tokens 40 --stats \"The capital of France is\"
  halfwarp repl
  halfwarp info --model path/to/gpt2";

/// Low-latency inference for GPT-2-family language models.
#[derive(Debug, Parser)]
#[command(name = "halfwarp", version, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Box<generate::Args>),
    Repl(Box<repl::Args>),
    #[cfg(feature = "server")]
    Serve(Box<serve::Args>),
    Eval(eval::Args),
    Bench(Box<bench::Args>),
    Tokenize(tokenize::Args),
    Logits(logits::Args),
    Convert(convert::Args),
    #[cfg(feature = "hub")]
    Pull(pull::Args),
    Info(info::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    sigbus::install();
    exit::code(parse().map_err(Failure::Usage).and_then(run))
}

/// The command line and the variables. An empty variable counts as unset, and one that conflicts with an argument of the command
/// line gives way.
fn parse() -> Result<Cli, clap::Error> {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let mut command = without_variables(Cli::command(), &is_empty);
    match matches(command.clone()) {
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => {
            let text = error.to_string();
            let is_named = |name: &str| text.contains(&format!("'--{name}"));
            command = without_variables(command, &|arg| arg.get_long().is_some_and(is_named));
            matches(command).map_err(|_| error)
        }
        parsed => parsed,
    }
}

fn matches(mut command: clap::Command) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// `command` with no variable for the arguments of its commands that `drops` names.
fn without_variables(command: clap::Command, drops: &dyn Fn(&Arg) -> bool) -> clap::Command {
    command.mut_subcommands(|command| {
        command.mut_args(|arg| if drops(&arg) { arg.env(Resettable::Reset) } else { arg })
    })
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Generate(args) => generate::run(*args),
        Command::Repl(args) => repl::run(*args),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(*args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(*args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Convert(args) => convert::run(args),
        #[cfg(feature = "hub")]
        Command::Pull(args) => pull::run(args),
        Command::Info(args) => info::run(args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::man(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the `halfwarp` part of a line of a shell, up to a pipe, a redirection or a remark.
    fn words(line: &str) -> Option<Vec<String>> {
        let (mut words, mut word, mut quote, mut n_spaces) = (Vec::new(), None::<String>, None, 0);
        for c in line[line.find("halfwarp ")?..].chars() {
            match quote {
                Some(q) if c == q => quote = None,
                Some(_) => word.get_or_insert_default().push(c),
                None if matches!(c, '"' | '\'') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                None if c == ' ' => words.extend(word.take()),
                None if matches!(c, '|' | '>') || n_spaces > 1 => break,
                None => word.get_or_insert_default().push(c),
            }
            n_spaces = if c == ' ' && quote.is_none() { n_spaces + 1 } else { 0 };
        }
        words.extend(word);
        Some(words)
    }

    #[test]
    fn every_example_in_the_help_is_accepted() {
        let mut program = Cli::command();
        program.build();
        let mut n_examples = 0;
        for command in std::iter::once(&program).chain(program.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.split_once("Examples:").map_or("", |(_, examples)| examples);
            for words in examples.lines().filter_map(words) {
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{words:?}: {error}");
                }
                n_examples += 1;
            }
        }
        assert!(n_examples > 25, "only {n_examples} examples were found");
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
