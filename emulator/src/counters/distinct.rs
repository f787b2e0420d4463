//! Which bytes of global memory were touched: one bit a byte, in pages that appear when they are touched.

use crate::{machine::Access, memory::each_word, ops::memory::each_lane};
use std::collections::HashMap;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Bytes of a piece of a page.
const PIECE: u64 = PAGE / 64;

/// The bytes touched of a page.
#[derive(Debug, Clone, Default)]
struct Page {
    /// A bit for each piece touched as a whole: what large loads touch fits in few words.
    whole: u64,
    /// A bit for each byte of the others, once there are any.
    bytes: Option<Box<[u64; 64]>>,
}

impl Page {
    /// Adds the `len` bytes at `offset`, which lie inside.
    #[inline(always)]
    fn add(&mut self, offset: u64, len: u64) {
        if offset.is_multiple_of(PIECE) && len.is_multiple_of(PIECE) && len > 0 {
            self.whole |= (u64::MAX >> (64 - len / PIECE)) << (offset / PIECE);
        } else {
            self.add_bytes(offset, len);
        }
    }

    #[inline(never)]
    fn add_bytes(&mut self, offset: u64, len: u64) {
        let bytes = self.bytes.get_or_insert_with(|| Box::new([0; 64]));
        each_word(offset, len, |piece, bits| bytes[piece % 64] |= bits);
    }

    /// Adds the bytes of another.
    fn merge(&mut self, other: &Page) {
        self.whole |= other.whole;
        if let Some(theirs) = &other.bytes {
            let mine = self.bytes.get_or_insert_with(|| Box::new([0; 64]));
            mine.iter_mut().zip(theirs.iter()).for_each(|(a, b)| *a |= b);
        }
    }

    fn count(&self) -> u64 {
        let bytes = self.bytes.as_deref().unwrap_or(&[0; 64]);
        let piece = |(i, bits): (usize, &u64)| match self.whole >> i & 1 {
            1 => PIECE,
            _ => u64::from(bits.count_ones()),
        };
        bytes.iter().enumerate().map(piece).sum()
    }
}

/// A set of addresses.
#[derive(Debug, Clone, Default)]
pub struct Distinct {
    numbers: HashMap<u64, usize>,
    pages: Vec<Page>,
    /// Pages touched lately, by the end of their number: number, place in `pages`.
    recent: [Option<(u64, usize)>; RECENT],
}

/// Pages remembered: a kernel goes through a few arrays, and several rows of each, in turn.
const RECENT: usize = 16;

impl Distinct {
    /// Adds the bytes of an access.
    #[inline(always)]
    pub fn add(&mut self, access: &Access<'_>) {
        let bytes = u64::from(access.bytes);
        if access.contiguous {
            return self.range(access.addresses[0], 32 * bytes);
        }
        for lane in each_lane(access.mask) {
            self.range(access.addresses[lane], bytes);
        }
    }

    /// Adds the `len` bytes from `address` on.
    fn range(&mut self, address: u64, len: u64) {
        let (mut at, end) = (address, address + len);
        while at < end {
            let stop = end.min((at / PAGE + 1) * PAGE);
            self.page(at / PAGE).add(at % PAGE, stop - at);
            at = stop;
        }
    }

    #[inline(always)]
    fn page(&mut self, number: u64) -> &mut Page {
        let place = match self.recent[number as usize % RECENT] {
            Some((n, place)) if n == number => place,
            _ => self.find(number),
        };
        &mut self.pages[place]
    }

    #[inline(never)]
    fn find(&mut self, number: u64) -> usize {
        let place = *self.numbers.entry(number).or_insert_with(|| {
            self.pages.push(Page::default());
            self.pages.len() - 1
        });
        self.recent[number as usize % RECENT] = Some((number, place));
        place
    }

    /// Adds the addresses of another set.
    pub fn merge(&mut self, other: &Distinct) {
        for (&number, &place) in &other.numbers {
            self.page(number).merge(&other.pages[place]);
        }
    }

    /// How many addresses there are.
    pub fn count(&self) -> u64 {
        self.pages.iter().map(Page::count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_once_however_they_are_touched() {
        let mut a = Distinct::default();
        // A whole piece, parts of it again, the end of one page and the start of the next, nothing.
        for (address, len, count) in
            [(4096, 64, 64), (4100, 8, 64), (4156, 16, 76), (8190, 4, 80), (4160, 64, 132), (9000, 0, 132)]
        {
            a.range(address, len);
            assert_eq!(a.count(), count, "{len} bytes at {address}");
        }
        let mut b = Distinct::default();
        b.range(4096, 128);
        b.range(8192, 4096);
        a.merge(&b);
        assert_eq!(a.count(), 128 + 2 + 4096);
    }
}
