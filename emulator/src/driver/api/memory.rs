//! Memory: how programs allocate, register and free it.

use super::{entries, raw::Out};
use crate::driver::{
    objects::{
        allocation::Origin,
        code::{Code, Result},
        handle::Id,
        host::Host,
        stream::Stream,
    },
    state::{
        Driver, Locked,
        memory::{free, free_async},
    },
};

/// `CU_MEMHOSTREGISTER_...` and `CU_MEMHOSTALLOC_...`: portable, mapped, and write-combined or of a device or read-only.
const HOST_ALLOC_FLAGS: u32 = 0b111;

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
