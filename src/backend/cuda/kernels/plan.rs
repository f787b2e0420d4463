//! What a pass over prompts consists of: `kernels/layout.h`.

use super::{
    super::images::constants::{
        MAX_PREFILL, PLAN_PAGES, PLAN_POSITIONS, PLAN_SLOTS, PLAN_TILES, PLAN_TOKENS, TILE_QUERIES,
    },
    Dims,
};
use crate::cache::PAGE_LEN;

/// Most tokens of one pass.
pub const MAX_TOKENS: usize = MAX_PREFILL as usize;

/// The tokens of one pass, as the device takes them: see `kernels/layout.h`.
#[derive(Debug)]
pub struct Plan {
    words: Vec<u32>,
    n_tokens: usize,
    n_tiles: usize,
}

impl Plan {
    /// An empty plan, with room for any tokens that fit.
    pub fn new(dims: &Dims) -> Self {
        let mut words = Vec::with_capacity(dims.plan_len());
        words.resize(PLAN_PAGES as usize, 0);
        Self { words, n_tokens: 0, n_tiles: 0 }
    }

    /// Forgets the tokens and keeps the memory.
    pub fn clear(&mut self) {
        self.words.truncate(PLAN_PAGES as usize);
        (self.n_tokens, self.n_tiles) = (0, 0);
    }

    /// Adds the first of `tokens`, which stand at `position` of their sequence, as many as fit, and returns how many.
    /// `pages` is the sequence's page table, up to their last.
    ///
    /// # Panics
    /// If the table is shorter.
    pub fn push(&mut self, tokens: &[u32], position: usize, pages: &[u32]) -> usize {
        let n_tokens = tokens.len().min(MAX_TOKENS - self.n_tokens);
        for (i, &token) in tokens[..n_tokens].iter().enumerate() {
            let (t, position) = (self.n_tokens + i, position + i);
            let slot = pages[position / PAGE_LEN] as usize * PAGE_LEN + position % PAGE_LEN;
            self.words[PLAN_TOKENS as usize + t] = token;
            self.words[PLAN_POSITIONS as usize + t] = position as u32;
            self.words[PLAN_SLOTS as usize + t] = slot as u32;
        }
        let table = self.words.len() - PLAN_PAGES as usize;
        self.words.extend_from_slice(&pages[..(position + n_tokens).div_ceil(PAGE_LEN)]);
        for first in (0..n_tokens).step_by(TILE_QUERIES as usize) {
            let n_queries = (n_tokens - first).min(TILE_QUERIES as usize);
            let tile = [self.n_tokens + first, n_queries, position + first, table].map(|word| word as u32);
            self.words[PLAN_TILES as usize + 4 * self.n_tiles..][..4].copy_from_slice(&tile);
            self.n_tiles += 1;
        }
        self.n_tokens += n_tokens;
        n_tokens
    }

    /// The words for the device.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Tokens.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Attention's tiles.
    pub fn n_tiles(&self) -> usize {
        self.n_tiles
    }
}

impl Dims {
    /// Words of a plan, at most: every token may be another sequence's.
    pub fn plan_len(&self) -> usize {
        PLAN_PAGES as usize + MAX_TOKENS * self.n_pages()
    }
}
