//! Weak stores to global memory that other blocks see late: a buffer of each block, for [`crate::machine::Settings::weak`].
//!
//! A store waits until its block fences, releases, touches the word again, ends, or chance wants it: all that the memory model promises.
//! Tests: `tests/weak_memory.rs`.

use crate::{
    machine::{Access, Context, Ordering},
    memory::GlobalMemory,
    ptx::ast::Space,
};
use std::{collections::HashMap, sync::atomic::Ordering::Relaxed};

/// One store in this many makes all that wait visible.
const CHANCE: u64 = 32;

/// What a block stored and others do not see yet.
#[derive(Debug)]
pub struct Late {
    random: u64,
    /// By address of the word: its bytes, and which of them are stored.
    words: HashMap<u64, (u32, u32)>,
}

impl Late {
    /// Nothing yet; chance comes from `seed`.
    pub fn new(seed: u64) -> Late {
        Late { random: seed | 1, words: HashMap::new() }
    }

    /// Stores the bytes of `value` that `mask` names, in a word.
    fn store(&mut self, word: u64, value: u32, mask: u32) {
        let (old, stored) = self.words.entry(word).or_default();
        *old = *old & !mask | value & mask;
        *stored |= mask;
    }

    /// Makes a word visible.
    fn show(&mut self, memory: &GlobalMemory, word: u64) {
        let Some((value, mask)) = self.words.remove(&word) else { return };
        if let Some(allocation) = memory.range(word, 1)
            && let Some(to) = allocation.words().get(((word - allocation.base) / 4) as usize)
        {
            // The closure never declines, so this cannot fail.
            let _ = to.fetch_update(Relaxed, Relaxed, |old| Some(old & !mask | value & mask));
        }
    }

    /// Makes everything visible.
    pub fn show_all(&mut self, memory: &GlobalMemory) {
        let words: Vec<u64> = self.words.keys().copied().collect();
        words.into_iter().for_each(|word| self.show(memory, word));
    }

    /// Whether chance makes everything visible now (xorshift).
    fn by_chance(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(CHANCE)
    }

    /// Before an access of the block: what it releases or touches becomes visible.
    pub fn before(&mut self, memory: &GlobalMemory, access: &Access<'_>) {
        if matches!(access.ordering, Ordering::Release | Ordering::AcquireRelease) {
            return self.show_all(memory);
        }
        if access.space != Space::Global || self.words.is_empty() {
            return;
        }
        for lane in super::each_lane(access.mask) {
            let first = access.addresses[lane] & !3;
            let words = u64::from(access.bytes.div_ceil(4));
            (0..words).for_each(|w| self.show(memory, first + 4 * w));
        }
    }
}

/// Keeps the elements of `size` bytes that a weak store writes; `false` if nobody asked for late stores.
#[inline(always)]
pub fn keep(
    cx: &mut Context<'_, '_>,
    size: usize,
    mask: u32,
    addresses: &[u64; 32],
    values: &[([u32; 32], [u32; 32])],
) -> bool {
    let Some(late) = &mut cx.block.late else { return false };
    for l in super::each_lane(mask) {
        for (v, (low, high)) in values.iter().enumerate() {
            let address = addresses[l] + (v * size) as u64;
            let (word, shift) = (address & !3, 8 * (address % 4));
            let bytes = if size >= 4 { u32::MAX } else { (1 << (8 * size)) - 1 };
            late.store(word, low[l] << shift, bytes << shift);
            if size == 8 {
                late.store(word + 4, high[l], u32::MAX);
            }
        }
    }
    if late.by_chance() {
        late.show_all(cx.memory);
    }
    true
}
