//! Allocations: of the device, of the host, managed, and registered.

use super::{
    code::{Code, Result},
    context::Context,
    entries,
    handle::Id,
    hooks::HostEvent,
    raw::{Host, Out},
    run,
    state::{Driver, Locked},
    stream::Stream,
    work::Op,
};
use crate::memory::Kind;
use std::{alloc::Layout, sync::atomic::AtomicU32};

/// An allocation.
pub struct Allocated {
    pub context: Id<Context>,
    pub base: u64,
    pub len: u64,
    pub origin: Origin,
    /// Flags that it was made with.
    pub flags: u32,
}

/// How an allocation came about: how it may be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `cuMemAlloc`.
    Device,
    /// `cuMemAllocAsync`.
    Pool,
    /// `cuMemAllocManaged`.
    Managed,
    /// `cuMemHostAlloc`, `cuMemAllocHost`.
    Host,
    /// `cuMemHostRegister`.
    Registered,
    /// A variable of a module.
    Variable,
}

impl Allocated {
    /// The program made it itself.
    pub fn is_explicit(&self) -> bool {
        self.origin != Origin::Variable
    }

    pub fn describe(&self) -> String {
        let what = match self.origin {
            Origin::Device => "device memory",
            Origin::Pool => "pooled device memory",
            Origin::Managed => "managed memory",
            Origin::Host => "pinned host memory",
            Origin::Registered => "a registration of host memory",
            Origin::Variable => "a variable",
        };
        format!("{what} of {} bytes at {:#x}", self.len, self.base)
    }
}

/// Memory of the host that the device may use begins at multiples of this, as pages do.
const PAGE: usize = 4096;

fn layout(len: u64) -> Result<Layout> {
    let words =
        (len as usize).checked_next_multiple_of(PAGE).and_then(|n| Layout::from_size_align(n, PAGE).ok());
    words.ok_or_else(|| Code::OUT_OF_MEMORY.because(format!("{len} bytes of host memory")))
}

impl Driver {
    /// Allocates device memory.
    pub(super) fn allocate(&mut self, len: u64, origin: Origin) -> Result<u64> {
        let context = self.current()?;
        if len == 0 {
            return Err(Code::INVALID_VALUE.because("an allocation of 0 bytes"));
        }
        let allocation = self.machine.memory.allocate(len, Kind::Device).ok_or_else(|| {
            let memory = &self.machine.memory;
            let free = memory.capacity() - memory.used();
            Code::OUT_OF_MEMORY.because(format!("{len} bytes of device memory, {free} are free"))
        })?;
        let base = allocation.base;
        self.allocations.insert(base, Allocated { context, base, len, origin, flags: 0 });
        self.hooks.host(&self.options, HostEvent::Allocated(base, len));
        Ok(base)
    }

    /// Allocates memory of the host that the device can use under the same address.
    fn allocate_host(&mut self, len: u64, origin: Origin, flags: u32) -> Result<u64> {
        let context = self.current()?;
        if len == 0 {
            return Err(Code::INVALID_VALUE.because("an allocation of 0 bytes"));
        }
        let layout = layout(len)?;
        // SAFETY: the layout has a size above zero, because `len` is.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        if base.is_null() {
            return Err(Code::OUT_OF_MEMORY.because(format!("{len} bytes of host memory")));
        }
        self.map(base as u64, len, origin);
        self.allocations.insert(base as u64, Allocated { context, base: base as u64, len, origin, flags });
        Ok(base as u64)
    }

    /// Makes `len` bytes of the host's memory at `base` usable by the device.
    fn map(&mut self, base: u64, len: u64, origin: Origin) {
        // The words that hold the range: the device's memory is made of words at multiples of 16.
        let start = base & !15;
        let bytes = base + len - start;
        // SAFETY: the range belongs to an allocation of ours or to one that the program registered, and stays until `release` or
        // `cuMemHostUnregister` takes it out of the machine's memory, which holds the only use of the slice. What the rounding adds
        // at its ends lies in the same pages. Atomics have no invalid values.
        let words =
            unsafe { std::slice::from_raw_parts(start as *const AtomicU32, bytes.div_ceil(4) as usize) };
        let kind = if origin == Origin::Managed { Kind::Managed } else { Kind::Host };
        self.machine.memory.map(start, bytes, kind, words);
    }

    /// Takes an allocation out, with nothing left that uses it.
    pub(super) fn release(&mut self, base: u64) {
        let Some(allocated) = self.allocations.remove(&base) else { return };
        self.machine.memory.free(base & if allocated.origin == Origin::Registered { !15 } else { !0 });
        self.hooks.host(&self.options, HostEvent::Freed(base, allocated.len));
        if matches!(allocated.origin, Origin::Host | Origin::Managed)
            && let Ok(layout) = layout(allocated.len)
        {
            // SAFETY: `allocate_host` got it from `alloc_zeroed` with the same length, and so the same layout; it was in
            // `allocations` until now, and so was not given back before.
            unsafe { std::alloc::dealloc(base as *mut u8, layout) }
        }
    }

    /// The allocation that begins at `base`, which must be of one of these origins.
    fn owned(&self, base: u64, origins: &[Origin]) -> Result<&Allocated> {
        match self.allocations.get(&base) {
            Some(a) if origins.contains(&a.origin) => Ok(a),
            Some(a) => {
                Err(Code::INVALID_VALUE.because(format!("{} is freed by another function", a.describe())))
            }
            None => Err(Code::INVALID_VALUE.because(format!("no allocation begins at {base:#x}"))),
        }
    }
}

/// Frees memory once all work that may use it is done.
fn free(d: &mut Locked, base: u64, origins: &[Origin]) -> Result<()> {
    d.current()?;
    let context = d.owned(base, origins)?.context;
    run::drain(d, context)?;
    d.release(base);
    Ok(())
}

fn free_async(d: &mut Locked, base: u64, stream: Id<Stream>) -> Result<()> {
    let stream = d.stream(stream)?;
    d.owned(base, &[Origin::Device, Origin::Pool])?;
    d.submit(stream, Op::Free(base))?;
    run::limit(d, stream)
}

entries! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |d| {
        d.current()?;
        let memory = &d.machine.memory;
        free.set((memory.capacity() - memory.used()) as usize)?;
        total.set(memory.capacity() as usize)
    };
    fn cuMemAlloc_v2(address: Out<u64>, len: usize) |d| address.fill(|| d.allocate(len as u64, Origin::Device));
    fn cuMemFree_v2(address: u64) |d| free(d, address, &[Origin::Device, Origin::Pool, Origin::Managed]);
    fn cuMemAllocAsync(address: Out<u64>, len: usize, stream: Id<Stream>) |d| {
        d.stream(stream)?;
        address.fill(|| d.allocate(len as u64, Origin::Pool))
    };
    fn cuMemFreeAsync(address: u64, stream: Id<Stream>) |d| free_async(d, address, stream);
    fn cuMemHostAlloc(address: Out<u64>, len: usize, flags: u32) |d| {
        address.fill(|| d.allocate_host(len as u64, Origin::Host, flags))
    };
    fn cuMemFreeHost(address: Host) |d| free(d, address.0, &[Origin::Host]);
}
