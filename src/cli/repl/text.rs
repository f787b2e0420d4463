//! The text of a REPL session: its tokens, and which of them the model still sees.

use crate::cli::exit::Failure;
use halfwarp::{
    Engine, Error, Tokenizer,
    engine::{Completion, GenerateParams, Prompt, Session},
};
use std::{
    fs::OpenOptions,
    io::{self, Write},
};

/// A text that grows.
pub struct Text<'m> {
    engine: &'m Engine,
    tokenizer: &'m Tokenizer,
    session: Session,
    /// The whole text, end-of-text tokens left out.
    ids: Vec<u32>,
    /// Where the part of it begins that the model sees.
    start: usize,
}

/// A state to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    n_tokens: usize,
    start: usize,
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The model could not go on; the session can.
    #[error(transparent)]
    Model(#[from] Error),
    /// There is no room in the context.
    #[error(
        "the context of {n_ctx} tokens is full: the text has {n_text}{}; /reset starts a new text, \
         --context-shift (/set context-shift on) goes on with the last half of this one",
        if *.n_typed > 0 { format!(", what was typed {n_typed} more") } else { String::new() }
    )]
    Full {
        /// Tokens that the context holds.
        n_ctx: usize,
        /// Tokens of the text in it.
        n_text: usize,
        /// Tokens that were to be added.
        n_typed: usize,
    },
    /// What was typed does not fit in an empty context.
    #[error("the context has {n_ctx} tokens; what was typed has {n_typed}, expected fewer")]
    TooLong {
        /// Tokens that the context holds.
        n_ctx: usize,
        /// Tokens that were typed.
        n_typed: usize,
    },
    /// A setting is of no use.
    #[error("{0}")]
    Settings(String),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Output(Failure),
}

impl From<Failure> for TurnError {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

impl From<TurnError> for Failure {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Output(failure) => failure,
            error => Self::Message(error.to_string()),
        }
    }
}

impl<'m> Text<'m> {
    /// An empty text. Fails where the model has no tokenizer.
    pub fn new(engine: &'m Engine) -> Result<Self, Failure> {
        let tokenizer = engine.tokenizer()?;
        Ok(Self { engine, tokenizer, session: engine.session(), ids: Vec::new(), start: 0 })
    }

    /// The text.
    pub fn read(&self) -> Result<String, Error> {
        Ok(self.tokenizer.decode(&self.ids)?)
    }

    /// Writes the text to a file, ends its last line, and returns the number of bytes. A file that is there is left alone unless
    /// it may be replaced.
    pub fn save(&self, path: &str, replace: bool) -> io::Result<usize> {
        let mut text = self.read().map_err(io::Error::other)?;
        if text.is_empty() {
            return Err(io::Error::other("the text is empty, and nothing was written"));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).create_new(!replace).truncate(replace);
        match options.open(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(io::Error::other(format!("it exists; /save -f {path} replaces it")))
            }
            file => file?.write_all(text.as_bytes()).map(|()| text.len()),
        }
    }

    /// Tokens of the whole text.
    pub fn n_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens that the model sees.
    pub fn n_context(&self) -> usize {
        self.ids.len() - self.start
    }

    /// Tokens whose keys and values are cached.
    pub fn n_cached(&self) -> Result<usize, Error> {
        Ok(self.session.tokens()?.len())
    }

    /// The state now.
    pub fn mark(&self) -> Mark {
        Mark { n_tokens: self.ids.len(), start: self.start }
    }

    /// Takes back what was added since `mark`.
    pub fn back_to(&mut self, mark: Mark) {
        self.ids.truncate(mark.n_tokens);
        self.start = mark.start;
    }

    /// Adds what was typed, on a line of its own unless it begins with white space. Returns its number of tokens. If
    /// nothing was typed and there is no text, the model's first token stands in for it.
    pub fn push(&mut self, typed: &str) -> Result<usize, TurnError> {
        let is_new = self.ids.is_empty();
        let ids = match typed {
            "" if is_new => self.engine.prompt_ids(Prompt::from(""))?,
            "" => return Ok(0),
            _ if is_new || typed.starts_with(char::is_whitespace) || self.ends_line()? => {
                self.tokenizer.encode(typed).map_err(Error::from)?
            }
            _ => self.tokenizer.encode(&format!("\n{typed}")).map_err(Error::from)?,
        };
        if is_new && ids.is_empty() {
            return Err(Error::EmptyPrompt.into());
        }
        self.ids.extend(&ids);
        Ok(ids.len())
    }

    fn ends_line(&self) -> Result<bool, Error> {
        let last = &self.ids[self.ids.len().saturating_sub(1)..];
        Ok(self.tokenizer.decode(last)?.ends_with('\n'))
    }

    /// Sees to it that at least one token fits into a context of `n_ctx`. With `shift`, a full one loses the first half
    /// of what is in it, but none of the last `n_typed` tokens: returns how many are kept.
    pub fn make_room(
        &mut self,
        n_ctx: usize,
        n_typed: usize,
        shift: bool,
    ) -> Result<Option<usize>, TurnError> {
        let n_kept = (n_ctx / 2).max(n_typed).max(1);
        if self.n_context() < n_ctx {
            Ok(None)
        } else if n_typed >= n_ctx {
            Err(TurnError::TooLong { n_ctx, n_typed })
        } else if shift && n_kept < n_ctx {
            self.start = self.ids.len() - n_kept;
            Ok(Some(n_kept))
        } else {
            Err(TurnError::Full { n_ctx, n_text: self.n_context() - n_typed, n_typed })
        }
    }

    /// Continues the text, calling `each` with every piece as it comes.
    pub fn generate(
        &mut self,
        params: &GenerateParams,
        mut each: impl FnMut(&str) -> Result<(), TurnError>,
    ) -> Result<Completion, TurnError> {
        let mut generation = self.session.generate(self.ids[self.start..].to_vec(), params)?;
        for step in generation.by_ref() {
            each(&step?.text)?;
        }
        let completion = generation.into_completion();
        self.ids.extend(self.kept_of(&completion, params)?);
        Ok(completion)
    }

    /// The tokens of an answer that belong to the text: neither the token that ended it nor the stop string.
    fn kept_of(&self, completion: &Completion, params: &GenerateParams) -> Result<Vec<u32>, Error> {
        let mut ids = completion.token_ids.clone();
        if completion.stop.is_some() {
            return Ok(self.tokenizer.encode(&completion.text)?);
        }
        let is_eos = |id: &u32| {
            let config = self.engine.config();
            params.stop_token_ids.contains(id) || config.eos_token_ids.contains(id)
        };
        if completion.finish_reason == halfwarp::engine::FinishReason::Stop && ids.last().is_some_and(is_eos)
        {
            ids.pop();
        }
        Ok(ids)
    }
}
