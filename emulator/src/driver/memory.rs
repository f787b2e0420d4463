//! Allocations: of the device, of the host, managed, and registered.

use super::{
    code::{Code, Result},
    context::Context,
    entries,
    handle::Id,
    pool::Pool,
    raw::{Host, Out},
    run,
    state::{Driver, Locked},
    stream::Stream,
    work::Op,
};
use crate::memory::Kind;
use std::{alloc::Layout, sync::atomic::AtomicU32};

/// An allocation.
#[derive(Debug, Clone, Copy)]
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
    /// `cuMemAllocAsync`, from this pool.
    Pool(Id<Pool>),
    /// `cuMemAllocManaged`.
    Managed,
    /// `cuMemHostAlloc`, `cuMemAllocHost`.
    Host,
    /// `cuMemHostRegister`.
    Registered,
    /// A variable of a module.
    Variable,
}

impl Origin {
    fn what(self) -> &'static str {
        match self {
            Origin::Device => "device memory",
            Origin::Pool(_) => "pooled device memory",
            Origin::Managed => "managed memory",
            Origin::Host => "pinned host memory",
            Origin::Registered => "a registration of host memory",
            Origin::Variable => "a variable",
        }
    }
}

impl Allocated {
    /// The program made it itself.
    pub fn is_explicit(&self) -> bool {
        self.origin != Origin::Variable
    }

    /// "device memory of 400 bytes at 0x10000000000".
    pub fn describe(&self) -> String {
        format!("{} of {} bytes at {:#x}", self.origin.what(), self.len, self.base)
    }
}

/// Memory of the host that the device may use begins at multiples of this, as pages do.
const PAGE: usize = 4096;
/// `CU_MEMHOSTREGISTER_...` and `CU_MEMHOSTALLOC_...`: portable, mapped, and write-combined or of a device or read-only.
const HOST_ALLOC_FLAGS: u32 = 0b111;
const HOST_REGISTER_FLAGS: u32 = 0b1111;

fn layout(len: u64) -> Result<Layout> {
    let bytes = usize::try_from(len).ok().and_then(|n| n.checked_next_multiple_of(PAGE));
    let layout = bytes.and_then(|n| Layout::from_size_align(n, PAGE).ok());
    layout.ok_or_else(|| Code::OUT_OF_MEMORY.because(format!("{len} bytes of host memory")))
}

impl Driver {
    /// Counts a request for device memory; the one that the options name is refused.
    pub(super) fn request(&mut self, what: &str) -> Result<()> {
        self.requests += 1;
        match self.options.out_of_memory == Some(self.requests) {
            true => Err(Code::OUT_OF_MEMORY.because(format!("{what}: refused by the option out_of_memory"))),
            false => Ok(()),
        }
    }

    /// Allocates device memory.
    pub(super) fn allocate(&mut self, len: u64, origin: Origin) -> Result<u64> {
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
    fn allocate_host(&mut self, len: u64, origin: Origin, flags: u32) -> Result<u64> {
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
    pub(super) fn release(&mut self, base: u64) {
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
    fn owned(&self, base: u64, may: impl Fn(Origin) -> bool) -> Result<Allocated> {
        match self.allocations.get(&base) {
            Some(a) if may(a.origin) => Ok(*a),
            Some(a) => {
                Err(Code::INVALID_VALUE.because(format!("{} is freed by another function", a.describe())))
            }
            None => Err(Code::INVALID_VALUE.because(format!("no allocation begins at {base:#x}"))),
        }
    }

    /// The allocation that an address lies in.
    pub(super) fn containing(&self, address: u64) -> Option<&Allocated> {
        let (_, a) = self.allocations.range(..=address).next_back()?;
        (address - a.base < a.len).then_some(a)
    }

    fn register(&mut self, base: u64, len: u64, flags: u32) -> Result<()> {
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
fn free(d: &mut Locked, base: u64, may: impl Fn(Origin) -> bool) -> Result<()> {
    d.current()?;
    let context = d.owned(base, may)?.context;
    d.check_unsafe("freeing")?;
    run::drain(d, context)?;
    d.release(base);
    Ok(())
}

fn free_async(d: &mut Locked, base: u64, stream: Id<Stream>) -> Result<()> {
    let stream = d.stream(stream)?;
    d.owned(base, |o| matches!(o, Origin::Device | Origin::Pool(_)))?;
    d.check_not_in_graph(stream)?;
    if !d.freeing.insert(base) {
        return Err(Code::INVALID_VALUE.because(format!("{base:#x} is being freed already")));
    }
    d.submit(stream, Op::Free(base))?;
    run::limit(d, stream)
}

fn unregister(d: &mut Locked, base: u64) -> Result<()> {
    d.current()?;
    match d.owned(base, |o| o == Origin::Registered) {
        Ok(_) => free(d, base, |o| o == Origin::Registered),
        Err(e) => Err(Code::HOST_MEMORY_NOT_REGISTERED.because(e.message)),
    }
}

/// The address under which the device sees pinned memory: the same.
fn device_pointer(d: &Driver, host: u64) -> Result<u64> {
    d.current()?;
    match d.containing(host) {
        Some(a) if matches!(a.origin, Origin::Host | Origin::Registered) => Ok(host),
        _ => Err(Code::INVALID_VALUE.because(format!("{host:#x} is not pinned memory of the host"))),
    }
}

fn host_flags(flags: u32) -> Result<u32> {
    match flags & !HOST_ALLOC_FLAGS {
        0 => Ok(flags),
        _ => {
            Err(Code::INVALID_VALUE
                .because(format!("flags {flags:#x}, expected bits of {HOST_ALLOC_FLAGS:#x}")))
        }
    }
}

fn managed(d: &mut Driver, len: usize, flags: u32) -> Result<u64> {
    match flags {
        1 | 2 => d.allocate_host(len as u64, Origin::Managed, flags),
        _ => Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 1 or 2"))),
    }
}

/// Rows that begin at multiples of 512 bytes.
fn pitched(d: &mut Driver, pitch: &Out<usize>, width: usize, height: usize, element: u32) -> Result<u64> {
    if !matches!(element, 4 | 8 | 16) {
        return Err(Code::INVALID_VALUE.because(format!("elements of {element} bytes, expected 4, 8 or 16")));
    }
    let row = width.checked_next_multiple_of(512).filter(|&r| r > 0);
    let row = row.ok_or_else(|| Code::INVALID_VALUE.because(format!("rows of {width} bytes")))?;
    let len = row.checked_mul(height).ok_or_else(|| Code::OUT_OF_MEMORY.because("the rows do not fit"))?;
    d.check_unsafe("allocating")?;
    let base = d.allocate(len as u64, Origin::Device)?;
    pitch.set(row)?;
    Ok(base)
}

entries! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |d| {
        d.current()?;
        let memory = &d.machine.memory;
        free.set((memory.capacity() - memory.used()) as usize)?;
        total.set(memory.capacity() as usize)
    };
    fn cuMemAlloc_v2(address: Out<u64>, len: usize) |d| address.fill(|| {
        d.check_unsafe("allocating")?;
        d.allocate(len as u64, Origin::Device)
    });
    fn cuMemAllocPitch_v2(address: Out<u64>, pitch: Out<usize>, width: usize, height: usize, element: u32) |d| {
        address.fill(|| pitched(d, &pitch, width, height, element))
    };
    fn cuMemFree_v2(address: u64) |d| {
        free(d, address, |o| matches!(o, Origin::Device | Origin::Pool(_) | Origin::Managed))
    };
    fn cuMemFreeAsync(address: u64, stream: Id<Stream>) |d| free_async(d, address, stream);
    fn cuMemHostAlloc(address: Out<u64>, len: usize, flags: u32) |d| address.fill(|| {
        d.allocate_host(len as u64, Origin::Host, host_flags(flags)?)
    });
    fn cuMemAllocHost_v2(address: Out<u64>, len: usize) |d| {
        address.fill(|| d.allocate_host(len as u64, Origin::Host, 0))
    };
    fn cuMemFreeHost(address: Host) |d| free(d, address.address(), |o| o == Origin::Host);
    fn cuMemHostRegister_v2(address: Host, len: usize, flags: u32) |d| d.register(address.address(), len as u64, flags);
    fn cuMemHostUnregister(address: Host) |d| unregister(d, address.address());
    fn cuMemHostGetDevicePointer_v2(address: Out<u64>, host: Host, _flags: u32) |d| {
        address.fill(|| device_pointer(d, host.address()))
    };
    fn cuMemHostGetFlags(flags: Out<u32>, host: Host) |d| flags.fill(|| {
        device_pointer(d, host.address())?;
        Ok(d.containing(host.address()).map_or(0, |a| a.flags))
    });
    fn cuMemAllocManaged(address: Out<u64>, len: usize, flags: u32) |d| address.fill(|| managed(d, len, flags));
}
