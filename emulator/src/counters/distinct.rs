//! Which bytes of global memory were touched: one bit a byte, in pages that appear when they are touched.

use crate::machine::Access;
use std::collections::HashMap;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// A set of addresses.
#[derive(Debug, Clone, Default)]
pub struct Distinct {
    numbers: HashMap<u64, usize>,
    pages: Vec<[u64; PAGE as usize / 64]>,
    /// The page touched last: address divided by its size, place in `pages`.
    last: Option<(u64, usize)>,
}

impl Distinct {
    /// Adds the bytes of an access.
    #[inline(always)]
    pub fn add(&mut self, access: &Access<'_>) {
        let bytes = u64::from(access.bytes);
        if access.contiguous {
            return self.range(access.addresses[0], 32 * bytes);
        }
        for lane in (0..32).filter(|l| access.mask >> l & 1 == 1) {
            self.range(access.addresses[lane], bytes);
        }
    }

    /// Adds the `len` bytes from `address` on.
    fn range(&mut self, address: u64, len: u64) {
        let (mut at, end) = (address, address + len);
        while at < end {
            let page = self.page(at / PAGE);
            let stop = end.min((at / PAGE + 1) * PAGE);
            let (mut bit, last) = (at % PAGE, at % PAGE + (stop - at));
            while bit < last {
                let n = (64 - bit % 64).min(last - bit);
                page[(bit / 64) as usize] |= (u64::MAX >> (64 - n)) << (bit % 64);
                bit += n;
            }
            at = stop;
        }
    }

    #[inline(always)]
    fn page(&mut self, number: u64) -> &mut [u64; PAGE as usize / 64] {
        let place = match self.last {
            Some((n, place)) if n == number => place,
            _ => *self.numbers.entry(number).or_insert_with(|| {
                self.pages.push([0; PAGE as usize / 64]);
                self.pages.len() - 1
            }),
        };
        self.last = Some((number, place));
        &mut self.pages[place]
    }

    /// Adds the addresses of another set.
    pub fn merge(&mut self, other: &Distinct) {
        for (&number, &place) in &other.numbers {
            let from = &other.pages[place];
            self.page(number).iter_mut().zip(from.iter()).for_each(|(a, b)| *a |= b);
        }
    }

    /// How many addresses there are.
    pub fn count(&self) -> u64 {
        self.pages.iter().flat_map(|p| p.iter()).map(|w| u64::from(w.count_ones())).sum()
    }
}
