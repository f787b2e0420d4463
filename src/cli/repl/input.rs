//! Lines from a terminal, with editing, completion of commands and a history that outlives the program.

use super::{
    command::{self, is_complete},
    settings,
};
use crate::cli::{exit::Failure, output::note};
use rustyline::{
    Behavior, CompletionType, Config, Context, Editor, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::DefaultHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Entries that the history keeps.
const HISTORY_LEN: usize = 1000;

/// What came from the terminal.
pub enum Line {
    /// A line, or several that belong together.
    Typed(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// The terminal.
pub struct Input {
    editor: Editor<Lines, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Input {
    /// The terminal, and the history that earlier sessions left if `remember`.
    pub fn new(remember: bool) -> Result<Self, Failure> {
        let config = Config::builder()
            // The prompt is not written into a file that answers are redirected to.
            .behavior(Behavior::PreferTerm)
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_LEN)
            .map_err(terminal)?
            .build();
        let mut editor = Editor::with_config(config).map_err(terminal)?;
        editor.set_helper(Some(Lines));
        let history = history_path().filter(|_| remember);
        let mut input = Self { editor, history };
        input.load();
        Ok(input)
    }

    /// Shows the prompt and reads what is typed.
    pub fn read(&mut self) -> Result<Line, Failure> {
        match self.editor.readline("> ") {
            Ok(typed) => {
                self.remember(&typed);
                Ok(Line::Typed(typed))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(terminal(error)),
        }
    }

    fn load(&mut self) {
        let Some(path) = &self.history else { return };
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = made {
            return self.forget(error);
        }
        if path.exists()
            && let Err(error) = self.editor.load_history(path)
        {
            self.forget(error);
        }
    }

    fn remember(&mut self, typed: &str) {
        let Some(path) = &self.history else {
            let _ = self.editor.add_history_entry(typed);
            return;
        };
        let added = self.editor.add_history_entry(typed);
        if let Err(error) = added.and_then(|_| self.editor.append_history(path)) {
            self.forget(error);
        }
    }

    /// Goes on without a file.
    fn forget(&mut self, error: impl std::fmt::Display) {
        let Some(path) = self.history.take() else { return };
        note(format_args!("note: no history is kept: {}: {error}", path.display()));
    }
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::because("cannot read from the terminal", error)
}

/// `halfwarp/history` in the XDG data folder; `None` without a home.
fn history_path() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let data = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join(Path::new("halfwarp/history")))
}

/// Knows where a text ends, and completes commands.
struct Lines;

impl Helper for Lines {}
impl Highlighter for Lines {}

impl Hinter for Lines {
    type Hint = String;
}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Lines {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..pos];
        let (start, names): (usize, Vec<&str>) = match typed.strip_prefix("/set ") {
            Some(_) => (5, settings::names().collect()),
            None => (0, command::NAMES.to_vec()),
        };
        let begun = &typed[start..];
        let fits = |name: &&str| typed.starts_with('/') && name.starts_with(begun);
        Ok((start, names.into_iter().filter(fits).map(|name| format!("{name} ")).collect()))
    }
}
