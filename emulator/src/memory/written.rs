//! Which bytes of an allocation have ever been written.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A bit for each byte.
#[derive(Debug)]
pub struct Written(Box<[AtomicU64]>);

impl Written {
    /// None of `len` bytes.
    pub fn none(len: u64) -> Written {
        Written(bytemuck::allocation::zeroed_slice_box((len as usize).div_ceil(64)))
    }

    /// Notes that the `len` bytes at `offset` hold something, or (`false`) nothing any more.
    #[inline(always)]
    pub fn set(&self, offset: u64, len: u64, written: bool) {
        each_word(offset, len, |word, bits| {
            if let Some(word) = self.0.get(word) {
                if bits == u64::MAX {
                    word.store(if written { bits } else { 0 }, Relaxed);
                } else if written {
                    word.fetch_or(bits, Relaxed);
                } else {
                    word.fetch_and(!bits, Relaxed);
                }
            }
        });
    }

    /// All of it, to be put back by [`Written::restore`].
    pub fn contents(&self) -> Vec<u64> {
        self.0.iter().map(|w| w.load(Relaxed)).collect()
    }

    /// Makes it what it was.
    pub fn restore(&self, contents: &[u64]) {
        self.0.iter().zip(contents).for_each(|(to, &w)| to.store(w, Relaxed));
    }

    /// The first of the `len` bytes at `offset` that was never written.
    #[inline(always)]
    pub fn first_unwritten(&self, offset: u64, len: u64) -> Option<u64> {
        let mut first = None;
        each_word(offset, len, |word, bits| {
            let missing = bits & !self.0.get(word).map_or(u64::MAX, |w| w.load(Relaxed));
            if missing != 0 && first.is_none() {
                first = Some(64 * word as u64 + u64::from(missing.trailing_zeros()));
            }
        });
        first
    }
}

/// Calls `f` with each word of 64 bits that holds some of the bits `offset` to `offset + len`, and with these.
#[inline(always)]
pub fn each_word(offset: u64, len: u64, mut f: impl FnMut(usize, u64)) {
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let n = (64 - at % 64).min(end - at);
        f((at / 64) as usize, (u64::MAX >> (64 - n)) << (at % 64));
        at += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exact_to_the_byte() {
        for (offset, len) in [(0, 1), (3, 7), (60, 8), (64, 64), (1, 200), (255, 1), (0, 256)] {
            let w = Written::none(256);
            w.set(offset, len, true);
            for byte in 0..256 {
                let inside = (offset..offset + len).contains(&byte);
                assert_eq!(w.first_unwritten(byte, 1).is_none(), inside, "{offset} {len} {byte}");
            }
            assert_eq!(w.first_unwritten(offset, len), None);
            w.set(offset, 1, false);
            assert_eq!(w.first_unwritten(offset, len), Some(offset));
        }
    }
}
