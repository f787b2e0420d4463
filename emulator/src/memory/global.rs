//! The address space: which allocation holds an address, and what lies there when none does.

use super::{
    Written,
    allocation::{Allocation, Kind},
};
use std::sync::{Arc, atomic::AtomicU32};

/// The first address handed out: far from the null page, from the windows, and from where hosts put their memory.
const FIRST: u64 = 0x0100_0000_0000;
/// Allocations begin at multiples of this, as `cuMemAlloc` has it at least.
const ALIGN: u64 = 512;
/// Addresses left unused after each allocation.
const RED_ZONE: u64 = 4096;

/// All allocations of a device.
#[derive(Debug, Clone)]
pub struct GlobalMemory {
    /// By address.
    live: Vec<Arc<Allocation>>,
    /// Ranges freed, by address.
    freed: Vec<(u64, u64)>,
    next: u64,
    used: u64,
    capacity: u64,
    track_written: bool,
}

/// What an address outside every allocation is near to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// Inside the first page.
    Null,
    /// In an allocation of this base and length, freed since.
    Freed(u64, u64),
    /// This many bytes past the end of the allocation of this base and length.
    Past(u64, u64, u64),
    /// This many bytes before the allocation of this base and length.
    Before(u64, u64, u64),
    /// Nowhere near.
    Nowhere,
}

impl GlobalMemory {
    /// An empty device memory of `capacity` bytes.
    pub fn new(capacity: u64) -> GlobalMemory {
        GlobalMemory {
            live: Vec::new(),
            freed: Vec::new(),
            next: FIRST,
            used: 0,
            capacity,
            track_written: false,
        }
    }

    /// From now on, keeps account of which bytes of device memory were ever written, for the checks.
    pub fn track_written(&mut self) {
        self.track_written = true;
    }

    /// After a copy inside of device memory: what was never written was not written by being copied.
    pub fn copied(&self, to: u64, from: u64, len: u64) {
        let (Some(source), Some(target)) = (self.range(from, len), self.range(to, len)) else { return };
        let mut at = 0;
        while let (Some(written), Some(first)) =
            (&target.written, source.first_unwritten(from + at, len - at))
        {
            at = first - from;
            written.set(to + at - target.base, 1, false);
            at += 1;
        }
    }

    /// Bytes allocated on the device.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes of the device.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Allocates `len` zero bytes; `None` if the device has no room for them.
    pub fn allocate(&mut self, len: u64, kind: Kind) -> Option<Arc<Allocation>> {
        if len > self.capacity.checked_sub(self.used)? {
            return None;
        }
        let base = self.next;
        let mut allocation = Allocation::zeroed(base, len, kind)?;
        self.next = (base + len + RED_ZONE).next_multiple_of(ALIGN);
        self.used += len;
        // Variables of modules hold their initial values.
        allocation.written = (self.track_written && kind == Kind::Device).then(|| Written::none(len));
        let allocation = Arc::new(allocation);
        self.live.push(allocation.clone());
        self.live.sort_by_key(|a| a.base);
        Some(allocation)
    }

    /// Adds memory that the host owns, under the host's own address.
    pub fn map(&mut self, base: u64, len: u64, kind: Kind, words: &'static [AtomicU32]) -> Arc<Allocation> {
        let allocation = Arc::new(Allocation::foreign(base, len, kind, words));
        self.freed.retain(|&(b, n)| b + n <= base || base + len <= b);
        self.live.push(allocation.clone());
        self.live.sort_by_key(|a| a.base);
        allocation
    }

    /// Removes the allocation that begins at `base`.
    pub fn free(&mut self, base: u64) -> Option<Arc<Allocation>> {
        let at = self.live.binary_search_by_key(&base, |a| a.base).ok()?;
        let allocation = self.live.remove(at);
        if !matches!(allocation.kind, Kind::Host | Kind::Managed) {
            self.used -= allocation.len;
        }
        self.freed.push((base, allocation.len));
        self.freed.sort_unstable();
        Some(allocation)
    }

    /// All allocations, by address.
    pub fn allocations(&self) -> &[Arc<Allocation>] {
        &self.live
    }

    /// The index of the allocation that holds `address`. `hint` is where it was found last.
    #[inline(always)]
    pub fn find(&self, address: u64, hint: usize) -> Option<usize> {
        if let Some(allocation) = self.live.get(hint)
            && allocation.contains(address, 1)
        {
            return Some(hint);
        }
        self.search(address)
    }

    #[inline(never)]
    fn search(&self, address: u64) -> Option<usize> {
        let at = self.live.partition_point(|a| a.base <= address).checked_sub(1)?;
        self.live[at].contains(address, 1).then_some(at)
    }

    /// The allocation that holds all `len` bytes from `address` on.
    pub fn range(&self, address: u64, len: u64) -> Option<&Arc<Allocation>> {
        let at = self.search(address)?;
        self.live[at].contains(address, len.max(1)).then(|| &self.live[at])
    }

    /// What lies near an address that no allocation holds.
    pub fn explain(&self, address: u64) -> Miss {
        if address < 4096 {
            return Miss::Null;
        }
        if let Some(&(base, len)) = self.freed.iter().rev().find(|&&(b, n)| (b..b + n).contains(&address)) {
            return Miss::Freed(base, len);
        }
        let at = self.live.partition_point(|a| a.base <= address);
        let past = at.checked_sub(1).map(|i| &self.live[i]).filter(|a| address - a.base < a.len + (1 << 20));
        let before = self.live.get(at).filter(|a| a.base - address < (1 << 20));
        match (past, before) {
            (Some(a), _) => Miss::Past(address.saturating_sub(a.end()), a.base, a.len),
            (None, Some(a)) => Miss::Before(a.base - address, a.base, a.len),
            (None, None) => Miss::Nowhere,
        }
    }
}
