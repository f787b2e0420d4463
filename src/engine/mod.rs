//! [`Engine`]: a model on a device. [`Session`]: one text that grows, with its keys and values cached.
//!
//! This is what programs use; the `halfwarp` program does nothing that is not here. An engine is shared between threads
//! by cloning it; its sessions take turns on the device, one forward call at a time. Tested in `tests/engine.rs`.

mod generation;
mod params;
mod session;
mod turn;
mod writer;

pub use generation::Generation;
pub use params::{CancelToken, Completion, FinishReason, GenerateParams, Prompt, Stats, Step};
pub use session::Session;
pub use turn::Turn;

pub(crate) use session::PREFILL_LEN;
pub(crate) use writer::Writer;

use crate::{
    Config, Error, Result, Tokenizer, Weights,
    backend::{self, Backend, Device, OpenOptions, Progress},
    cache::{KvCache, PAGE_LEN},
    source::Source,
    tokenizer::Watch,
    weights::LoadOptions,
};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What [`Engine::open`] needs to know beside the model.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Where to run.
    pub device: Device,
    /// Threads of the CPU backend; `None` takes one per core.
    pub threads: Option<usize>,
    /// Most tokens of one text, at most the model's own context, which `None` takes. Cache, buffers and limits are sized by it.
    pub n_ctx: Option<usize>,
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

/// The backend and the cache that describes its memory.
pub(crate) struct Runner {
    name: String,
    pub backend: Box<dyn Backend>,
    pub cache: KvCache,
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
        Self::open_with(source, options, &mut |_, _| ControlFlow::Continue(()))
    }

    /// [`open`](Self::open), calling `progress` with the bytes that are on the device and those in all, where the device has a
    /// memory of its own. Where it breaks off, the loading ends.
    pub fn open_with(source: &Source, options: &EngineOptions, progress: &mut Progress) -> Result<Self> {
        let (weights, tokenizer) = source.load(&options.load)?;
        Self::of(weights, tokenizer, options, progress)
    }

    /// [`open_with`](Self::open_with), for a model that is loaded.
    pub fn of(
        mut weights: Weights,
        tokenizer: Option<Tokenizer>,
        options: &EngineOptions,
        progress: &mut Progress,
    ) -> Result<Self> {
        if let Some(n_ctx) = options.n_ctx {
            weights.config.limit_context(n_ctx)?;
        }
        let n_cache = options.n_cache.unwrap_or(weights.config.n_ctx);
        let options = OpenOptions { device: options.device, threads: options.threads, n_cache };
        let backend = backend::open(Arc::new(weights), options, progress)?;
        Self::new(backend, tokenizer, n_cache)
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
        Session::new(self, seq)
    }

    /// The token ids that `prompt` stands for, with the tokens before it that the tokenizer's settings put before texts. An empty
    /// text starts from the model's first token.
    pub fn prompt_ids(&self, prompt: Prompt) -> Result<Vec<u32>> {
        self.prompt_ids_watched(prompt, &Watch::PATIENT)
    }

    /// [`prompt_ids`](Self::prompt_ids), while they are wanted and not too many.
    pub(crate) fn prompt_ids_watched(&self, prompt: Prompt, watch: &Watch) -> Result<Vec<u32>> {
        let prefixed = |ids| Ok::<_, Error>(self.tokenizer()?.prompt(ids));
        let ids = match prompt {
            Prompt::Text(text) | Prompt::WithSpecial(text) if text.is_empty() => {
                match self.tokenizer().map(|tokenizer| tokenizer.prompt(Vec::new())) {
                    Ok(ids) if !ids.is_empty() => ids,
                    _ => self.config().bos_token_id.into_iter().collect(),
                }
            }
            Prompt::Text(text) => prefixed(self.tokenizer()?.encode_watched(&text, watch)?)?,
            Prompt::WithSpecial(text) => prefixed(self.tokenizer()?.encode_with_special(&text)?)?,
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

    pub(crate) fn runner(&self) -> MutexGuard<'_, Runner> {
        // A panic in another session leaves the page tables consistent: they change only in `KvCache`'s own calls.
        self.shared.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
