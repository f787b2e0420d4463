//! One allocation: a range of addresses and its bytes.

use super::Written;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What an allocation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `cuMemAlloc` and its relatives.
    Device,
    /// Pinned or registered host memory: device and host address are the same.
    Host,
    /// Managed memory: device and host address are the same.
    Managed,
    /// A `.global` variable of a module.
    Variable,
    /// A `.const` variable of a module: kernels may not write it.
    Constant,
}

/// The bytes of an allocation.
#[derive(Debug)]
pub enum Storage {
    /// Memory of ours.
    Owned(Box<[AtomicU32]>),
    /// Memory that somebody else keeps alive as long as the allocation stands.
    Foreign(&'static [AtomicU32]),
}

/// A range of addresses and its bytes.
#[derive(Debug)]
pub struct Allocation {
    /// First address.
    pub base: u64,
    /// Length in bytes, as asked for.
    pub len: u64,
    /// What it is for.
    pub kind: Kind,
    storage: Storage,
    /// Which bytes were ever written, if somebody asks; without it all count as written.
    pub written: Option<Written>,
}

impl Allocation {
    /// An allocation of `len` zero bytes at `base`, which must be a multiple of 16; `None` if the host has no room for them.
    pub fn zeroed(base: u64, len: u64, kind: Kind) -> Option<Allocation> {
        let words = (len as usize).div_ceil(4);
        let storage = Storage::Owned(bytemuck::allocation::try_zeroed_slice_box(words).ok()?);
        Some(Allocation { base, len, kind, storage, written: None })
    }

    /// An allocation over memory of somebody else.
    pub fn foreign(base: u64, len: u64, kind: Kind, words: &'static [AtomicU32]) -> Allocation {
        assert!(
            words.len() * 4 >= len as usize,
            "foreign memory of {} words is too short for {len} bytes",
            words.len()
        );
        Allocation { base, len, kind, storage: Storage::Foreign(words), written: None }
    }

    /// One past the last address.
    pub fn end(&self) -> u64 {
        self.base + self.len
    }

    /// Whether the `len` bytes from `address` lie inside.
    #[inline(always)]
    pub fn contains(&self, address: u64, len: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        offset < self.len && len <= self.len - offset
    }

    /// The storage, in words of four bytes; the last may reach past the end.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU32] {
        match &self.storage {
            Storage::Owned(words) => words,
            Storage::Foreign(words) => words,
        }
    }

    /// Copies the bytes from `address` on to `to`. The range must lie inside.
    pub fn read(&self, address: u64, to: &mut [u8]) {
        let (words, mut offset) = (self.words(), (address - self.base) as usize);
        let mut rest = to;
        while !rest.is_empty() {
            let word = words[offset / 4].load(Relaxed).to_le_bytes();
            let n = rest.len().min(4 - offset % 4);
            rest[..n].copy_from_slice(&word[offset % 4..offset % 4 + n]);
            (rest, offset) = (&mut rest[n..], offset + n);
        }
    }

    /// Copies `from` to the bytes from `address` on. The range must lie inside.
    pub fn write(&self, address: u64, from: &[u8]) {
        let (words, mut offset) = (self.words(), (address - self.base) as usize);
        if let Some(written) = &self.written {
            written.set(offset as u64, from.len() as u64, true);
        }
        let mut rest = from;
        while !rest.is_empty() {
            let n = rest.len().min(4 - offset % 4);
            self.write_part(&words[offset / 4], offset % 4, &rest[..n]);
            (rest, offset) = (&rest[n..], offset + n);
        }
    }

    /// The address of the first of the `len` bytes from `address` on that was never written. The range must lie inside.
    #[inline(always)]
    pub fn first_unwritten(&self, address: u64, len: u64) -> Option<u64> {
        let offset = self.written.as_ref()?.first_unwritten(address - self.base, len)?;
        Some(self.base + offset)
    }

    /// Replaces some bytes of a word and leaves the others as another thread may be writing them.
    fn write_part(&self, word: &AtomicU32, at: usize, bytes: &[u8]) {
        if let Ok(all) = <[u8; 4]>::try_from(bytes) {
            return word.store(u32::from_le_bytes(all), Relaxed);
        }
        let replace = |old: u32| {
            let mut new = old.to_le_bytes();
            new[at..at + bytes.len()].copy_from_slice(bytes);
            Some(u32::from_le_bytes(new))
        };
        // The closure never declines, so this cannot fail.
        let _ = word.fetch_update(Relaxed, Relaxed, replace);
    }
}
