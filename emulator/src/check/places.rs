//! Goes over the places of an access, for the race checker.

use super::{
    relations::Known,
    sets::{Member, Sets},
    shadow::{self, Cell, PAGE, Page, Pages, Shadow, Splits},
};
use crate::{
    machine::{Access, AccessKind},
    memory::each_word,
};

/// Why an access is a finding.
pub enum Conflict {
    /// `new` races with `old`.
    Race { old: Member, new: Member, at: u64 },
    /// `new` reads through the read-only path what `old` wrote.
    Written { old: Member, new: Member, at: u64 },
    /// `new` writes what `reader` read through the read-only path.
    ReadOnly { reader: Member, new: Member, at: u64 },
}

/// The records of global memory.
pub struct Global<'a> {
    /// Of each page.
    pub pages: &'a mut Pages,
    /// Of its words in parts.
    pub splits: &'a mut Splits,
    /// The sets.
    pub sets: &'a mut Sets,
}

impl Global<'_> {
    /// A load, store or atomic.
    pub fn access(&mut self, access: &Access<'_>, new: &Member, known: &Known<'_>) -> Result<(), Conflict> {
        let (writes, mut new) = (new.class.writes(), *new);
        let Global { pages, splits, sets } = self;
        let mut touch = |page: &mut Page, mask: u32, address: u64, bytes: usize| {
            let offset = (address % PAGE) as usize;
            new.mask = mask;
            if writes && let Some(read) = &page.read_only {
                let (word, bits) = shadow::bits(offset, bytes);
                if read[word] & bits != 0 {
                    return Err(Conflict::ReadOnly { reader: page.reader, new, at: address });
                }
            }
            let mut shadow = Shadow { cells: page.cells(), splits, sets };
            let touched = shadow.touch(offset, bytes, &new, known);
            touched.map_err(|(old, at)| Conflict::Race { old, new, at: address / PAGE * PAGE + at as u64 })
        };
        let first = access.addresses[0];
        if access.contiguous && first % PAGE + 32 * u64::from(access.bytes) <= PAGE {
            let page = pages.get(first / PAGE);
            return each_place(access, |mask, address, bytes| touch(page, mask, address, bytes));
        }
        each_place(access, |mask, address, bytes| touch(pages.get(address / PAGE), mask, address, bytes))
    }

    /// A load through the read-only path.
    pub fn read_only(&mut self, access: &Access<'_>, new: &Member) -> Result<(), Conflict> {
        if access.contiguous && self.read_only_run(access, new) {
            return Ok(());
        }
        each_place(access, |mask, address, bytes| {
            let number = address / PAGE;
            let page = self.pages.get(number);
            let (new, offset) = (Member { mask, ..*new }, (address % PAGE) as usize);
            if !page.cells.is_empty() {
                let shadow = Shadow { cells: &mut page.cells, splits: self.splits, sets: self.sets };
                if let Some((old, at)) = shadow.writer(offset, bytes) {
                    return Err(Conflict::Written { old, new, at: number * PAGE + at as u64 });
                }
            }
            let (word, bits) = shadow::bits(offset, bytes);
            page.read_only(new)[word] |= bits;
            Ok(())
        })
    }

    /// Records reads through the read-only path by lanes in a row, all at once; `false` if somebody wrote near by: then each lane must be looked at.
    fn read_only_run(&mut self, access: &Access<'_>, new: &Member) -> bool {
        let (first, bytes) = (access.addresses[0], u64::from(access.bytes));
        let (mut at, end) = (first, first + 32 * bytes);
        while at < end {
            let page = self.pages.get(at / PAGE);
            let (offset, stop) = (at % PAGE, end.min((at / PAGE + 1) * PAGE));
            let words = (offset / 4) as usize..(offset + stop - at).div_ceil(4) as usize;
            if page.cells.get(words).is_some_and(|cells| cells.iter().any(Cell::written)) {
                return false;
            }
            let reader = Member { mask: 1 << ((at - first) / bytes), ..*new };
            let read = page.read_only(reader);
            each_word(offset, stop - at, |word, bits| read[word % 64] |= bits);
            at = stop;
        }
        true
    }
}

/// Bytes of the widest access of a lane.
const WIDEST: u32 = 32;

/// Each address of an access with the lanes that access it; writes come one lane at a time.
#[inline(always)]
pub fn each_place<E>(
    access: &Access<'_>,
    mut visit: impl FnMut(u32, u64, usize) -> Result<(), E>,
) -> Result<(), E> {
    let reads = matches!(access.kind, AccessKind::Load | AccessKind::CopyRead);
    // Bulk copies come in multiples of 16 bytes.
    let piece = if access.bytes <= WIDEST { access.bytes } else { 16 };
    let mut rest = access.mask;
    while rest != 0 {
        let lane = rest.trailing_zeros();
        let address = access.addresses[lane as usize];
        let mut mask = 1 << lane;
        if reads {
            let mut next = lane + 1;
            while next < 32 && rest >> next & 1 == 1 && access.addresses[next as usize] == address {
                mask |= 1 << next;
                next += 1;
            }
        }
        rest &= !mask;
        let mut at = 0;
        while at < access.bytes {
            visit(mask, address + u64::from(at), (access.bytes - at).min(piece) as usize)?;
            at += piece;
        }
    }
    Ok(())
}
