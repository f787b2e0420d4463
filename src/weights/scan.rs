//! The search for NaN and infinity in weights as they are stored.
//!
//! A value is not finite when all its exponent bits are set, so the search is one mask and one comparison per element,
//! which compilers turn into vector code. Threads take the blocks as they come. Called when a model is loaded; tested in
//! `tests/malformed_weights/`.

use safetensors::Dtype;
use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Bytes that a thread takes at a time.
const BLOCK: usize = 1 << 20;

/// A tensor with values that are not finite.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which of the tensors.
    pub tensor: usize,
    /// How many values.
    pub count: usize,
    /// Index of the first of them.
    pub first: usize,
}

/// The tensors that hold values which are not finite. Types other than F16, BF16 and F32 are passed over.
pub fn nonfinite<'a>(tensors: impl Iterator<Item = (Dtype, &'a [u8])>) -> Vec<Hit> {
    let mut blocks = Vec::new();
    for (tensor, (dtype, data)) in tensors.enumerate() {
        blocks.extend(data.chunks(BLOCK).enumerate().map(|(i, block)| (tensor, dtype, i * BLOCK, block)));
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut hits = Vec::new();
        while let Some(&(tensor, dtype, start, block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((count, first)) = search(dtype, block) {
                hits.push(Hit { tensor, count, first: start / (dtype.bitsize() / 8) + first });
            }
        }
        hits
    };
    let n_threads = thread::available_parallelism().map_or(1, NonZero::get).min(8).min(blocks.len());
    let mut hits: Vec<Hit> = thread::scope(|scope| {
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut hits = work();
        for thread in threads {
            hits.extend(thread.join().expect("the search does not panic"));
        }
        hits
    });
    hits.sort_by_key(|hit| (hit.tensor, hit.first));
    hits.dedup_by(|next, first| {
        let same = next.tensor == first.tensor;
        first.count += if same { next.count } else { 0 };
        same
    });
    hits
}

/// How many values of `block` are not finite, and the index of the first.
fn search(dtype: Dtype, block: &[u8]) -> Option<(usize, usize)> {
    match dtype {
        Dtype::F16 => search_bits(block, |bytes| u16::from_le_bytes(bytes) & 0x7c00 == 0x7c00),
        Dtype::BF16 => search_bits(block, |bytes| u16::from_le_bytes(bytes) & 0x7f80 == 0x7f80),
        Dtype::F32 => search_bits(block, |bytes| u32::from_le_bytes(bytes) & 0x7f80_0000 == 0x7f80_0000),
        _ => None,
    }
}

fn search_bits<const N: usize>(
    block: &[u8],
    is_nonfinite: impl Fn([u8; N]) -> bool,
) -> Option<(usize, usize)> {
    let values: &[[u8; N]] = block.as_chunks().0;
    // No early exit: that is what lets the loop become vector code. Bad weights are rare, so the second walk is too.
    if !values.iter().fold(false, |any, &value| any | is_nonfinite(value)) {
        return None;
    }
    let count = values.iter().filter(|&&value| is_nonfinite(value)).count();
    values.iter().position(|&value| is_nonfinite(value)).map(|first| (count, first))
}
