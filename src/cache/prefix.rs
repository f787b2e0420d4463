//! [`PrefixCache`]: full pages of prompts that have been, so that a prompt that begins like one of them does not compute it again.
//!
//! A tree: the root of each tenant, below it one node for each page of tokens that followed. A page is found by the tokens
//! themselves, which a hash only makes quick, and tenants never see each other's. Used by [`crate::scheduler`]; tested below.

use super::{KvCache, PAGE_LEN, Result};
use crate::batch::SeqId;
use std::{
    cmp::Reverse,
    collections::{
        HashMap,
        hash_map::{Entry, RandomState},
    },
    hash::BuildHasher,
};

/// Pages of keys and values, by the tokens that they hold and those before. It belongs to one [`KvCache`].
#[derive(Debug)]
pub struct PrefixCache<S = RandomState> {
    nodes: HashMap<Key, Node, S>,
    /// The key of the node of each page.
    keys: HashMap<u32, Key>,
    /// Names of nodes are never used twice.
    n_made: u64,
    /// Counts the calls, to tell which node was used last.
    time: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    parent: Parent,
    tokens: [u32; PAGE_LEN],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Parent {
    Tenant(u64),
    Node(u64),
}

#[derive(Debug)]
struct Node {
    name: u64,
    page: u32,
}

/// When a page was used, and how many pages are before it: in the order in which pages are forgotten. A page is used whenever one
/// after it is, so of those used longest ago the deepest, which comes first, has none after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    time: u64,
    depth: Reverse<usize>,
}

impl PrefixCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl Default for PrefixCache {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BuildHasher> PrefixCache<S> {
    /// An empty cache whose pages are found by the hashes of `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self { nodes: HashMap::with_hasher(hasher), keys: HashMap::new(), n_made: 0, time: 0 }
    }

    /// Pages that are kept.
    pub fn n_pages(&self) -> usize {
        self.nodes.len()
    }

    /// Starts a sequence with the longest prefix of `ids` that `tenant` had before, in whole pages.
    pub fn open(&mut self, cache: &mut KvCache, tenant: u64, ids: &[u32]) -> SeqId {
        self.time += 1;
        let (mut pages, mut parent) = (Vec::new(), Parent::Tenant(tenant));
        for tokens in pages_of(ids) {
            let Some(node) = self.nodes.get(&Key { parent, tokens }) else { break };
            cache.keep(node.page, Use { time: self.time, depth: Reverse(pages.len()) });
            pages.push(node.page);
            parent = Parent::Node(node.name);
        }
        cache.open_on(&ids[..pages.len() * PAGE_LEN], &pages)
    }

    /// Keeps the full pages among the first `n_tokens` of `seq`, which belongs to `tenant`.
    pub fn keep(&mut self, cache: &mut KvCache, tenant: u64, seq: SeqId, n_tokens: usize) -> Result<()> {
        self.time += 1;
        let sequence = cache.get(seq)?;
        let n_tokens = n_tokens.min(sequence.tokens.len());
        let pages: Vec<_> = pages_of(&sequence.tokens[..n_tokens]).zip(sequence.pages.clone()).collect();
        let mut parent = Parent::Tenant(tenant);
        for (depth, (tokens, page)) in pages.into_iter().enumerate() {
            let node = match self.nodes.entry(Key { parent, tokens }) {
                Entry::Occupied(entry) => entry.into_mut(),
                // Kept below a page that was evicted since: a page has one node at most.
                Entry::Vacant(_) if self.keys.contains_key(&page) => break,
                Entry::Vacant(entry) => {
                    self.keys.insert(page, entry.key().clone());
                    self.n_made += 1;
                    entry.insert(Node { name: self.n_made, page })
                }
            };
            cache.keep(node.page, Use { time: self.time, depth: Reverse(depth) });
            parent = Parent::Node(node.name);
        }
        Ok(())
    }

    /// Forgets up to `n_pages` pages that no sequence holds, those first that were used longest ago. Returns how many.
    pub fn evict(&mut self, cache: &mut KvCache, n_pages: usize) -> usize {
        let mut n_evicted = 0;
        while n_evicted < n_pages
            && let Some(page) = cache.evict()
        {
            if let Some(key) = self.keys.remove(&page) {
                self.nodes.remove(&key);
            }
            n_evicted += 1;
        }
        n_evicted
    }
}

/// The full pages of `ids`.
fn pages_of(ids: &[u32]) -> impl Iterator<Item = [u32; PAGE_LEN]> {
    ids.as_chunks().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Rows};
    use std::hash::{BuildHasherDefault, Hasher};

    const N_PAGES: usize = 12;

    fn cache() -> KvCache {
        KvCache::new(N_PAGES, 8 * PAGE_LEN, 100)
    }

    /// A prompt of `pages.len()` pages, each of one token over and over, and three tokens more.
    fn prompt(pages: &[u32]) -> Vec<u32> {
        pages.iter().flat_map(|&id| [id; PAGE_LEN]).chain([1, 2, 3]).collect()
    }

    /// Runs `ids` as `tenant` and ends it. Returns the tokens that were there already.
    fn run<S: BuildHasher>(
        prefix: &mut PrefixCache<S>,
        cache: &mut KvCache,
        tenant: u64,
        ids: &[u32],
    ) -> usize {
        let seq = prefix.open(cache, tenant, ids);
        let n_cached = cache.tokens(seq).unwrap().len();
        assert_eq!(cache.tokens(seq).unwrap(), &ids[..n_cached], "they hold the same tokens");
        cache.append(&Batch::one(seq, &ids[n_cached..], Rows::None)).unwrap();
        prefix.keep(cache, tenant, seq, ids.len()).unwrap();
        cache.release(seq).unwrap();
        n_cached
    }

    #[test]
    fn a_prompt_finds_the_longest_prefix_in_whole_pages() {
        let (mut prefix, mut cache) = (PrefixCache::new(), cache());
        for (pages, n_cached) in [(&[1, 2, 3][..], 0), (&[1, 2, 4], 2), (&[1, 2, 3], 3), (&[2, 1], 0)] {
            let found = run(&mut prefix, &mut cache, 7, &prompt(pages));
            assert_eq!(found, n_cached * PAGE_LEN, "{pages:?}");
        }
        assert_eq!((prefix.n_pages(), cache.n_used(), cache.n_free()), (6, 0, N_PAGES - 6));
    }

    #[test]
    fn tenants_do_not_share() {
        let (mut prefix, mut cache) = (PrefixCache::new(), cache());
        for (tenant, n_cached) in [(1, 0), (2, 0), (1, 2), (2, 2)] {
            assert_eq!(run(&mut prefix, &mut cache, tenant, &prompt(&[1, 2])), n_cached * PAGE_LEN);
        }
    }

    #[test]
    fn the_pages_used_longest_ago_go_first_and_the_last_of_a_prompt_before_the_first() {
        let (mut prefix, mut cache) = (PrefixCache::new(), cache());
        run(&mut prefix, &mut cache, 0, &prompt(&[1, 2, 3]));
        run(&mut prefix, &mut cache, 0, &prompt(&[4, 5]));
        run(&mut prefix, &mut cache, 0, &prompt(&[1, 2]));
        assert_eq!(prefix.evict(&mut cache, 2), 2);
        assert_eq!(cache.n_free(), N_PAGES - 3);
        for (pages, n_cached) in [(&[1, 2, 3], 2), (&[4, 5, 6], 1)] {
            let seq = prefix.open(&mut cache, 0, &prompt(pages));
            assert_eq!(cache.tokens(seq).unwrap().len(), n_cached * PAGE_LEN, "{pages:?}");
        }
    }

    #[test]
    fn pages_in_use_are_not_evicted() {
        let (mut prefix, mut cache) = (PrefixCache::new(), cache());
        run(&mut prefix, &mut cache, 0, &prompt(&[1, 2, 3]));
        let seq = prefix.open(&mut cache, 0, &prompt(&[1, 2]));
        assert_eq!(cache.n_used(), 2);
        assert_eq!(prefix.evict(&mut cache, usize::MAX), 1);
        cache.release(seq).unwrap();
        assert_eq!(prefix.evict(&mut cache, usize::MAX), 2);
        assert_eq!((cache.n_free(), prefix.n_pages()), (N_PAGES, 0));
    }

    /// The pages that no sequence holds, in the order in which they go: all nodes are sorted.
    fn slow_twin(prefix: &PrefixCache, cache: &KvCache) -> Vec<u32> {
        let kept = prefix.nodes.values().map(|node| (cache.pages[node.page as usize], node.page));
        let mut idle: Vec<_> = kept.filter(|(page, _)| page.n_owners == 0).collect();
        idle.sort_by_key(|&(page, index)| (page.kept.unwrap(), index));
        idle.into_iter().map(|(_, index)| index).collect()
    }

    #[test]
    fn pages_go_in_the_order_in_which_sorting_all_of_them_puts_them() {
        let (mut prefix, mut cache) = (PrefixCache::new(), KvCache::new(200, 8 * PAGE_LEN, 100));
        let mut random = fastrand::Rng::with_seed(5);
        let mut live = Vec::new();
        for _ in 0..20_000 {
            let pages: Vec<u32> = (0..random.usize(1..5)).map(|_| random.u32(0..4)).collect();
            match random.u32(0..5) {
                0 | 1 if cache.n_free() > 8 => {
                    let (tenant, ids) = (random.u64(0..2), prompt(&pages));
                    let seq = prefix.open(&mut cache, tenant, &ids);
                    let n_cached = cache.tokens(seq).unwrap().len();
                    cache.append(&Batch::one(seq, &ids[n_cached..], Rows::None)).unwrap();
                    live.push((tenant, seq, ids.len()));
                }
                2 if !live.is_empty() => {
                    let (tenant, seq, n_tokens) = live[random.usize(..live.len())];
                    prefix.keep(&mut cache, tenant, seq, n_tokens).unwrap();
                }
                3 if !live.is_empty() => {
                    cache.release(live.swap_remove(random.usize(..live.len())).1).unwrap();
                }
                _ => {
                    let (mut expected, n_free) = (slow_twin(&prefix, &cache), cache.n_free());
                    expected.truncate(random.usize(0..4));
                    assert_eq!(prefix.evict(&mut cache, expected.len()), expected.len());
                    assert_eq!(cache.free[n_free..], expected);
                }
            }
            assert_eq!(slow_twin(&prefix, &cache).len(), cache.n_pages() - cache.n_used() - cache.n_free());
        }
        assert!(prefix.n_made > 1_000, "{} pages were kept", prefix.n_made);
    }

    /// Sorting all pages for each that goes takes 4 ms, and a minute in all.
    #[test]
    fn what_a_page_costs_to_evict_does_not_grow_with_their_number() {
        const N: u32 = 17_000;
        let (mut prefix, mut cache) =
            (PrefixCache::new(), KvCache::new(N as usize + 1, 8 * PAGE_LEN, N as usize));
        for id in 0..N {
            run(&mut prefix, &mut cache, 0, &prompt(&[id]));
        }
        assert_eq!(prefix.n_pages(), N as usize);
        let started = std::time::Instant::now();
        for _ in 0..N {
            assert_eq!(prefix.evict(&mut cache, 1), 1);
        }
        let time = started.elapsed();
        println!("{N} pages in {time:?}");
        assert!(time.as_secs() < 4, "{N} pages in {time:?}");
    }

    /// All tokens have the same hash.
    #[derive(Default)]
    struct Constant;

    impl Hasher for Constant {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, _: &[u8]) {}
    }

    #[test]
    fn prompts_of_one_hash_are_told_apart() {
        let mut prefix = PrefixCache::with_hasher(BuildHasherDefault::<Constant>::default());
        let mut cache = cache();
        run(&mut prefix, &mut cache, 0, &prompt(&[1, 2]));
        for (pages, n_cached) in [([2, 1], 0), ([1, 3], 1), ([1, 2], 2)] {
            assert_eq!(run(&mut prefix, &mut cache, 0, &prompt(&pages)), n_cached * PAGE_LEN, "{pages:?}");
        }
    }
}
