//! [`Writer`]: one text under way, apart from where its keys and values are. It says which tokens to feed next and turns the logits
//! that come back into tokens, text and an end.
//!
//! A [`Session`](super::Session) runs one writer at a time, the [`scheduler`](crate::scheduler) many side by side; since nothing here
//! knows which, both give the same text. Tested in `tests/engine.rs` and `tests/scheduler/`.

use super::{Completion, Engine, FinishReason, GenerateParams, Prompt, Stats, Step};
use crate::{
    Config, Error, Result,
    backend::Logits,
    batch::SeqId,
    batch::{Batch, Phase, Rows},
    sampler::{Draw, History, Sampler, TokenLogprobs},
    stop::StopMatcher,
    tokenizer::Detokenizer,
};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Tokens in one forward call that returns logits for all of them: bounds the memory to `ALL_ROWS_LEN * V` floats.
pub(super) const ALL_ROWS_LEN: usize = 64;

/// Generated tokens in one forward call, where they have to be computed again: what a GPU takes at the cost of one.
const REPLAY_LEN: usize = 8;

pub(crate) struct Writer {
    engine: Engine,
    params: GenerateParams,
    /// Made when the first token is chosen: its memory is in proportion to the vocabulary.
    sampler: Option<Box<Sampler>>,
    /// For a backend that draws tokens by itself; none where logits are needed for each token anyway.
    draw: Option<Arc<Draw>>,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    /// The prompt's tokens and those generated.
    ids: Vec<u32>,
    /// How many of them are cached.
    n_fed: usize,
    /// How many are in the batch that was filled last, and which of them get logits.
    fed: (usize, Rows),
    /// Prompt tokens that were handed out with their log-probabilities, where both are asked for.
    n_scored: usize,
    /// Most tokens to generate.
    n_limit: usize,
    /// Tokens that are not chosen while fewer than `min_tokens` were generated.
    suppressed: Vec<u32>,
    /// Steps that are to be handed out.
    steps: VecDeque<Step>,
    started: Instant,
    completion: Completion,
    is_done: bool,
}

impl Writer {
    /// A text that follows `prompt`. Fails where the prompt or a parameter is not acceptable; allocates nothing that a long text
    /// or a large vocabulary would make large.
    pub fn new(engine: &Engine, prompt: Prompt, params: &GenerateParams) -> Result<Self> {
        let started = Instant::now();
        let config = engine.config();
        let ids = engine.prompt_ids(prompt)?;
        // Ids beyond the tokenizer's have no text.
        let n_vocab = engine.n_choices();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(crate::cache::CacheError::TokenOutOfRange { id, n_vocab }.into());
        }
        let n_limit = token_limit(config, ids.len(), params.max_tokens)?;
        let mut params = params.clone();
        for word in &params.banned {
            params.sampling.banned.extend(engine.tokenizer()?.spellings(word)?);
        }
        let suppressed = [&config.eos_token_ids[..], &params.stop_token_ids].concat();
        let draw = Draw::new(params.sampling.clone(), engine.n_choices(), ids.len())?
            .suppress(suppressed.clone(), params.min_tokens);
        let stats = Stats { n_prompt: ids.len(), ..Stats::default() };
        Ok(Self {
            engine: engine.clone(),
            sampler: None,
            draw: params.logprobs.is_none().then(|| Arc::new(draw)),
            detokenizer: detokenizer(engine, &ids, params.echo),
            stop: StopMatcher::new(&params.stop),
            ids,
            n_fed: 0,
            fed: (0, Rows::None),
            n_scored: 0,
            n_limit,
            suppressed,
            steps: VecDeque::new(),
            params,
            started,
            completion: Completion::empty(stats),
            is_done: false,
        })
    }

    /// The prompt's tokens and those generated.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens of the prompt.
    pub fn n_prompt(&self) -> usize {
        self.completion.stats.n_prompt
    }

    /// Whether the next token to feed is the prompt's.
    pub fn is_in_prompt(&self) -> bool {
        self.n_fed < self.n_prompt()
    }

    /// Tokens of the prompt whose keys and values may come from elsewhere: not the last one's, which the first new token is drawn
    /// from, and none where all are to be scored.
    pub fn n_reusable(&self) -> usize {
        if self.scores_prompt() { 0 } else { self.n_prompt() - 1 }
    }

    /// Begins, with the first `n_cached` tokens cached already.
    pub fn begin(&mut self, n_cached: usize) -> Result<()> {
        let stats = &mut self.completion.stats;
        stats.n_cached = n_cached;
        stats.queue_time = self.started.elapsed();
        self.resume(n_cached);
        if self.params.echo {
            self.echo(0, None)?;
            if !self.scores_prompt() {
                (1..self.n_prompt()).try_for_each(|i| self.echo(i, None))?;
            }
        }
        self.n_scored = 1;
        self.end_if_complete();
        Ok(())
    }

    /// Goes on, with the first `n_cached` tokens cached and the rest to be computed again.
    pub fn resume(&mut self, n_cached: usize) {
        self.n_fed = n_cached;
    }

    /// Appends what comes next to `batch`, at most `n_max` tokens, for the sequence `seq` that holds the tokens fed so far. Returns
    /// how many there are. [`read`](Self::read) follows, once the batch was processed.
    pub fn feed(&mut self, seq: SeqId, batch: &mut Batch, n_max: usize) -> usize {
        let (phase, end) = match self.is_in_prompt() {
            true => (Phase::Prompt, self.prompt_end()),
            false => (Phase::Generated, self.ids.len().min(self.n_fed + REPLAY_LEN)),
        };
        let n_tokens = (end - self.n_fed).min(n_max);
        let rows = match self.n_fed + n_tokens == self.ids.len() {
            true => Rows::Last,
            false => Rows::None,
        };
        self.fed = match phase {
            // Scored before, so only computed again.
            Phase::Prompt if self.scores_prompt() && self.n_fed + 1 < self.n_scored => {
                (n_tokens.min(self.n_scored - 1 - self.n_fed), Rows::None)
            }
            Phase::Prompt if self.scores_prompt() => (n_tokens.min(ALL_ROWS_LEN), Rows::All),
            _ => (n_tokens, rows),
        };
        let (n_tokens, rows) = self.fed;
        batch.push_as(phase, seq, &self.ids[self.n_fed..self.n_fed + n_tokens], rows);
        if let (Some(draw), Rows::Last) = (&self.draw, rows) {
            batch.draw(draw.clone());
        }
        n_tokens
    }

    /// Takes the logits of what was fed, whose rows begin with `first_row`. After an error the text has ended.
    pub fn read(&mut self, logits: &Logits, first_row: usize) -> Result<()> {
        let result = self.take(logits, first_row);
        self.is_done |= result.is_err();
        result
    }

    /// Ends the text where it is.
    pub fn cancel(&mut self) {
        if !self.is_done {
            self.end_without_token(FinishReason::Cancel);
        }
    }

    /// Whether somebody wants it cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.params.cancel.is_cancelled()
    }

    /// The next step that nobody had yet.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether the text has ended. Steps may be left.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was generated so far.
    pub fn completion(&self) -> &Completion {
        &self.completion
    }

    /// What was generated.
    pub fn into_completion(self) -> Completion {
        self.completion
    }
}

impl Writer {
    /// Whether the prompt's log-probabilities are asked for.
    fn scores_prompt(&self) -> bool {
        self.params.echo && self.params.logprobs.is_some()
    }

    /// Prompt tokens that have to be fed: nothing is drawn from the last one's logits where no token may follow.
    fn prompt_end(&self) -> usize {
        self.n_prompt() - usize::from(self.n_limit == 0)
    }

    fn take(&mut self, logits: &Logits, first_row: usize) -> Result<()> {
        let (start, (n_tokens, rows)) = (self.n_fed, std::mem::replace(&mut self.fed, (0, Rows::None)));
        self.n_fed += n_tokens;
        if rows == Rows::All {
            let n_choices = self.engine.n_choices();
            for i in start..self.n_fed.min(self.n_prompt() - 1) {
                let row = &logits.row(first_row + i - start)?[..n_choices];
                let n_top = self.params.logprobs.unwrap_or(0);
                self.echo(i + 1, Some(TokenLogprobs::new(row, self.ids[i + 1], n_top)))?;
            }
            self.n_scored = self.n_scored.max((self.n_fed + 1).min(self.n_prompt()));
        }
        self.end_if_complete();
        if self.is_done || self.n_fed < self.ids.len() {
            return Ok(());
        }
        let last = first_row + if rows == Rows::All { n_tokens - 1 } else { 0 };
        let (token, logprobs) = self.choose(logits, last)?;
        self.push(token, logprobs)
    }

    /// Hands out token `i` of the prompt.
    fn echo(&mut self, i: usize, logprobs: Option<TokenLogprobs>) -> Result<()> {
        let text = self.detokenize(self.ids[i])?;
        self.hand_out(Step { token_id: Some(self.ids[i]), text, is_prompt: true, logprobs });
        Ok(())
    }

    /// Ends a text that is to have no token more, once its prompt was handed out.
    fn end_if_complete(&mut self) {
        let is_scored = !self.scores_prompt() || self.n_scored == self.n_prompt();
        if self.n_limit == 0 && is_scored {
            self.end_without_token(FinishReason::Length);
        }
    }

    /// The token that follows, from row `row` of `logits`.
    fn choose(&mut self, logits: &Logits, row: usize) -> Result<(u32, Option<TokenLogprobs>)> {
        if self.draw.is_some()
            && let Some(token) = logits.token(row)?
        {
            return Ok((token, None));
        }
        let n_choices = self.engine.n_choices();
        let row = &logits.row(row)?[..n_choices];
        let stats = &self.completion.stats;
        let suppressed = if stats.n_generated < self.params.min_tokens { &self.suppressed[..] } else { &[] };
        let history = History { tokens: &self.ids, n_prompt: stats.n_prompt };
        let sampler = match &mut self.sampler {
            Some(sampler) => sampler,
            none => none.insert(Box::new(Sampler::new(self.params.sampling.clone(), n_choices)?)),
        };
        let token = sampler.sample(row, history, suppressed)?;
        Ok((token, self.params.logprobs.map(|n| TokenLogprobs::new(row, token, n))))
    }

    /// Appends a token to the text and hands it out.
    fn push(&mut self, token: u32, logprobs: Option<TokenLogprobs>) -> Result<()> {
        self.ids.push(token);
        self.count_token();
        let ends = self.ends_text(token);
        let at_limit = self.completion.stats.n_generated == self.n_limit;
        let mut text = if ends { String::new() } else { self.detokenize(token)? };
        if ends || at_limit {
            text += &self.flush()?;
        }
        let (mut text, stopped_by) = self.stop.push(&text);
        if let Some(which) = stopped_by {
            self.completion.stop = Some(self.stop.stops()[which].clone());
            self.end(FinishReason::Stop);
        } else if ends || at_limit {
            text += &self.stop.finish();
            self.end(if ends { FinishReason::Stop } else { FinishReason::Length });
        }
        self.hand_out(Step { token_id: Some(token), text, is_prompt: false, logprobs });
        Ok(())
    }

    fn hand_out(&mut self, step: Step) {
        self.completion.record(&step);
        self.steps.push_back(step);
    }

    fn count_token(&mut self) {
        let stats = &mut self.completion.stats;
        stats.n_generated += 1;
        if stats.n_generated == 1 {
            stats.prompt_time = self.started.elapsed();
        }
        stats.decode_time = self.started.elapsed() - stats.prompt_time;
    }

    fn ends_text(&self, token: u32) -> bool {
        self.params.stop_token_ids.contains(&token)
            || !self.params.ignore_eos && self.engine.config().eos_token_ids.contains(&token)
    }

    fn end(&mut self, reason: FinishReason) {
        self.completion.finish_reason = reason;
        self.is_done = true;
    }

    /// Ends between tokens, handing out the text that a stop string or an incomplete character held back.
    fn end_without_token(&mut self, reason: FinishReason) {
        self.end(reason);
        let text = self.flush().unwrap_or_default();
        let text = self.stop.push(&text).0 + &self.stop.finish();
        if !text.is_empty() {
            self.hand_out(Step { token_id: None, text, is_prompt: false, logprobs: None });
        }
    }

    fn detokenize(&mut self, token: u32) -> Result<String> {
        let Some(tokenizer) = &self.engine.shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.push(tokenizer, token)?)
    }

    fn flush(&mut self) -> Result<String> {
        let Some(tokenizer) = &self.engine.shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.finish(tokenizer)?)
    }
}

/// A detokenizer for what follows the prompt `ids`, or for the prompt and what follows.
fn detokenizer(engine: &Engine, ids: &[u32], echo: bool) -> Detokenizer {
    let (Ok(tokenizer), Some(last), false) = (engine.tokenizer(), ids.last(), echo) else {
        return Detokenizer::new();
    };
    Detokenizer::after(tokenizer, &[*last]).unwrap_or_default()
}

/// Most tokens that can follow a prompt: what was asked for, where it fits, or what is left of the context.
fn token_limit(config: &Config, n_prompt: usize, max_tokens: Option<usize>) -> Result<usize> {
    let n_ctx = config.n_ctx;
    if n_prompt > n_ctx {
        return Err(Error::PromptTooLong { n_ctx, n_prompt });
    }
    match max_tokens {
        Some(max_tokens) if max_tokens > n_ctx - n_prompt => {
            Err(Error::TooManyTokens { n_ctx, n_prompt, max_tokens })
        }
        Some(max_tokens) => Ok(max_tokens),
        None => Ok(n_ctx - n_prompt),
    }
}
