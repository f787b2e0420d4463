//! `halfwarp repl`: a person and the model write one text, turn by turn.
//!
//! What is typed is added to the text and the model continues it; its session keeps keys and values from turn to turn.
//! The text is in `repl/text.rs`, one answer in `repl/answer.rs`, the lines that are typed in `repl/input.rs` and
//! `repl/command.rs`, what `/set` changes in `repl/settings.rs`, lines of a
//! terminal in `repl/wrap.rs`. Tested on a terminal in `tests/cli/repl.rs`.

mod answer;
mod command;
mod input;
mod settings;
mod text;
mod wrap;

use super::{
    chat::ChatArgs,
    exit::Failure,
    interrupt::Interrupt,
    model::{Model, ModelArgs},
    output::note,
    prompt::{read_text, strip_line_break},
    sampling::{ModelDefaults, default_sampling},
};
use command::Command;
use halfwarp::engine::FinishReason;
use input::{Input, Line};
use settings::Settings;
use std::{io::IsTerminal, path::Path};
use text::{Reading, Text, TurnError};

const AFTER_HELP: &str = "\
What is typed is added to the text on a line of its own, or right where the text stops if it begins with a space; an \
empty line lets the model go on. Text between \"\"\" and \"\"\" may have several lines, and so has text whose lines end \
in a backslash. /help lists the commands. Without --seed every answer has a seed of its own.

Ctrl-C stops an answer. At the prompt Ctrl-D ends with exit code 0, Ctrl-C twice with 130. Answers go to standard \
output, the prompt to the terminal, everything else to standard error. What is typed is remembered in \
$XDG_DATA_HOME/halfwarp/history, by default ~/.local/share/halfwarp/history.

If standard input is no terminal, all of it is one text: what follows it is written, and that is the end.

Examples:
  halfwarp repl
  halfwarp repl --model gpt2 --temperature 0.7 --stats
  echo \"Once upon a time\" | halfwarp repl --max-tokens 40";

/// Write a text together with the model, turn by turn
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    chat: ChatArgs,

    #[command(flatten)]
    model_defaults: ModelDefaults,

    /// Do not remember what is typed
    #[arg(long, help_heading = "Session")]
    no_history: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// Runs the command.
pub fn run(mut args: Args) -> Result<(), Failure> {
    args.settings.check()?;
    if std::io::stdin().is_terminal() {
        let model = args.open()?;
        let mut repl = Repl::new(&model, args.settings, args.chat)?;
        return repl.converse(&mut Input::new(!args.no_history)?);
    }
    let mut prompt = read_text(Some("-"), None)?.text;
    strip_line_break(&mut prompt);
    let model = args.open()?;
    match Repl::new(&model, args.settings, args.chat)?.turn(&prompt)? {
        FinishReason::Cancel => Err(Failure::Interrupted),
        _ => Ok(()),
    }
}

impl Args {
    /// Loads the model, whose values become the settings' defaults where that was asked for.
    fn open(&mut self) -> Result<Model, Failure> {
        let model = self.model.open()?;
        self.settings.default = self.model_defaults.sampling(default_sampling(), &model.source)?;
        Ok(model)
    }
}

/// An empty text, or an empty conversation.
fn new_text<'m>(model: &'m Model, chat: &ChatArgs) -> Result<Text<'m>, Failure> {
    let reading = match chat.conversation(&model.source)? {
        Some(conversation) => Reading::Chat(Box::new(conversation)),
        None if chat.special => Reading::WithSpecial,
        None => Reading::Plain,
    };
    Text::new(&model.engine, reading)
}

struct Repl<'m> {
    model: &'m Model,
    text: Text<'m>,
    settings: Settings,
    chat: ChatArgs,
    interrupt: Interrupt,
}

impl<'m> Repl<'m> {
    fn new(model: &'m Model, settings: Settings, chat: ChatArgs) -> Result<Self, Failure> {
        let text = new_text(model, &chat)?;
        Ok(Self { model, text, settings, chat, interrupt: Interrupt::between_answers()? })
    }

    /// Tokens that the text and an answer may have together.
    fn n_ctx(&self) -> usize {
        let n_ctx = self.model.engine.config().n_ctx;
        self.settings.ctx_size().map_or(n_ctx, |n| n.min(n_ctx))
    }

    /// Reads and answers until the user has enough.
    fn converse(&mut self, input: &mut Input) -> Result<(), Failure> {
        note(format_args!(
            "{} on {}, context {} tokens; /help lists the commands, Ctrl-D ends",
            self.model.name,
            self.model.engine.device_name(),
            self.n_ctx()
        ));
        let mut interrupted = false;
        loop {
            let typed = match input.read()? {
                Line::End => return Ok(()),
                Line::Interrupted if interrupted => return Err(Failure::Interrupted),
                Line::Interrupted => {
                    note(format_args!("Ctrl-C again or Ctrl-D ends"));
                    interrupted = true;
                    continue;
                }
                Line::Typed(typed) => typed,
            };
            interrupted = false;
            match Command::parse(&typed) {
                Ok(Command::Exit) => return Ok(()),
                Ok(command) => self.obey(command)?,
                Err(error) => note(format_args!("error: {error}")),
            }
        }
    }

    /// Does what was asked. Fails only where it makes no sense to go on.
    fn obey(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Text(text) => match self.turn(&text) {
                Err(TurnError::Output(failure)) => return Err(failure),
                Err(error) => note(format_args!("error: {error}")),
                Ok(FinishReason::Cancel) => note(format_args!("[stopped; an empty line goes on]")),
                Ok(FinishReason::Length) if self.text.n_context() < self.n_ctx() => {
                    note(format_args!("[as many tokens as were asked for; an empty line goes on]"));
                }
                Ok(_) => {}
            },
            Command::Help => note(format_args!("{}", command::HELP)),
            Command::Reset => {
                self.text = new_text(self.model, &self.chat)?;
                note(format_args!("the text is empty"));
            }
            Command::Set(None) => note(format_args!("{}", self.settings.show())),
            Command::Set(Some((name, value))) => match self.settings.set(&name, value.as_deref()) {
                Ok(shown) => note(format_args!("{shown}")),
                Err(error) => note(format_args!("error: {error}")),
            },
            Command::Show => self.show()?,
            Command::Load(path) => match self.load(&path) {
                Ok(n_tokens) => note(format_args!("{n_tokens} tokens of {path}; an empty line goes on")),
                Err(error) => note(format_args!("error: {error}")),
            },
            Command::Save { path, replace } => match self.text.save(&path, replace) {
                Ok(n) => note(format_args!("wrote {n} bytes to {path}")),
                Err(error) => note(format_args!("error: {path}: {error}")),
            },
            Command::Exit => {}
        }
        Ok(())
    }

    /// Starts from the text of a file, and returns its number of tokens. The old text stays where the new one does not fit.
    fn load(&mut self, path: &str) -> Result<usize, String> {
        if self.chat.chat {
            return Err("a file is a text, and this is a conversation".into());
        }
        let mut typed = read_text(None, Some(Path::new(path))).map_err(|failure| failure.to_string())?.text;
        strip_line_break(&mut typed);
        let mut text = new_text(self.model, &self.chat).map_err(|error| error.to_string())?;
        let (n_tokens, n_ctx) =
            (text.push(&typed).map_err(|error: TurnError| error.to_string())?, self.n_ctx());
        if n_tokens >= n_ctx {
            return Err(format!("{path} has {n_tokens} tokens, expected fewer than the context's {n_ctx}"));
        }
        self.text = text;
        Ok(n_tokens)
    }

    fn show(&self) -> Result<(), Failure> {
        let (n_text, n_context) = (self.text.n_tokens(), self.text.n_context());
        let forgotten = match n_text - n_context {
            0 => String::new(),
            n => format!("; the first {n} of the text are out of it"),
        };
        note(format_args!("{}", self.settings.show()));
        note(format_args!(
            "context {n_context} of {} tokens, {} of them cached{forgotten}",
            self.n_ctx(),
            self.text.n_cached()?
        ));
        let text = self.text.read()?;
        note(format_args!("text, {n_text} tokens{}{text}", if text.is_empty() { "" } else { ":\n" }));
        Ok(())
    }
}
