//! The paged KV cache: which sequence holds which tokens, in which pages.
//!
//! This is the bookkeeping alone; the keys and values live in the backend's memory, [`PAGE_LEN`] positions a page.
//! Full pages can be shared between sequences that start alike: a page is written only by the sequence that fills it,
//! so a shared one never changes. Used by the engine and every backend; tested below and in `tests/invariance.rs`.

use crate::{Error, Result, batch::Batch};

/// Positions in one page.
pub const PAGE_LEN: usize = 32;

/// Names a sequence of one [`KvCache`]. Stale once the sequence is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqId {
    index: u32,
    generation: u32,
}

#[derive(Debug, Default)]
struct Sequence {
    generation: u32,
    live: bool,
    tokens: Vec<u32>,
    pages: Vec<u32>,
}

/// Page tables of all sequences.
#[derive(Debug)]
pub struct KvCache {
    n_ctx: usize,
    n_vocab: usize,
    sequences: Vec<Sequence>,
    /// Sequences that hold each page.
    owners: Vec<u32>,
    free: Vec<u32>,
}

impl KvCache {
    /// A cache of `n_pages` pages for sequences of at most `n_ctx` tokens below `n_vocab`. Backends make one in
    /// [`Backend::new_cache`](crate::backend::Backend::new_cache), beside the memory it describes.
    pub fn new(n_pages: usize, n_ctx: usize, n_vocab: usize) -> Self {
        let n_pages = u32::try_from(n_pages).expect("a KV cache has fewer than 2^32 pages");
        Self {
            n_ctx,
            n_vocab,
            sequences: Vec::new(),
            owners: vec![0; n_pages as usize],
            free: (0..n_pages).rev().collect(),
        }
    }

    /// Starts an empty sequence. It holds no page until tokens arrive.
    pub fn open(&mut self) -> SeqId {
        let index = self.sequences.iter().position(|s| !s.live).unwrap_or_else(|| {
            self.sequences.push(Sequence::default());
            self.sequences.len() - 1
        });
        let sequence = &mut self.sequences[index];
        sequence.live = true;
        sequence.tokens.reserve(self.n_ctx);
        sequence.pages.reserve(self.n_ctx.div_ceil(PAGE_LEN));
        SeqId { index: index as u32, generation: sequence.generation }
    }

    /// Starts a sequence that shares the first `n_tokens` of `seq`, rounded down to whole pages.
    pub fn fork(&mut self, seq: SeqId, n_tokens: usize) -> Result<SeqId> {
        let source = self.get(seq)?;
        let n_pages = n_tokens.min(source.tokens.len()) / PAGE_LEN;
        let (tokens, pages) =
            (source.tokens[..n_pages * PAGE_LEN].to_vec(), source.pages[..n_pages].to_vec());
        let fork = self.open();
        for &page in &pages {
            self.owners[page as usize] += 1;
        }
        let sequence = &mut self.sequences[fork.index as usize];
        sequence.tokens.extend(tokens);
        sequence.pages.extend(pages);
        Ok(fork)
    }

    /// Cuts `seq` to at most `n_tokens` and returns how many it still holds: fewer than asked for where the cut goes
    /// through a page that another sequence shares.
    pub fn truncate(&mut self, seq: SeqId, n_tokens: usize) -> Result<usize> {
        self.get(seq)?;
        let Self { sequences, owners, free, .. } = self;
        let sequence = &mut sequences[seq.index as usize];
        let mut keep = n_tokens.min(sequence.tokens.len());
        if let Some(&page) = sequence.pages.get(keep / PAGE_LEN)
            && owners[page as usize] > 1
        {
            keep -= keep % PAGE_LEN;
        }
        for page in sequence.pages.drain(keep.div_ceil(PAGE_LEN)..) {
            give_back(owners, free, page);
        }
        sequence.tokens.truncate(keep);
        Ok(keep)
    }

    /// Ends `seq` and gives its pages back.
    pub fn release(&mut self, seq: SeqId) -> Result<()> {
        self.truncate(seq, 0)?;
        let sequence = &mut self.sequences[seq.index as usize];
        sequence.live = false;
        sequence.generation = sequence.generation.wrapping_add(1);
        Ok(())
    }

    /// The tokens whose keys and values are cached, from position 0.
    pub fn tokens(&self, seq: SeqId) -> Result<&[u32]> {
        Ok(&self.get(seq)?.tokens)
    }

    /// The page table of `seq`: position `p` is row `p % PAGE_LEN` of page `pages[p / PAGE_LEN]`.
    pub fn pages(&self, seq: SeqId) -> Result<&[u32]> {
        Ok(&self.get(seq)?.pages)
    }

    /// Pages in all.
    pub fn n_pages(&self) -> usize {
        self.owners.len()
    }

    /// Pages that no sequence holds.
    pub fn n_free(&self) -> usize {
        self.free.len()
    }

    /// Appends every token of `batch` to its sequence. Backends call this first; after an error nothing has changed.
    pub fn append(&mut self, batch: &Batch) -> Result<()> {
        if let Some(&id) = batch.tokens().iter().find(|&&id| id as usize >= self.n_vocab) {
            return Err(Error::TokenOutOfRange { id, n_vocab: self.n_vocab });
        }
        let mut needed = 0;
        for entry in batch.entries() {
            let sequence = self.get(entry.seq)?;
            let (n_cached, n_tokens) = (sequence.tokens.len(), entry.tokens.len());
            if n_cached + n_tokens > self.n_ctx {
                return Err(Error::ContextFull { n_ctx: self.n_ctx, n_cached, n_tokens });
            }
            needed += (n_cached + n_tokens).div_ceil(PAGE_LEN) - sequence.pages.len();
        }
        if needed > self.free.len() {
            return Err(Error::CacheFull { needed, free: self.free.len() });
        }
        let Self { sequences, owners, free, .. } = self;
        for entry in batch.entries() {
            let sequence = &mut sequences[entry.seq.index as usize];
            sequence.tokens.extend_from_slice(&batch.tokens()[entry.tokens.clone()]);
            while sequence.pages.len() * PAGE_LEN < sequence.tokens.len() {
                let page = free.pop().expect("the pages were counted above");
                owners[page as usize] = 1;
                sequence.pages.push(page);
            }
        }
        Ok(())
    }

    fn get(&self, seq: SeqId) -> Result<&Sequence> {
        self.sequences
            .get(seq.index as usize)
            .filter(|s| s.live && s.generation == seq.generation)
            .ok_or(Error::UnknownSequence { index: seq.index })
    }
}

fn give_back(owners: &mut [u32], free: &mut Vec<u32>, page: u32) {
    owners[page as usize] -= 1;
    if owners[page as usize] == 0 {
        free.push(page);
    }
}
