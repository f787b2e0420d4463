//! The text of a REPL session: its tokens, and which of them the model still sees.

use crate::cli::{chat::Conversation, exit::Failure};
use halfwarp::{
    Engine, Error, Tokenizer,
    chat::TemplateError,
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
    reading: Reading,
    /// The whole text, end-of-text tokens left out.
    ids: Vec<u32>,
    /// Where the part of it begins that the model sees.
    start: usize,
}

/// How what is typed is read.
pub enum Reading {
    /// As text.
    Plain,
    /// As text in which special tokens are spelled out.
    WithSpecial,
    /// As messages of a conversation.
    Chat(Box<Conversation>),
}

/// A state to go back to.
pub struct Mark {
    ids: Vec<u32>,
    start: usize,
    n_messages: usize,
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The model could not go on; the session can.
    #[error(transparent)]
    Model(#[from] Error),
    /// The conversation cannot be written as a prompt.
    #[error(transparent)]
    Template(#[from] TemplateError),
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
    pub fn new(engine: &'m Engine, reading: Reading) -> Result<Self, Failure> {
        let tokenizer = engine.tokenizer()?;
        Ok(Self { engine, tokenizer, session: engine.session(), reading, ids: Vec::new(), start: 0 })
    }

    /// The conversation, where the text is one.
    pub fn conversation(&self) -> Option<&Conversation> {
        match &self.reading {
            Reading::Chat(conversation) => Some(conversation),
            _ => None,
        }
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
        let n_messages = self.conversation().map_or(0, Conversation::len);
        Mark { ids: self.ids.clone(), start: self.start, n_messages }
    }

    /// Takes back what changed since `mark`.
    pub fn back_to(&mut self, mark: Mark) {
        self.ids = mark.ids;
        self.start = mark.start;
        if let Reading::Chat(conversation) = &mut self.reading {
            conversation.truncate(mark.n_messages);
        }
    }

    /// Adds what was typed, on a line of its own unless it begins with white space. Returns its number of tokens. If
    /// nothing was typed and there is no text, the model's first token stands in for it.
    pub fn push(&mut self, typed: &str) -> Result<usize, TurnError> {
        if let Reading::Chat(conversation) = &mut self.reading {
            // An empty line lets the model go on with its answer.
            if typed.is_empty() && !self.ids.is_empty() {
                return Ok(0);
            }
            conversation.push("user", typed);
            self.ids = conversation.prompt(self.tokenizer)?;
            self.start = 0;
            return Ok(self.ids.len());
        }
        let is_new = self.ids.is_empty();
        let ids = match typed {
            "" if !is_new => return Ok(0),
            _ if is_new => self.engine.prompt_ids(match self.reading {
                Reading::WithSpecial => Prompt::WithSpecial(typed.into()),
                _ => Prompt::from(typed),
            })?,
            _ if typed.starts_with(char::is_whitespace) || self.ends_line()? => self.encode(typed)?,
            _ => self.encode(&format!("\n{typed}"))?,
        };
        self.ids.extend(&ids);
        Ok(ids.len())
    }

    fn encode(&self, typed: &str) -> Result<Vec<u32>, Error> {
        Ok(match self.reading {
            Reading::WithSpecial => self.tokenizer.encode_with_special(typed)?,
            _ => self.tokenizer.encode(typed)?,
        })
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
        if let Reading::Chat(conversation) = &mut self.reading {
            conversation.answer(&completion.text);
        }
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
