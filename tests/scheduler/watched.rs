//! A backend whose calls a test sees, holds up and spoils.

use halfwarp::{
    Config, Engine, Source, Tokenizer, Weights,
    backend::{Backend, BackendError, Logits, Result, cpu::CpuBackend},
    batch::{Batch, Entry, Phase},
    cache::KvCache,
    weights::LoadOptions,
};
use std::sync::{
    Arc, OnceLock,
    mpsc::{Receiver, Sender, channel},
};

/// A token whose texts get logits that are no numbers.
pub const POISON: u32 = 4001;
/// A token that makes a call of the device fail, which passes.
pub const TOO_BIG: u32 = 4002;
/// A token that ends the device's work.
pub const FATAL: u32 = 4003;
/// A token that makes the backend panic.
pub const PANIC: u32 = 4004;

/// What a call was asked: phase and number of tokens of each entry.
pub type Call = Vec<(Phase, usize)>;

pub struct Watched {
    inner: CpuBackend,
    calls: Sender<Call>,
    /// A call waits for one of these; none once the sender is gone.
    permits: Receiver<()>,
    /// Rounds differently where there is more than one text in a call: what the tests must notice.
    depends_on_batch: bool,
    rows: Vec<f32>,
}

/// An engine with room for `n_cache` tokens, the calls it gets, and what lets them pass.
pub fn watched(n_cache: usize) -> (Engine, Receiver<Call>, Sender<()>) {
    watched_as(n_cache, false)
}

/// An engine whose results depend on the batch, in the last bit.
pub fn inconstant(n_cache: usize) -> Engine {
    watched_as(n_cache, true).0
}

fn watched_as(n_cache: usize, depends_on_batch: bool) -> (Engine, Receiver<Call>, Sender<()>) {
    static WEIGHTS: OnceLock<Arc<Weights>> = OnceLock::new();
    let weights = WEIGHTS.get_or_init(|| Arc::new(Source::Bundled.load(&LoadOptions::default()).unwrap().0));
    let ((calls, seen), (permit, permits)) = (channel(), channel());
    let inner = CpuBackend::new(weights.clone(), None);
    let backend = Watched { inner, calls, permits, depends_on_batch, rows: Vec::new() };
    let engine = Engine::new(Box::new(backend), Some(Tokenizer::bundled()), n_cache).unwrap();
    (engine, seen, permit)
}

impl Backend for Watched {
    fn name(&self) -> String {
        "watched".into()
    }

    fn config(&self) -> &Config {
        self.inner.config()
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        self.inner.new_cache(n_tokens)
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        let _ = self.calls.send(batch.entries().iter().map(|e| (e.phase, e.tokens.len())).collect());
        let _ = self.permits.recv();
        let has = |id| batch.entries().iter().any(|entry| is_asked(batch, entry, id));
        assert!(!has(PANIC), "a token that panics");
        if has(FATAL) {
            return Err(BackendError::DeviceLost { error: "a token that is fatal".into() });
        }
        if has(TOO_BIG) {
            return Err(BackendError::DeviceMemory { what: "logits".into(), needed: 1 << 30, free: 1 << 20 });
        }
        let n_vocab = self.inner.config().n_vocab;
        let logits = self.inner.forward(batch, cache)?;
        self.rows.clear();
        for row in 0..logits.n_rows() {
            self.rows.extend_from_slice(logits.row(row)?);
        }
        if self.depends_on_batch && batch.entries().len() > 1 {
            self.rows.iter_mut().for_each(|logit| *logit = logit.next_up());
        }
        let mut row = 0;
        for entry in batch.entries() {
            if is_asked(batch, entry, POISON) && entry.n_rows() > 0 {
                self.rows[row * n_vocab + 7] = f32::NAN;
            }
            row += entry.n_rows();
        }
        Ok(Logits::from_host(&self.rows, n_vocab))
    }
}

/// Whether the prompt, and not the model, says `id`.
fn is_asked(batch: &Batch, entry: &Entry, id: u32) -> bool {
    entry.phase == Phase::Prompt && batch.tokens()[entry.tokens.clone()].contains(&id)
}
