//! [`Session`]: one text that grows.

use super::{
    Completion, Engine, GenerateParams, Generation, Prompt, Runner, Step,
    writer::{ALL_ROWS_LEN, Writer},
};
use crate::{
    Result,
    backend::Logits,
    batch::SeqId,
    batch::{Batch, Rows},
};

/// Tokens in one forward call of a prefill; between calls a cancellation is noticed.
pub(crate) const PREFILL_LEN: usize = 256;

/// One text that grows. Its keys and values stay cached between calls, and a call whose prompt starts like the cached
/// text computes only what is new.
pub struct Session {
    engine: Engine,
    pub(super) seq: SeqId,
    batch: Batch,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The sequence is ours and live, so this cannot fail.
        let _ = self.engine.runner().cache.release(self.seq);
    }
}

impl Session {
    pub(super) fn new(engine: &Engine, seq: SeqId) -> Self {
        Self { engine: engine.clone(), seq, batch: Batch::new() }
    }

    /// The engine that runs it.
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
        Ok(Session::new(&self.engine, seq))
    }

    /// Forgets the text.
    pub fn reset(&mut self) -> Result<()> {
        self.engine.runner().cache.truncate(self.seq, 0)?;
        Ok(())
    }

    /// Cuts the text to at most `n_tokens` and returns how many are still cached: fewer where the cut goes through a page that
    /// is shared with a fork. What was cut off is computed again when it is needed.
    pub fn truncate(&mut self, n_tokens: usize) -> Result<usize> {
        Ok(self.engine.runner().cache.truncate(self.seq, n_tokens)?)
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

    fn forward(&mut self, tokens: &[u32], rows: Rows, read: impl FnOnce(Logits) -> Result<()>) -> Result<()> {
        self.batch.clear();
        self.batch.push(self.seq, tokens, rows);
        let mut runner = self.engine.runner();
        let Runner { backend, cache, .. } = &mut *runner;
        read(backend.forward(&self.batch, cache)?)
    }

    /// One forward call for `writer`, whose text is cached here, with at most `n_max` tokens.
    pub(super) fn write(&mut self, writer: &mut Writer, n_max: usize) -> Result<()> {
        self.batch.clear();
        writer.feed(self.seq, &mut self.batch, n_max);
        let mut runner = self.engine.runner();
        let Runner { backend, cache, .. } = &mut *runner;
        writer.read(&backend.forward(&self.batch, cache)?, 0)
    }

    /// Cuts the cache to what `ids` begins with, at most `n_max` tokens, and returns how many stay.
    pub(super) fn keep_prefix(&mut self, ids: &[u32], n_max: usize) -> Result<usize> {
        let cache = &mut self.engine.runner().cache;
        let common = cache.tokens(self.seq)?.iter().zip(ids).take_while(|(a, b)| a == b).count();
        Ok(cache.truncate(self.seq, common.min(n_max))?)
    }
}
