//! The paged KV cache: which sequence holds which tokens, in which pages.
//!
//! This is the bookkeeping alone; the keys and values live in the backend's memory, [`PAGE_LEN`] positions a page.
//! Full pages can be shared between sequences that start alike: a page is written only by the sequence that fills it,
//! so a shared one never changes. Used by the engine and every backend; tested below and in `tests/invariance/`.

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
        assert!(matches!(cache.tokens(old), Err(Error::UnknownSequence { .. })));
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
    fn an_append_that_fails_changes_nothing() {
        let mut cache = cache(3);
        let (a, b) = (cache.open(), cache.open());
        append(&mut cache, a, 5).unwrap();
        let mut batch = Batch::one(a, &[1; 40], Rows::Last);
        batch.push(b, &[1; 40], Rows::Last);
        assert!(matches!(cache.append(&batch), Err(Error::CacheFull { needed: 3, free: 2 })));
        let out_of_range = cache.append(&Batch::one(b, &[9, 10], Rows::Last));
        assert!(matches!(out_of_range, Err(Error::TokenOutOfRange { id: 10, n_vocab: 10 })));
        assert!(matches!(append(&mut cache, a, 4 * PAGE_LEN - 4), Err(Error::ContextFull { .. })));
        assert_eq!(
            (cache.tokens(a).unwrap().len(), cache.tokens(b).unwrap().len(), cache.n_free()),
            (5, 0, 2)
        );
    }
}
