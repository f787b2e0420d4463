//! [`Engine`]: a model on a device. [`Session`]: one text that grows, with its keys and values cached.
//!
//! This is what programs use; the `halfwarp` program does nothing that is not here. An engine is shared between threads
//! by cloning it; its sessions take turns on the device, one forward call at a time. Tested in `tests/engine.rs`.

use crate::{
    Config, Error, Result, Tokenizer,
    backend::{self, Backend, Device, Logits},
    batch::{Batch, Rows},
    cache::{KvCache, PAGE_LEN, SeqId},
    sampler::{History, Sampler, SamplingParams, TokenLogprobs},
    source::{LoadOptions, Source},
    stop::StopMatcher,
    tokenizer::Detokenizer,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Tokens in one forward call of a prefill; between calls a cancellation is noticed.
const PREFILL_LEN: usize = 256;

/// Tokens in one forward call that returns logits for all of them: bounds the memory to `ALL_ROWS_LEN * V` floats.
const ALL_ROWS_LEN: usize = 64;

/// What [`Engine::open`] needs to know beside the model.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Where to run.
    pub device: Device,
    /// Threads of the CPU backend; `None` takes one per core.
    pub threads: Option<usize>,
    /// Tokens that the KV cache holds, over all sessions; `None` takes one full context.
    pub n_cache: Option<usize>,
    /// How the weights are read.
    pub load: LoadOptions,
}

/// A model on a device, ready to run.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    tokenizer: Option<Tokenizer>,
    runner: Mutex<Runner>,
}

struct Runner {
    name: String,
    backend: Box<dyn Backend>,
    cache: KvCache,
}

impl Engine {
    /// An engine that runs `backend`, with room for `n_cache` tokens in all its sessions together. Without a tokenizer
    /// it takes and gives token ids alone.
    pub fn new(mut backend: Box<dyn Backend>, tokenizer: Option<Tokenizer>, n_cache: usize) -> Result<Self> {
        let config = backend.config().clone();
        let cache = backend.new_cache(n_cache)?;
        let runner = Mutex::new(Runner { name: backend.name(), backend, cache });
        Ok(Self { shared: Arc::new(Shared { config, tokenizer, runner }) })
    }

    /// Loads the model at `source`.
    pub fn open(source: &Source, options: &EngineOptions) -> Result<Self> {
        let weights = Arc::new(source.weights(&options.load)?);
        let n_cache = options.n_cache.unwrap_or(weights.config.n_ctx);
        let backend = backend::open(options.device, weights, options.threads)?;
        Self::new(backend, source.tokenizer()?, n_cache)
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Tokens that the KV cache can still take, in whole pages.
    pub fn n_cache_free(&self) -> usize {
        self.runner().cache.n_free() * PAGE_LEN
    }

    /// What runs the model, for people.
    pub fn device_name(&self) -> String {
        self.runner().name.clone()
    }

    /// The model's tokenizer. Fails where the model came without one.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.shared.tokenizer.as_ref().ok_or(Error::NoTokenizer)
    }

    /// Starts an empty session.
    pub fn session(&self) -> Session {
        let seq = self.runner().cache.open();
        Session { engine: self.clone(), seq, batch: Batch::new() }
    }

    /// The token ids that `prompt` stands for; an empty text starts from the model's first token.
    pub fn prompt_ids(&self, prompt: Prompt) -> Result<Vec<u32>> {
        let ids = match prompt {
            Prompt::Text(text) if text.is_empty() => self.config().bos_token_id.into_iter().collect(),
            Prompt::Text(text) => self.tokenizer()?.encode(&text)?,
            Prompt::Ids(ids) => ids,
        };
        if ids.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        Ok(ids)
    }

    /// Token ids that can be chosen: a vocabulary padded beyond the tokenizer's has rows that stand for nothing.
    fn n_choices(&self) -> usize {
        let n_vocab = self.shared.config.n_vocab;
        self.shared.tokenizer.as_ref().map_or(n_vocab, |t| t.n_vocab().min(n_vocab))
    }

    fn runner(&self) -> MutexGuard<'_, Runner> {
        // A panic in another session leaves the page tables consistent: they change only in `KvCache`'s own calls.
        self.shared.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a generation starts from.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Text, for the model's tokenizer.
    Text(String),
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
    /// From the start to the first token.
    pub prompt_time: Duration,
    /// From the first token to the last: `n_generated - 1` forward calls.
    pub decode_time: Duration,
}

/// One text that grows. Its keys and values stay cached between calls, and a call whose prompt starts like the cached
/// text computes only what is new.
pub struct Session {
    engine: Engine,
    seq: SeqId,
    batch: Batch,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The sequence is ours and live, so this cannot fail.
        let _ = self.engine.runner().cache.release(self.seq);
    }
}

impl Session {
    /// The engine that runs this session.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The tokens whose keys and values are cached.
    pub fn tokens(&self) -> Result<Vec<u32>> {
        Ok(self.engine.runner().cache.tokens(self.seq)?.to_vec())
    }

    /// A second session that starts with the same text: whole pages of keys and values are shared, the rest is
    /// computed again when it is needed.
    pub fn fork(&self) -> Result<Session> {
        let mut runner = self.engine.runner();
        let n_tokens = runner.cache.tokens(self.seq)?.len();
        let seq = runner.cache.fork(self.seq, n_tokens)?;
        Ok(Session { engine: self.engine.clone(), seq, batch: Batch::new() })
    }

    /// Forgets the text.
    pub fn reset(&mut self) -> Result<()> {
        self.engine.runner().cache.truncate(self.seq, 0)?;
        Ok(())
    }

    /// Starts to generate what follows `prompt`: the whole text so far, not only what is new. The iterator runs one
    /// forward call per token; dropping it ends the generation.
    pub fn generate(&mut self, prompt: impl Into<Prompt>, params: &GenerateParams) -> Result<Generation<'_>> {
        Generation::new(self, prompt.into(), params)
    }

    /// [`generate`](Self::generate), calling `each` with every step.
    pub fn generate_with(
        &mut self,
        prompt: impl Into<Prompt>,
        params: &GenerateParams,
        mut each: impl FnMut(&Step),
    ) -> Result<Completion> {
        let mut generation = self.generate(prompt, params)?;
        for step in generation.by_ref() {
            each(&step?);
        }
        Ok(generation.into_completion())
    }

    /// Runs the model over `ids` from an empty cache and calls `each` with every position and its logits, `[V]`.
    pub fn logits(&mut self, ids: &[u32], each: impl FnMut(usize, &[f32])) -> Result<()> {
        self.logits_from(ids, 0, each)
    }

    /// [`logits`](Self::logits) of the positions from `first` on: those before it cost no logits.
    pub fn logits_from(
        &mut self,
        ids: &[u32],
        first: usize,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.reset()?;
        let (context, scored) = ids.split_at(first.min(ids.len()));
        for chunk in context.chunks(PREFILL_LEN) {
            self.forward(chunk, Rows::None, |_| Ok(()))?;
        }
        for (i, chunk) in scored.chunks(ALL_ROWS_LEN).enumerate() {
            self.forward(chunk, Rows::All, |logits| {
                for row in 0..logits.n_rows() {
                    each(context.len() + i * ALL_ROWS_LEN + row, logits.row(row)?);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn forward<T>(
        &mut self,
        tokens: &[u32],
        rows: Rows,
        read: impl FnOnce(Logits) -> Result<T>,
    ) -> Result<T> {
        self.batch.clear();
        self.batch.push(self.seq, tokens, rows);
        let mut runner = self.engine.runner();
        let Runner { backend, cache, .. } = &mut *runner;
        read(backend.forward(&self.batch, cache)?)
    }

    /// Cuts the cache to what `ids` begins with, at most `n_max` tokens, and returns how many stay.
    fn keep_prefix(&mut self, ids: &[u32], n_max: usize) -> Result<usize> {
        let cache = &mut self.engine.runner().cache;
        let common = cache.tokens(self.seq)?.iter().zip(ids).take_while(|(a, b)| a == b).count();
        cache.truncate(self.seq, common.min(n_max))
    }
}

/// A generation under way: an iterator over its [`Step`]s.
pub struct Generation<'s> {
    session: &'s mut Session,
    params: GenerateParams,
    sampler: Sampler,
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
    fn new(session: &'s mut Session, prompt: Prompt, params: &GenerateParams) -> Result<Self> {
        let started = Instant::now();
        let engine = session.engine.clone();
        let config = engine.config();
        let ids = engine.prompt_ids(prompt)?;
        let n_limit = token_limit(config, ids.len(), params.max_tokens)?;
        let mut sampling = params.sampling.clone();
        for word in &params.banned {
            sampling.banned.extend(engine.tokenizer()?.spellings(word)?);
        }
        let stats = Stats { n_prompt: ids.len(), ..Stats::default() };
        Ok(Self {
            session,
            sampler: Sampler::new(sampling, engine.n_choices())?,
            detokenizer: detokenizer(&engine, &ids, params.echo),
            stop: StopMatcher::new(&params.stop),
            ids,
            n_fed: 0,
            n_limit,
            suppressed: [&config.eos_token_ids[..], &params.stop_token_ids].concat(),
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
            let n_choices = self.session.engine.n_choices();
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
            self.session.forward(&rest[..PREFILL_LEN], Rows::None, |_| Ok(()))?;
            self.n_fed += PREFILL_LEN;
        }
        let Self { session, sampler, params, ids, completion, suppressed, .. } = self;
        let n_choices = session.engine.n_choices();
        let n_top = params.logprobs;
        let suppressed = if completion.stats.n_generated < params.min_tokens { &suppressed[..] } else { &[] };
        let history = History { tokens: ids, n_prompt: completion.stats.n_prompt };
        let chosen = session.forward(&ids[self.n_fed..], Rows::Last, |logits| {
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
            || !self.params.ignore_eos && self.session.engine.config().eos_token_ids.contains(&token)
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
        let Some(tokenizer) = &self.session.engine.shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.push(tokenizer, token)?)
    }

    fn flush(&mut self) -> Result<String> {
        let Some(tokenizer) = &self.session.engine.shared.tokenizer else { return Ok(String::new()) };
        Ok(self.detokenizer.finish(tokenizer)?)
    }
}

impl Completion {
    fn record(&mut self, step: &Step) {
        self.text += &step.text;
        let Some(token) = step.token_id else { return };
        self.token_ids.push(token);
        self.logprobs.push(step.logprobs.clone());
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
