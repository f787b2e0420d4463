//! What one forward call processes: any number of sequences, each with any number of new tokens.
//!
//! Prefill is one sequence with many tokens, decode is one token each, checking a speculated continuation is a few
//! tokens each. Filled by the engine, read by every backend. Tested in `tests/invariance/`.

use crate::sampler::Draw;
use std::{ops::Range, sync::Arc};

/// Names a sequence of one [`KvCache`](crate::cache::KvCache). Stale once the sequence is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Which of a sequence's new positions get a row of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// None: the tokens only enter the cache.
    None,
    /// The last one: what generation samples from.
    Last,
    /// Every one: scoring and checking.
    All,
}

/// What tokens are to their sequence. A GPU runs a prompt on tensor cores and generated tokens by multiply-adds, which round
/// differently; since this, and not the number of tokens, decides, a prompt's results do not depend on how it is cut into calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Given: any number of tokens a call.
    Prompt,
    /// Chosen by the model, or proposed for it to choose: one or a few tokens a call.
    Generated,
}

/// One sequence's share of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// The sequence that the tokens are appended to.
    pub seq: SeqId,
    /// Where its tokens stand in [`Batch::tokens`].
    pub tokens: Range<usize>,
    /// Which of them get logits.
    pub rows: Rows,
    /// What the tokens are.
    pub phase: Phase,
    /// How the token after the last one is drawn, for backends that do so by themselves.
    pub draw: Option<Arc<Draw>>,
}

impl Entry {
    /// Rows of logits that this entry asks for.
    pub fn n_rows(&self) -> usize {
        match self.rows {
            Rows::None => 0,
            Rows::Last => 1,
            Rows::All => self.tokens.len(),
        }
    }
}

/// A ragged batch. Rows of logits come in the order of the entries, positions ascending within each.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    tokens: Vec<u32>,
    entries: Vec<Entry>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of one sequence's prompt.
    pub fn one(seq: SeqId, tokens: &[u32], rows: Rows) -> Self {
        let mut batch = Self::new();
        batch.push(seq, tokens, rows);
        batch
    }

    /// Forgets the entries and keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.entries.clear();
    }

    /// Appends `tokens`, a prompt or a part of one, to the sequence `seq`.
    ///
    /// # Panics
    /// If `tokens` is empty or `seq` is already in the batch.
    pub fn push(&mut self, seq: SeqId, tokens: &[u32], rows: Rows) {
        self.push_as(Phase::Prompt, seq, tokens, rows);
    }

    /// [`push`](Self::push), for tokens of either phase.
    ///
    /// # Panics
    /// If `tokens` is empty or `seq` is already in the batch.
    pub fn push_as(&mut self, phase: Phase, seq: SeqId, tokens: &[u32], rows: Rows) {
        assert!(!tokens.is_empty(), "a batch entry needs at least one token");
        assert!(self.entries.iter().all(|e| e.seq != seq), "sequence {seq:?} is in the batch twice");
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.entries.push(Entry { seq, tokens: start..self.tokens.len(), rows, phase, draw: None });
    }

    /// Lets the backend draw the token after the last entry's last one, if it can: see
    /// [`Logits::token`](crate::backend::Logits::token).
    pub fn draw(&mut self, draw: Arc<Draw>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.draw = Some(draw);
        }
    }

    /// All new tokens, entry after entry.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The sequences in the batch.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Rows of logits that the batch asks for.
    pub fn n_rows(&self) -> usize {
        self.entries.iter().map(Entry::n_rows).sum()
    }
}
