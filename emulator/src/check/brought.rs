//! What asynchronous copies bring of global memory that nobody wrote: bytes that stay undefined where they land.

use super::threads::lanes;
use crate::machine::{Access, Scene};

/// Bytes never written: how many, and from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u64,
    bytes: u64,
}

/// Such bytes that copies have read and not brought yet.
#[derive(Default)]
pub struct Brought {
    /// Of the instruction at hand: its lane, and where in what the lane copies.
    read: Vec<(u32, Range)>,
    /// Of copies under way: the block, and where in its shared memory.
    under_way: Vec<(u32, Range)>,
}

impl Brought {
    /// Copies read global memory, of which the lanes `unwritten` hold bytes that nobody wrote.
    #[inline(never)]
    pub fn read(&mut self, scene: &Scene<'_>, access: &Access<'_>, unwritten: u32) {
        for lane in lanes(unwritten) {
            let (first, end) = (access.addresses[lane as usize & 31], u64::from(access.bytes));
            let Some(allocation) = scene.memory.range(first, end) else { continue };
            let holds = |i: u64| allocation.first_unwritten(first + i, 1).is_none();
            let mut at = 0;
            while let Some(from) = (at..end).find(|&i| !holds(i)) {
                at = (from..end).find(|&i| holds(i)).unwrap_or(end);
                self.read.push((lane, Range { from, bytes: at - from }));
            }
        }
    }

    /// What a lane read goes to this offset of its block's shared memory.
    pub fn issued(&mut self, block: u32, lane: u32, offset: u32) {
        let mine = self.read.extract_if(.., |(l, _)| *l == lane);
        self.under_way.extend(mine.map(|(_, r)| (block, Range { from: u64::from(offset) + r.from, ..r })));
    }

    /// A copy lands in these bytes of a block's shared memory. Gives which of them hold nothing: first, number.
    pub fn landed(&mut self, block: u32, offset: u64, bytes: u64) -> Vec<(u64, u64)> {
        if self.under_way.is_empty() {
            return Vec::new();
        }
        let inside =
            |&mut (b, r): &mut (u32, Range)| b == block && (offset..offset + bytes).contains(&r.from);
        self.under_way.extract_if(.., inside).map(|(_, r)| (r.from, r.bytes)).collect()
    }

    /// A block ends: what it did not wait for never lands.
    pub fn end_block(&mut self, block: u32) {
        self.under_way.retain(|(b, _)| *b != block);
    }
}
