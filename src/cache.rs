//! The paged KV cache: which sequence holds which tokens, in which pages.
//!
//! This is the bookkeeping alone; the keys and values live in the backend's memory, [`PAGE_LEN`] positions a page.
//! Full pages can be shared between sequences that start alike: a page is written only by the sequence that fills it,
//! so a shared one never changes. Used by the engine and every backend; tested below and in `tests/invariance/`.

mod error;
mod prefix;

pub use error::CacheError;
pub use prefix::PrefixCache;
use prefix::Use;

use crate::batch::{Batch, Entry, SeqId};
use std::collections::BTreeSet;

type Result<T> = std::result::Result<T, CacheError>;

/// Positions in one page.
pub const PAGE_LEN: usize = 32;

#[derive(Debug, Default)]
struct Sequence {
    generation: u32,
    live: bool,
    tokens: Vec<u32>,
    pages: Vec<u32>,
}

/// Who has a page. It is free when nobody has.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// Sequences that hold it.
    n_owners: u32,
    /// When a [`PrefixCache`] that keeps it used it last.
    kept: Option<Use>,
}

impl Page {
    /// Whether a sequence that holds it must not write it.
    fn is_shared(self) -> bool {
        self.n_owners > 1 || self.kept.is_some()
    }
}

/// Page tables of all sequences.
#[derive(Debug)]
pub struct KvCache {
    n_ctx: usize,
    n_vocab: usize,
    sequences: Vec<Sequence>,
    pages: Vec<Page>,
    free: Vec<u32>,
    /// Pages that are kept and that no sequence holds, those used longest ago first.
    idle: BTreeSet<(Use, u32)>,
    /// Pages that sequences hold.
    n_used: usize,
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
            pages: vec![Page::default(); n_pages as usize],
            free: (0..n_pages).rev().collect(),
            idle: BTreeSet::new(),
            n_used: 0,
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
        Ok(self.open_on(&tokens, &pages))
    }

    /// Starts a sequence of `tokens`, which full `pages` hold.
    fn open_on(&mut self, tokens: &[u32], pages: &[u32]) -> SeqId {
        let seq = self.open();
        for &page in pages {
            self.hold(page);
        }
        let sequence = &mut self.sequences[seq.index as usize];
        sequence.tokens.extend(tokens);
        sequence.pages.extend(pages);
        seq
    }

    /// Cuts `seq` to at most `n_tokens` and returns how many it still holds: fewer than asked for where the cut goes
    /// through a page that another sequence shares.
    pub fn truncate(&mut self, seq: SeqId, n_tokens: usize) -> Result<usize> {
        let sequence = self.get(seq)?;
        let mut keep = n_tokens.min(sequence.tokens.len());
        if let Some(&page) = sequence.pages.get(keep / PAGE_LEN)
            && self.pages[page as usize].is_shared()
        {
            keep -= keep % PAGE_LEN;
        }
        let index = seq.index as usize;
        self.sequences[index].tokens.truncate(keep);
        while self.sequences[index].pages.len() > keep.div_ceil(PAGE_LEN)
            && let Some(page) = self.sequences[index].pages.pop()
        {
            self.let_go(page);
        }
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
        self.pages.len()
    }

    /// Pages that nobody has.
    pub fn n_free(&self) -> usize {
        self.free.len()
    }

    /// Pages that sequences hold.
    pub fn n_used(&self) -> usize {
        self.n_used
    }

    /// Free pages that [`append`](Self::append) would take for `batch`.
    pub fn n_needed(&self, batch: &Batch) -> Result<usize> {
        let needed = |entry: &Entry| {
            let sequence = self.get(entry.seq)?;
            Ok((sequence.tokens.len() + entry.tokens.len()).div_ceil(PAGE_LEN) - sequence.pages.len())
        };
        batch.entries().iter().map(needed).sum()
    }

    /// Appends every token of `batch` to its sequence. Backends call this first; after an error nothing has changed.
    pub fn append(&mut self, batch: &Batch) -> Result<()> {
        if let Some(&id) = batch.tokens().iter().find(|&&id| id as usize >= self.n_vocab) {
            return Err(CacheError::TokenOutOfRange { id, n_vocab: self.n_vocab });
        }
        for entry in batch.entries() {
            let (n_cached, n_tokens) = (self.get(entry.seq)?.tokens.len(), entry.tokens.len());
            if n_cached + n_tokens > self.n_ctx {
                return Err(CacheError::ContextFull { n_ctx: self.n_ctx, n_cached, n_tokens });
            }
        }
        let needed = self.n_needed(batch)?;
        if needed > self.free.len() {
            return Err(CacheError::Full { needed, free: self.free.len() });
        }
        for entry in batch.entries() {
            let index = entry.seq.index as usize;
            self.sequences[index].tokens.extend_from_slice(&batch.tokens()[entry.tokens.clone()]);
            while self.sequences[index].pages.len() * PAGE_LEN < self.sequences[index].tokens.len() {
                let page = self.free.pop().expect("the pages were counted above");
                self.hold(page);
                self.sequences[index].pages.push(page);
            }
        }
        Ok(())
    }

    /// A sequence more holds the page.
    fn hold(&mut self, index: u32) {
        let page = &mut self.pages[index as usize];
        page.n_owners += 1;
        if page.n_owners == 1 {
            self.n_used += 1;
            if let Some(last) = page.kept {
                self.idle.remove(&(last, index));
            }
        }
    }

    /// A sequence holds the page no more.
    fn let_go(&mut self, index: u32) {
        let page = &mut self.pages[index as usize];
        page.n_owners -= 1;
        if page.n_owners == 0 {
            self.n_used -= 1;
            if let Some(last) = page.kept {
                self.idle.insert((last, index));
            } else {
                self.free.push(index);
            }
        }
    }

    /// The page is kept, and was used now.
    fn keep(&mut self, index: u32, now: Use) {
        let page = &mut self.pages[index as usize];
        let before = page.kept.replace(now);
        if page.n_owners > 0 {
            return;
        }
        if let Some(last) = before {
            self.idle.remove(&(last, index));
        }
        self.idle.insert((now, index));
    }

    /// Frees the page that is kept, that no sequence holds, and that was used longest ago.
    fn evict(&mut self) -> Option<u32> {
        let (_, index) = self.idle.pop_first()?;
        self.pages[index as usize].kept = None;
        self.free.push(index);
        Some(index)
    }

    /// Undoes [`append`](Self::append) of the same batch, which was the last one.
    pub fn take_back(&mut self, batch: &Batch) -> Result<()> {
        for entry in batch.entries() {
            let n_cached = self.tokens(entry.seq)?.len() - entry.tokens.len();
            self.truncate(entry.seq, n_cached)?;
        }
        Ok(())
    }

    fn get(&self, seq: SeqId) -> Result<&Sequence> {
        self.sequences
            .get(seq.index as usize)
            .filter(|s| s.live && s.generation == seq.generation)
            .ok_or(CacheError::UnknownSequence { index: seq.index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Rows;

    fn cache(n_pages: usize) -> KvCache {
        KvCache::new(n_pages, 4 * PAGE_LEN, 10)
    }

    fn append(cache: &mut KvCache, seq: SeqId, n_tokens: usize) -> Result<()> {
        cache.append(&Batch::one(seq, &vec![1; n_tokens], Rows::None))
    }

    #[test]
    fn pages_are_taken_as_tokens_arrive_and_given_back_at_release() {
        let mut cache = cache(4);
        let seq = cache.open();
        for (n_tokens, n_free) in [(1, 3), (PAGE_LEN - 1, 3), (1, 2), (2 * PAGE_LEN, 0)] {
            append(&mut cache, seq, n_tokens).unwrap();
            assert_eq!(cache.n_free(), n_free, "after {n_tokens} more tokens");
        }
        cache.release(seq).unwrap();
        assert_eq!(cache.n_free(), 4);
    }

    #[test]
    fn a_released_sequence_is_refused_even_when_its_slot_is_taken_again() {
        let mut cache = cache(4);
        let old = cache.open();
        cache.release(old).unwrap();
        let new = cache.open();
        assert!(matches!(cache.tokens(old), Err(CacheError::UnknownSequence { .. })));
        assert!(cache.release(old).is_err());
        assert!(cache.tokens(new).unwrap().is_empty());
    }

    #[test]
    fn a_fork_shares_whole_pages_and_outlives_its_source() {
        let mut cache = cache(4);
        let source = cache.open();
        append(&mut cache, source, 2 * PAGE_LEN + 5).unwrap();
        let fork = cache.fork(source, 2 * PAGE_LEN + 5).unwrap();
        assert_eq!(cache.tokens(fork).unwrap().len(), 2 * PAGE_LEN);
        assert_eq!(cache.pages(fork).unwrap(), &cache.pages(source).unwrap()[..2]);
        assert_eq!(cache.n_free(), 1);
        cache.release(source).unwrap();
        assert_eq!(cache.n_free(), 2);
        cache.release(fork).unwrap();
        assert_eq!(cache.n_free(), 4);
    }

    #[test]
    fn a_cut_through_a_shared_page_leaves_the_page_to_the_other_sequence() {
        let mut cache = cache(4);
        let source = cache.open();
        append(&mut cache, source, 2 * PAGE_LEN).unwrap();
        let fork = cache.fork(source, 2 * PAGE_LEN).unwrap();
        assert_eq!(cache.truncate(fork, PAGE_LEN + 3).unwrap(), PAGE_LEN);
        append(&mut cache, fork, 1).unwrap();
        assert_ne!(cache.pages(fork).unwrap()[1], cache.pages(source).unwrap()[1]);
        assert_eq!(
            cache.truncate(source, PAGE_LEN + 3).unwrap(),
            PAGE_LEN + 3,
            "it holds that page alone again"
        );
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let mut cache = cache(4);
        let (a, b) = (cache.open(), cache.open());
        append(&mut cache, a, PAGE_LEN + 3).unwrap();
        let fork = cache.fork(a, PAGE_LEN).unwrap();
        let mut batch = Batch::one(a, &[1; 30], Rows::Last);
        batch.push(b, &[1; 2], Rows::Last);
        cache.append(&batch).unwrap();
        assert_eq!(cache.n_free(), 0);
        cache.take_back(&batch).unwrap();
        let len = |seq| cache.tokens(seq).unwrap().len();
        assert_eq!((len(a), len(b), len(fork), cache.n_free()), (PAGE_LEN + 3, 0, PAGE_LEN, 2));
    }

    #[test]
    fn an_append_that_fails_changes_nothing() {
        let mut cache = cache(3);
        let (a, b) = (cache.open(), cache.open());
        append(&mut cache, a, 5).unwrap();
        let mut batch = Batch::one(a, &[1; 40], Rows::Last);
        batch.push(b, &[1; 40], Rows::Last);
        assert!(matches!(cache.append(&batch), Err(CacheError::Full { needed: 3, free: 2 })));
        let out_of_range = cache.append(&Batch::one(b, &[9, 10], Rows::Last));
        assert!(matches!(out_of_range, Err(CacheError::TokenOutOfRange { id: 10, n_vocab: 10 })));
        assert!(matches!(append(&mut cache, a, 4 * PAGE_LEN - 4), Err(CacheError::ContextFull { .. })));
        assert_eq!(
            (cache.tokens(a).unwrap().len(), cache.tokens(b).unwrap().len(), cache.n_free()),
            (5, 0, 2)
        );
    }
}
