//! [`Generation`]: from logits to tokens to text, one step at a time, and where it ends.

use super::{
    Completion, Engine, FinishReason, GenerateParams, Prompt, Session, Stats, Step, session::PREFILL_LEN,
};
use crate::{
    Config, Error, Result,
    batch::{Phase, Rows},
    sampler::{Draw, History, Sampler, TokenLogprobs},
    stop::StopMatcher,
    tokenizer::Detokenizer,
};
use std::{sync::Arc, time::Instant};

/// A generation under way: an iterator over its [`Step`]s.
pub struct Generation<'s> {
    session: &'s mut Session,
    params: GenerateParams,
    sampler: Sampler,
    /// For a backend that draws tokens by itself; none where logits are needed for each token anyway.
    draw: Option<Arc<Draw>>,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    /// The prompt's tokens and those generated.
    ids: Vec<u32>,
    /// How many of them are cached.
    n_fed: usize,
    /// Most tokens to generate.
    n_limit: usize,
    /// Tokens that are not chosen while fewer than `min_tokens` were generated.
    suppressed: Vec<u32>,
    /// Steps of the prompt that are still to be handed out.
    echoed: std::vec::IntoIter<Step>,
    started: Instant,
    completion: Completion,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    Done,
}

impl<'s> Generation<'s> {
    pub(super) fn new(session: &'s mut Session, prompt: Prompt, params: &GenerateParams) -> Result<Self> {
        let started = Instant::now();
        let engine = session.engine().clone();
        let config = engine.config();
        let ids = engine.prompt_ids(prompt)?;
        let n_limit = token_limit(config, ids.len(), params.max_tokens)?;
        let mut sampling = params.sampling.clone();
        for word in &params.banned {
            sampling.banned.extend(engine.tokenizer()?.spellings(word)?);
        }
        let stats = Stats { n_prompt: ids.len(), ..Stats::default() };
        let suppressed = [&config.eos_token_ids[..], &params.stop_token_ids].concat();
        let draw = match params.logprobs {
            Some(_) => None,
            None => Some(Arc::new(
                Draw::new(sampling.clone(), engine.n_choices(), ids.len())?
                    .suppress(suppressed.clone(), params.min_tokens),
            )),
        };
        Ok(Self {
            session,
            sampler: Sampler::new(sampling, engine.n_choices())?,
            draw,
            detokenizer: detokenizer(&engine, &ids, params.echo),
            stop: StopMatcher::new(&params.stop),
            ids,
            n_fed: 0,
            n_limit,
            suppressed,
            echoed: Vec::new().into_iter(),
            params: params.clone(),
            started,
            completion: Completion {
                text: String::new(),
                token_ids: Vec::new(),
                logprobs: Vec::new(),
                finish_reason: FinishReason::Length,
                stop: None,
                stats,
            },
            state: State::New,
        })
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

impl Iterator for Generation<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::New {
            self.state = State::Running;
            if let Err(error) = self.begin() {
                self.state = State::Done;
                return Some(Err(error));
            }
        }
        if let Some(step) = self.echoed.next() {
            return Some(Ok(step));
        }
        if self.state == State::Done {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.state = State::Done;
        }
        step.transpose()
    }
}

impl Generation<'_> {
    /// Keeps what is cached of the prompt and, with `echo`, makes the steps that hand the prompt out.
    fn begin(&mut self) -> Result<()> {
        let score = self.params.echo && self.params.logprobs.is_some();
        let n_max = if score { 0 } else { self.ids.len() - 1 };
        self.n_fed = self.session.keep_prefix(&self.ids, n_max)?;
        self.completion.stats.n_cached = self.n_fed;
        if !self.params.echo {
            return Ok(());
        }
        let mut logprobs = vec![None];
        if let Some(n_top) = self.params.logprobs {
            let n_choices = self.session.engine().n_choices();
            let (fed, ids) = (&self.ids[..self.ids.len() - 1], &self.ids);
            self.session.logits(fed, |i, row| {
                logprobs.push(Some(TokenLogprobs::new(&row[..n_choices], ids[i + 1], n_top)));
            })?;
            self.n_fed = fed.len();
        }
        logprobs.resize(self.ids.len(), None);
        let mut steps = Vec::with_capacity(self.ids.len());
        for (i, logprobs) in logprobs.into_iter().enumerate() {
            let text = self.detokenize(self.ids[i])?;
            steps.push(Step { token_id: Some(self.ids[i]), text, is_prompt: true, logprobs });
        }
        steps.iter().for_each(|step| self.completion.record(step));
        self.echoed = steps.into_iter();
        Ok(())
    }

    /// One token, or the end.
    fn step(&mut self) -> Result<Option<Step>> {
        if self.completion.stats.n_generated == self.n_limit {
            return Ok(self.end_without_token(FinishReason::Length));
        }
        let Some((token, logprobs)) = self.advance()? else {
            return Ok(self.end_without_token(FinishReason::Cancel));
        };
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
        let step = Step { token_id: Some(token), text, is_prompt: false, logprobs };
        self.completion.record(&step);
        Ok(Some(step))
    }

    /// Feeds the tokens that are not cached and chooses the next one; `None` if cancelled on the way.
    fn advance(&mut self) -> Result<Option<(u32, Option<TokenLogprobs>)>> {
        loop {
            if self.params.cancel.is_cancelled() {
                return Ok(None);
            }
            let rest = &self.ids[self.n_fed..];
            if rest.len() <= PREFILL_LEN {
                break;
            }
            self.session.forward(Phase::Prompt, &rest[..PREFILL_LEN], Rows::None, None, |_| Ok(()))?;
            self.n_fed += PREFILL_LEN;
        }
        let Self { session, sampler, draw, params, ids, completion, suppressed, .. } = self;
        let n_choices = session.engine().n_choices();
        let n_top = params.logprobs;
        let suppressed = if completion.stats.n_generated < params.min_tokens { &suppressed[..] } else { &[] };
        let history = History { tokens: ids, n_prompt: completion.stats.n_prompt };
        let phase = if completion.stats.n_generated == 0 { Phase::Prompt } else { Phase::Generated };
        let chosen = session.forward(phase, &ids[self.n_fed..], Rows::Last, draw.clone(), |logits| {
            if let Some(token) = logits.token(0)? {
                return Ok((token, None));
            }
            let row = &logits.row(0)?[..n_choices];
            let token = sampler.sample(row, history, suppressed)?;
            Ok((token, n_top.map(|n| TokenLogprobs::new(row, token, n))))
        })?;
        self.n_fed = self.ids.len();
        Ok(Some(chosen))
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
            || !self.params.ignore_eos && self.session.engine().config().eos_token_ids.contains(&token)
    }

    fn end(&mut self, reason: FinishReason) {
        self.completion.finish_reason = reason;
        self.state = State::Done;
    }

    /// Ends between tokens, handing out the text that a stop string held back.
    fn end_without_token(&mut self, reason: FinishReason) -> Option<Step> {
        self.end(reason);
        let text = self.flush().unwrap_or_default();
        let text = self.stop.push(&text).0 + &self.stop.finish();
        let step = Step { token_id: None, text, is_prompt: false, logprobs: None };
        self.completion.record(&step);
        (!step.text.is_empty()).then_some(step)
    }

    fn detokenize(&mut self, token: u32) -> Result<String> {
        let Some(tokenizer) = &self.session.engine().shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.push(tokenizer, token)?)
    }

    fn flush(&mut self) -> Result<String> {
        let Some(tokenizer) = &self.session.engine().shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.finish(tokenizer)?)
    }
}

/// A detokenizer for what follows the prompt `ids`, or for the prompt and what follows. A padding id of the vocabulary
/// has no text, so it counts as the start of one.
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
