//! Who accessed each word of memory, for the race checker.
//!
//! A [`Cell`] holds the last plain write of a word and the set of accesses since. A word that is accessed in parts is split into four
//! cells of a byte each, until it is written as a whole again.

use super::sets::{Class, EMPTY, Member, Relations, Sets};
use std::collections::HashMap;

/// The last plain write of a place, and the accesses since.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cell {
    warp: u32,
    /// 0 if nobody wrote.
    epoch: u32,
    pc: u32,
    /// Of a split word: the number of its cells in [`Splits`].
    set: u32,
    lane: u8,
    split: bool,
    /// Whether anything ever wrote here in this launch.
    written: bool,
}

impl Cell {
    /// Accesses the place; an access that this one races with is an error. `last` is the set of the place that the same access touched
    /// before and the set that came after: neighbours mostly have the same.
    #[inline(always)]
    fn touch(
        &mut self,
        sets: &mut Sets,
        new: &Member,
        relations: &impl Relations,
        last: &mut (u32, u32),
    ) -> Result<(), Member> {
        if self.epoch != 0 && !relations.ordered_write(self.warp, self.lane, self.epoch, new) {
            return Err(self.write());
        }
        if self.set != last.0 {
            *last = (self.set, sets.after(self.set, new, relations)?);
        }
        self.set = last.1;
        if new.class == Class::Write {
            (self.warp, self.epoch, self.pc) = (new.warp, new.epoch, new.pc);
            (self.lane, self.written) = (new.mask.trailing_zeros() as u8, true);
        } else if new.class.writes() {
            self.written = true;
        }
        Ok(())
    }

    /// Whether anything ever wrote here in this launch.
    pub fn written(&self) -> bool {
        self.written
    }

    fn write(&self) -> Member {
        let (warp, epoch, pc) = (self.warp, self.epoch, self.pc);
        Member { warp, epoch, pc, mask: 1 << self.lane, class: Class::Write }
    }
}

/// The cells of split words.
#[derive(Debug, Default)]
pub struct Splits {
    bytes: Vec<[Cell; 4]>,
    free: Vec<u32>,
}

impl Splits {
    fn split(&mut self, cell: &mut Cell) -> &mut [Cell; 4] {
        if !cell.split {
            let at = self.free.pop().unwrap_or_else(|| {
                self.bytes.push([Cell::default(); 4]);
                self.bytes.len() as u32 - 1
            });
            self.bytes[at as usize] = [*cell; 4];
            (cell.split, cell.set) = (true, at);
        }
        &mut self.bytes[cell.set as usize]
    }

    fn unite(&mut self, cell: &mut Cell) {
        self.free.push(cell.set);
        let written = cell.written;
        *cell = self.bytes[cell.set as usize][0];
        cell.written |= written;
    }
}

/// No place was touched before: no set has this number.
const NOTHING: (u32, u32) = (u32::MAX, 0);

/// Where accesses to a piece of memory are recorded.
pub struct Shadow<'a> {
    /// The words of the piece.
    pub cells: &'a mut [Cell],
    /// The cells of words that are split.
    pub splits: &'a mut Splits,
    /// The sets that cells refer to.
    pub sets: &'a mut Sets,
}

impl Shadow<'_> {
    /// Accesses `bytes` bytes at `offset`, aligned to their number; a race is an error: with whom, and at which byte.
    #[inline(always)]
    pub fn touch(
        &mut self,
        offset: usize,
        bytes: usize,
        new: &Member,
        relations: &impl Relations,
    ) -> Result<(), (Member, usize)> {
        if bytes < 4 {
            return self.touch_part(offset, bytes, new, relations);
        }
        let mut last = NOTHING;
        let end = ((offset + bytes) / 4).min(self.cells.len());
        for word in offset / 4..end {
            let cell = &mut self.cells[word];
            if cell.split {
                self.touch_part(4 * word, 4, new, relations)?;
            } else {
                cell.touch(self.sets, new, relations, &mut last).map_err(|m| (m, 4 * word))?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn touch_part(
        &mut self,
        offset: usize,
        bytes: usize,
        new: &Member,
        relations: &impl Relations,
    ) -> Result<(), (Member, usize)> {
        let Some(cell) = self.cells.get_mut(offset / 4) else { return Ok(()) };
        let parts = self.splits.split(cell);
        let mut last = NOTHING;
        for (i, part) in parts.iter_mut().enumerate().skip(offset % 4).take(bytes) {
            part.touch(self.sets, new, relations, &mut last).map_err(|m| (m, offset / 4 * 4 + i))?;
        }
        let writes = new.class.writes();
        cell.written |= writes;
        if bytes == 4 && new.class == Class::Write {
            self.splits.unite(cell);
        }
        Ok(())
    }

    /// A copy lands: whatever happened to these bytes is over.
    pub fn land(&mut self, offset: usize, bytes: usize, new: &Member) {
        for word in offset / 4..(offset + bytes).div_ceil(4) {
            let Some(cell) = self.cells.get_mut(word) else { continue };
            if cell.split {
                self.splits.free.push(cell.set);
            }
            let lane = new.mask.trailing_zeros() as u8 & 31;
            let (warp, epoch, pc) = (new.warp, new.epoch, new.pc);
            *cell = Cell { warp, epoch, pc, set: EMPTY, lane, split: false, written: true };
        }
    }

    /// Somebody who wrote any of these bytes in this launch.
    pub fn writer(&self, offset: usize, bytes: usize) -> Option<(Member, usize)> {
        let words = offset / 4..(offset + bytes).div_ceil(4);
        for (word, cell) in words.clone().zip(self.cells.get(words)?) {
            if !cell.written {
                continue;
            }
            let parts = if cell.split { self.splits.bytes.get(cell.set as usize)? } else { &[*cell; 4] };
            for (i, part) in parts.iter().enumerate() {
                let byte = 4 * word + i;
                if part.written && (offset..offset + bytes).contains(&byte) {
                    let last = (part.epoch != 0).then(|| part.write());
                    return last.or_else(|| self.sets.writer(part.set)).map(|m| (m, byte));
                }
            }
        }
        None
    }
}

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A page of global memory.
#[derive(Debug)]
pub struct Page {
    /// The words of the page; none before something other than a read-only load comes here.
    pub cells: Vec<Cell>,
    /// A bit for each byte read through the read-only path.
    pub read_only: Option<Box<[u64; 64]>>,
    /// Who read through it first.
    pub reader: Member,
}

impl Default for Page {
    fn default() -> Page {
        let reader = Member { warp: 0, epoch: 0, mask: 1, class: Class::Read, pc: 0 };
        Page { cells: Vec::new(), read_only: None, reader }
    }
}

impl Page {
    /// The words of the page, made if need be.
    #[inline(always)]
    pub fn cells(&mut self) -> &mut [Cell] {
        if self.cells.is_empty() {
            self.cells.resize(PAGE as usize / 4, Cell::default());
        }
        &mut self.cells
    }

    /// The bits of what was read through the read-only path; `reader` is the first if nobody did before.
    pub fn read_only(&mut self, reader: Member) -> &mut [u64; 64] {
        self.read_only.get_or_insert_with(|| {
            self.reader = reader;
            Box::new([0; 64])
        })
    }
}

/// The pages of global memory that a launch touched.
#[derive(Debug, Default)]
pub struct Pages {
    numbers: HashMap<u64, usize, std::hash::BuildHasherDefault<super::sets::Mix>>,
    pages: Vec<Page>,
    /// Pages asked for lately, by the end of their number, and their places.
    recent: [Option<(u64, usize)>; RECENT],
}

/// Pages remembered: a kernel goes through a few arrays, and several rows of each, in turn.
const RECENT: usize = 16;

impl Pages {
    /// The page of this number, made if need be.
    #[inline(always)]
    pub fn get(&mut self, number: u64) -> &mut Page {
        let at = match self.recent[number as usize % RECENT] {
            Some((recent, at)) if recent == number => at,
            _ => self.find(number),
        };
        &mut self.pages[at]
    }

    #[inline(never)]
    fn find(&mut self, number: u64) -> usize {
        let at = *self.numbers.entry(number).or_insert_with(|| {
            self.pages.push(Page::default());
            self.pages.len() - 1
        });
        self.recent[number as usize % RECENT] = Some((number, at));
        at
    }
}

/// The bits of `bytes` bytes at `offset` of a page, which lie in one word of 64.
#[inline(always)]
pub fn bits(offset: usize, bytes: usize) -> (usize, u64) {
    let ones = if bytes >= 64 { u64::MAX } else { (1 << bytes) - 1 };
    (offset / 64 % 64, ones << (offset % 64))
}

const _: () = assert!(EMPTY == 0, "a fresh cell has the empty set");
