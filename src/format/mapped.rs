//! Which addresses are mapped weights files: what a SIGBUS handler needs to tell "the file was truncated" from a bug.
//!
//! The library installs no handler: signals belong to the program. A program that wants one calls [`find`] with the
//! fault's address, as `halfwarp` does in `src/cli/sigbus.rs`. Tested through the program in `tests/sources.rs`.

use std::{
    path::Path,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*},
};

/// Files that can be mapped at once; further ones work, but are not found.
const N_SLOTS: usize = 256;

/// A mapped file. `start` is 0 while the slot is free and [`CLAIMED`] while it is filled.
struct Slot {
    start: AtomicUsize,
    len: AtomicUsize,
    path: AtomicPtr<u8>,
    path_len: AtomicUsize,
}

/// No map starts here: page 0 is never mapped.
const CLAIMED: usize = 1;

static SLOTS: [Slot; N_SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        path: AtomicPtr::new(std::ptr::null_mut()),
        path_len: AtomicUsize::new(0),
    }
}; N_SLOTS];

/// Keeps a slot while its file is mapped.
#[derive(Debug)]
pub(super) struct Registration(Option<usize>);

impl Registration {
    /// Enters `map`, the bytes of the file at `path`.
    pub fn new(map: &[u8], path: &Path) -> Self {
        let free = |slot: &Slot| slot.start.compare_exchange(0, CLAIMED, Acquire, Relaxed).is_ok();
        let index = SLOTS.iter().position(free);
        if let Some(slot) = index.and_then(|i| SLOTS.get(i)) {
            let path: Box<[u8]> = path.as_os_str().as_encoded_bytes().into();
            slot.path_len.store(path.len(), Relaxed);
            slot.path.store(Box::into_raw(path).cast(), Relaxed);
            slot.len.store(map.len(), Relaxed);
            slot.start.store(map.as_ptr() as usize, Release);
        }
        Self(index)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(slot) = self.0.and_then(|i| SLOTS.get(i)) else { return };
        slot.start.store(CLAIMED, Relaxed);
        let path = std::ptr::slice_from_raw_parts_mut(slot.path.load(Relaxed), slot.path_len.load(Relaxed));
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
    let slot = SLOTS.iter().find(|slot| {
        let (start, len) = (slot.start.load(Acquire), slot.len.load(Acquire));
        let holds = start > CLAIMED && address >= start && address - start < len;
        holds && slot.start.load(Relaxed) == start
    })?;
    // SAFETY: `address` is in this slot's map, which its owner keeps for the access (the caller's promise), so the path
    // that `new` stored before `start`, with Release, has not been taken back.
    Some(unsafe { std::slice::from_raw_parts(slot.path.load(Relaxed), slot.path_len.load(Relaxed)) })
}
