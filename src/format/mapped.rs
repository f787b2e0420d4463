//! Which addresses are mapped weights files: what a SIGBUS handler needs to tell "the file was truncated" from a bug.
//!
//! The library installs no handler: signals belong to the program. A program that wants one calls [`find`] with the
//! fault's address, as `halfwarp` does in `src/cli/sigbus.rs`. Tested through the program in `tests/sources.rs`.

use std::{
    path::Path,
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*},
};

/// Slots of one block.
const N_SLOTS: usize = 256;

/// Slots, and further blocks once they are all taken. A block is never given back, so a handler may walk over them.
struct Block {
    slots: [Slot; N_SLOTS],
    next: AtomicPtr<Block>,
}

impl Block {
    const fn empty() -> Self {
        Self { slots: [const { Slot::free() }; N_SLOTS], next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The block after this one, if there is one.
    fn next(&self) -> Option<&'static Self> {
        // SAFETY: `next` is null or the block that `grow` leaked, which lives for ever.
        unsafe { self.next.load(Acquire).as_ref() }
    }

    /// The block after this one, made where there is none.
    fn grow(&self) -> &'static Self {
        let made = Box::into_raw(Box::new(Self::empty()));
        match self.next.compare_exchange(ptr::null_mut(), made, AcqRel, Acquire) {
            // SAFETY: `made` is a block that is leaked here: nothing gives it back.
            Ok(_) => unsafe { &*made },
            Err(other) => {
                // SAFETY: `made` comes from a box, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: `other` is the block that another thread leaked at this place.
                unsafe { &*other }
            }
        }
    }
}

static BLOCKS: Block = Block::empty();

/// The slots of all blocks.
fn slots() -> impl Iterator<Item = &'static Slot> {
    std::iter::successors(Some(&BLOCKS), |block| block.next()).flat_map(|block| &block.slots)
}

/// A mapped file. `start` is 0 while the slot is free and [`CLAIMED`] while it is filled.
#[derive(Debug)]
struct Slot {
    start: AtomicUsize,
    len: AtomicUsize,
    path: AtomicPtr<u8>,
    path_len: AtomicUsize,
}

/// No map starts here: page 0 is never mapped.
const CLAIMED: usize = 1;

impl Slot {
    const fn free() -> Self {
        Self {
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            path: AtomicPtr::new(ptr::null_mut()),
            path_len: AtomicUsize::new(0),
        }
    }

    fn claim(&self) -> bool {
        self.start.compare_exchange(0, CLAIMED, Acquire, Relaxed).is_ok()
    }

    /// A slot that nobody else has.
    fn claimed() -> &'static Self {
        let mut block = &BLOCKS;
        loop {
            if let Some(slot) = block.slots.iter().find(|slot| slot.claim()) {
                return slot;
            }
            block = block.next().unwrap_or_else(|| block.grow());
        }
    }
}

/// Keeps a slot while its file is mapped.
#[derive(Debug)]
pub(super) struct Registration(&'static Slot);

impl Registration {
    /// Enters `map`, the bytes of the file at `path`.
    pub fn new(map: &[u8], path: &Path) -> Self {
        let slot = Slot::claimed();
        let path: Box<[u8]> = path.as_os_str().as_encoded_bytes().into();
        slot.path_len.store(path.len(), Relaxed);
        slot.path.store(Box::into_raw(path).cast(), Relaxed);
        slot.len.store(map.len(), Relaxed);
        slot.start.store(map.as_ptr() as usize, Release);
        Self(slot)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let slot = self.0;
        slot.start.store(CLAIMED, Relaxed);
        let path = ptr::slice_from_raw_parts_mut(slot.path.load(Relaxed), slot.path_len.load(Relaxed));
        // SAFETY: this is the pointer and length of the box that `new` turned into a raw pointer; only the owner of the
        // slot, dropped once, takes it back.
        drop(unsafe { Box::from_raw(path) });
        slot.start.store(0, Release);
    }
}

/// The path of the mapped weights file that `address` lies in. Takes no lock and allocates nothing, so a signal handler
/// may call it.
///
/// # Safety
/// An access to `address` must be under way, as it is in the handler of the fault that it caused: that keeps the file
/// mapped, and with it the bytes of the path, which must not be used after the handler ends.
pub unsafe fn find(address: usize) -> Option<&'static [u8]> {
    let slot = slots().find(|slot| {
        let (start, len) = (slot.start.load(Acquire), slot.len.load(Acquire));
        let holds = start > CLAIMED && address >= start && address - start < len;
        holds && slot.start.load(Relaxed) == start
    })?;
    // SAFETY: `address` is in this slot's map, which its owner keeps for the access (the caller's promise), so the path
    // that `new` stored before `start`, with Release, has not been taken back.
    Some(unsafe { std::slice::from_raw_parts(slot.path.load(Relaxed), slot.path_len.load(Relaxed)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_is_found_however_many_there_are() {
        let maps: Vec<Vec<u8>> = (0..3 * N_SLOTS).map(|i| vec![0; 1 + i % 7]).collect();
        let name = |i: usize| format!("shard-{i}");
        let entered: Vec<Registration> =
            maps.iter().enumerate().map(|(i, map)| Registration::new(map, Path::new(&name(i)))).collect();
        for (i, map) in maps.iter().enumerate() {
            let last = map.as_ptr() as usize + map.len() - 1;
            // SAFETY: `entered` keeps the path of every map.
            assert_eq!(unsafe { find(last) }, Some(name(i).as_bytes()), "{i}");
        }
        drop(entered);
        // SAFETY: nothing is returned.
        assert_eq!(unsafe { find(maps[700].as_ptr() as usize) }, None);
    }
}
