//! What a generation is asked for, and what it gives.

use crate::sampler::{SamplingParams, TokenLogprobs};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What a generation starts from.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Text, for the model's tokenizer. What looks like a special token is text like any other.
    Text(String),
    /// Text of which every word is trusted: a special token that is spelled out in it becomes its id.
    WithSpecial(String),
    /// Token ids.
    Ids(Vec<u32>),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(ids: Vec<u32>) -> Self {
        Self::Ids(ids)
    }
}

/// How to generate. The default is greedy, until the text ends or the context is full.
#[derive(Clone, Debug, Default)]
pub struct GenerateParams {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Most tokens to generate; `None` goes on until the context is full.
    pub max_tokens: Option<usize>,
    /// No end-of-text token is chosen before this many tokens.
    pub min_tokens: usize,
    /// Strings that end the text. They are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the text, beside the model's own end-of-text tokens.
    pub stop_token_ids: Vec<u32>,
    /// Goes on past the model's end-of-text tokens.
    pub ignore_eos: bool,
    /// Reports each token's log-probability, and those of this many likeliest tokens.
    pub logprobs: Option<usize>,
    /// The text begins with the prompt.
    pub echo: bool,
    /// Strings that the text never contains, as the tokenizer writes them with or without a space before.
    pub banned: Vec<String>,
    /// Stops the generation from another thread.
    pub cancel: CancelToken,
}

/// Stops a generation from another thread, within one forward call.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Stops every generation that holds a clone of this token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for CancelToken {
    /// A token that is cancelled once `flag` is true: what a signal handler can set.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop string, a stop token or the model's own end-of-text token.
    Stop,
    /// `max_tokens` were generated, or the context is full.
    Length,
    /// Another thread cancelled it.
    Cancel,
}

impl FinishReason {
    /// `stop`, `length` or `cancel`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancel => "cancel",
        }
    }
}

/// One step of a generation.
#[derive(Clone, Debug)]
pub struct Step {
    /// The token; `None` where a cancelled generation hands out text that it held back.
    pub token_id: Option<u32>,
    /// The text that became certain with it: empty while a character or a stop string may be incomplete.
    pub text: String,
    /// Whether the token is the prompt's (only with [`GenerateParams::echo`]).
    pub is_prompt: bool,
    /// Its log-probability, where asked for. The first token of a text has none.
    pub logprobs: Option<TokenLogprobs>,
}

/// A finished generation.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The text, with the prompt only where [`GenerateParams::echo`] asked for it. Empty without a tokenizer.
    pub text: String,
    /// The tokens of `text`; a token that ended it is the last.
    pub token_ids: Vec<u32>,
    /// Their log-probabilities, where asked for.
    pub logprobs: Vec<Option<TokenLogprobs>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The stop string that ended it.
    pub stop: Option<String>,
    /// Counts and times.
    pub stats: Stats,
}

/// Counts and times of one generation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Tokens in the prompt.
    pub n_prompt: usize,
    /// How many of them were cached already.
    pub n_cached: usize,
    /// Tokens generated.
    pub n_generated: usize,
    /// From the start until the prompt's turn came.
    pub queue_time: Duration,
    /// From the start to the first token.
    pub prompt_time: Duration,
    /// From the first token to the last: `n_generated - 1` forward calls.
    pub decode_time: Duration,
}

impl Completion {
    pub(super) fn empty(stats: Stats) -> Self {
        Self {
            text: String::new(),
            token_ids: Vec::new(),
            logprobs: Vec::new(),
            finish_reason: FinishReason::Length,
            stop: None,
            stats,
        }
    }

    pub(super) fn record(&mut self, step: &Step) {
        self.text += &step.text;
        let Some(token) = step.token_id else { return };
        self.token_ids.push(token);
        self.logprobs.push(step.logprobs.clone());
    }
}
