//! Read-modify-write of words that other threads of the host may be changing.

use std::sync::{
    Mutex, PoisonError,
    atomic::{
        AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

/// One atomic of 64 bits at a time for each of these: a 64-bit value is two words, and no host instruction changes both.
static STRIPES: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// Replaces the word at the byte `offset`, a multiple of four; gives the old one.
pub fn word(words: &[AtomicU32], offset: usize, mut f: impl FnMut(u32) -> u32) -> u32 {
    match words[offset / 4].fetch_update(AcqRel, Acquire, |old| Some(f(old))) {
        Ok(old) | Err(old) => old,
    }
}

/// Replaces the 16 bits at the byte `offset`, a multiple of two; gives the old ones.
pub fn half(words: &[AtomicU32], offset: usize, mut f: impl FnMut(u16) -> u16) -> u16 {
    let shift = 8 * (offset % 4);
    let old =
        word(words, offset, |old| old & !(0xFFFF << shift) | u32::from(f((old >> shift) as u16)) << shift);
    (old >> shift) as u16
}

/// Replaces the 64 bits at the byte `offset`, a multiple of eight; gives the old ones. Atomic among calls of this function: plain loads and
/// stores of other threads can fall between the two words.
pub fn double(words: &[AtomicU32], offset: usize, mut f: impl FnMut(u64) -> u64) -> u64 {
    let (low, high) = (&words[offset / 4], &words[offset / 4 + 1]);
    let stripe = (std::ptr::from_ref(low).addr() / 8) % STRIPES.len();
    let guard = STRIPES[stripe].lock().unwrap_or_else(PoisonError::into_inner);
    let old = u64::from(low.load(Acquire)) | u64::from(high.load(Relaxed)) << 32;
    let new = f(old);
    low.store(new as u32, Relaxed);
    high.store((new >> 32) as u32, Relaxed);
    drop(guard);
    old
}
