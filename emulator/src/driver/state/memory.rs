//! Allocations: how they are made, found and given back.

use super::{Driver, Locked, run};
use crate::driver::objects::{
    allocation::{Allocated, Origin},
    code::{Code, Result},
    handle::Id,
    stream::Stream,
    work::Op,
};
use crate::memory::Kind;
use std::{alloc::Layout, sync::atomic::AtomicU32};

/// Memory of the host that the device may use begins at multiples of this, as pages do.
const PAGE: usize = 4096;

const HOST_REGISTER_FLAGS: u32 = 0b1111;

fn layout(len: u64) -> Result<Layout> {
    let bytes = usize::try_from(len).ok().and_then(|n| n.checked_next_multiple_of(PAGE));
    let layout = bytes.and_then(|n| Layout::from_size_align(n, PAGE).ok());
    layout.ok_or_else(|| Code::OUT_OF_MEMORY.because(format!("{len} bytes of host memory")))
}

impl Driver {
    /// Counts a request for device memory; the one that the options name is refused.
    pub fn request(&mut self, what: &str) -> Result<()> {
        self.requests += 1;
        match self.options.out_of_memory == Some(self.requests) {
            true => Err(Code::OUT_OF_MEMORY.because(format!("{what}: refused by the option out_of_memory"))),
            false => Ok(()),
        }
    }

    /// Allocates device memory.
    pub fn allocate(&mut self, len: u64, origin: Origin) -> Result<u64> {
        let context = self.current()?;
        if len == 0 {
            return Err(Code::INVALID_VALUE.because("an allocation of 0 bytes"));
        }
        self.request("an allocation")?;
        let allocation = self.machine.memory.allocate(len, Kind::Device).ok_or_else(|| {
            let memory = &self.machine.memory;
            let free = memory.capacity() - memory.used();
            Code::OUT_OF_MEMORY.because(format!("{len} bytes of device memory, {free} are free"))
        })?;
        let base = allocation.base;
        self.allocations.insert(base, Allocated { context, base, len, origin, flags: 0 });
        Ok(base)
    }

    /// Allocates memory of the host that the device can use under the same address.
    pub fn allocate_host(&mut self, len: u64, origin: Origin, flags: u32) -> Result<u64> {
        let context = self.current()?;
        self.check_unsafe("allocating")?;
        if len == 0 {
            return Err(Code::INVALID_VALUE.because("an allocation of 0 bytes"));
        }
        let layout = layout(len)?;
        // SAFETY: the layout has a size above zero, because `len` is.
        let base = unsafe { std::alloc::alloc_zeroed(layout) } as u64;
        if base == 0 {
            return Err(Code::OUT_OF_MEMORY.because(format!("{len} bytes of host memory")));
        }
        self.map(base, len, origin);
        self.allocations.insert(base, Allocated { context, base, len, origin, flags });
        Ok(base)
    }

    /// Makes `len` bytes of the host's memory at `base` usable by the device.
    fn map(&mut self, base: u64, len: u64, origin: Origin) {
        let start = mapped_base(base);
        let bytes = base + len - start;
        // SAFETY: the range belongs to an allocation of ours or to one that the program registered, and stays until `release`
        // takes it out of the machine's memory, which holds the only use of the slice. What the rounding adds at its ends lies
        // in the same pages. Atomics have no invalid values.
        let words =
            unsafe { std::slice::from_raw_parts(start as *const AtomicU32, bytes.div_ceil(4) as usize) };
        let kind = if origin == Origin::Managed { Kind::Managed } else { Kind::Host };
        self.machine.memory.map(start, bytes, kind, words);
    }

    /// Takes an allocation out, with nothing left that uses it.
    pub fn release(&mut self, base: u64) {
        let Some(allocated) = self.allocations.remove(&base) else { return };
        self.freeing.remove(&base);
        self.machine.memory.free(mapped_base(base));
        if matches!(allocated.origin, Origin::Host | Origin::Managed)
            && let Ok(layout) = layout(allocated.len)
        {
            // SAFETY: `allocate_host` got it from `alloc_zeroed` with the same length, and so the same layout; it was in
            // `allocations` until now, and so was not given back before.
            unsafe { std::alloc::dealloc(base as *mut u8, layout) }
        }
    }

    /// The allocation that begins at `base`.
    pub fn owned(&self, base: u64, may: impl Fn(Origin) -> bool) -> Result<Allocated> {
        match self.allocations.get(&base) {
            Some(a) if may(a.origin) => Ok(*a),
            Some(a) => {
                Err(Code::INVALID_VALUE.because(format!("{} is freed by another function", a.describe())))
            }
            None => Err(Code::INVALID_VALUE.because(format!("no allocation begins at {base:#x}"))),
        }
    }

    /// The allocation that an address lies in.
    pub fn containing(&self, address: u64) -> Option<&Allocated> {
        let (_, a) = self.allocations.range(..=address).next_back()?;
        (address - a.base < a.len).then_some(a)
    }

    pub fn register(&mut self, base: u64, len: u64, flags: u32) -> Result<()> {
        let context = self.current()?;
        self.check_unsafe("registering memory")?;
        if base == 0 || len == 0 || flags & !HOST_REGISTER_FLAGS != 0 || base.checked_add(len).is_none() {
            return Err(
                Code::INVALID_VALUE.because(format!("{len} bytes at {base:#x} with flags {flags:#x}"))
            );
        }
        let before = self.allocations.range(..base + len).next_back();
        if let Some((_, a)) = before.filter(|(_, a)| a.base + a.len > base) {
            let message = format!("{len} bytes at {base:#x} overlap with {}", a.describe());
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED.because(message));
        }
        let origin = Origin::Registered;
        self.map(base, len, origin);
        self.allocations.insert(base, Allocated { context, base, len, origin, flags });
        Ok(())
    }
}

/// Where the words that hold an address begin: device memory is made of words at multiples of 16.
fn mapped_base(base: u64) -> u64 {
    base & !15
}

/// Frees memory once all work that may use it is done.
pub fn free(d: &mut Locked, base: u64, may: impl Fn(Origin) -> bool) -> Result<()> {
    d.current()?;
    let context = d.owned(base, may)?.context;
    d.check_unsafe("freeing")?;
    run::drain(d, context)?;
    d.release(base);
    Ok(())
}

pub fn free_async(d: &mut Locked, base: u64, stream: Id<Stream>) -> Result<()> {
    let stream = d.stream(stream)?;
    d.owned(base, |o| matches!(o, Origin::Device | Origin::Pool(_)))?;
    d.check_not_in_graph(stream)?;
    if !d.freeing.insert(base) {
        return Err(Code::INVALID_VALUE.because(format!("{base:#x} is being freed already")));
    }
    d.submit(stream, Op::Free(base))?;
    run::limit(d, stream)
}
