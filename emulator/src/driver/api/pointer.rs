//! What programs ask of an address, and the hints that they give for it.

use super::{
    entries,
    raw::{In, Out},
};
use crate::driver::{
    objects::{
        allocation::{Allocated, Origin},
        code::{Code, Result},
        handle::Id,
        host::Host,
        stream::Stream,
    },
    state::Driver,
};
use bytemuck::{Pod, Zeroable};

/// `CUmemLocation`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Location {
    kind: u32,
    id: i32,
}

/// `CU_MEMORYTYPE_HOST`, `CU_MEMORYTYPE_DEVICE`.
const HOST: u64 = 1;
const DEVICE: u64 = 2;

/// A value of an attribute, with the bytes that its type has.
struct Value(u64, usize);

impl Driver {
    fn at(&self, address: u64) -> Result<&Allocated> {
        self.containing(address)
            .ok_or_else(|| Code::INVALID_VALUE.because(format!("{address:#x} lies in no allocation")))
    }

    /// `CU_POINTER_ATTRIBUTE_...`.
    fn pointer_attribute(&self, attribute: u32, address: u64) -> Result<Value> {
        let a = self.at(address)?;
        let of_host = matches!(a.origin, Origin::Host | Origin::Registered);
        let pool = if let Origin::Pool(pool) = a.origin { pool.0 } else { 0 };
        Ok(match attribute {
            1 => Value(a.context.0, 8),
            2 => Value(if of_host { HOST } else { DEVICE }, 4),
            3 => Value(address, 8),
            4 if of_host || a.origin == Origin::Managed => Value(address, 8),
            4 => return Err(Code::INVALID_VALUE.because(format!("the host cannot use {address:#x}"))),
            // Synchronous operations wait always.
            6 => Value(1, 4),
            // The base is never used twice.
            7 => Value(a.base, 8),
            8 => Value(u64::from(a.origin == Origin::Managed), 4),
            // The device, of which there is one.
            9 => Value(0, 4),
            11 => Value(a.base, 8),
            12 => Value(a.len, 8),
            // Mapped; no handles for other processes; readable and writable.
            13 => Value(1, 4),
            10 | 14 => Value(0, 4),
            16 => Value(3, 4),
            17 => Value(pool, 8),
            _ => {
                return Err(
                    Code::INVALID_VALUE.because(format!("pointer attribute {attribute} does not exist"))
                );
            }
        })
    }

    /// Checks the address, the range and the location of a hint for managed memory.
    fn check_hint(&self, address: u64, len: usize, location: Location) -> Result<()> {
        self.current()?;
        let a = self.at(address)?;
        if a.origin != Origin::Managed || len == 0 || address - a.base + len as u64 > a.len {
            let message = format!("{len} bytes at {address:#x} are not managed memory: {}", a.describe());
            return Err(Code::INVALID_VALUE.because(message));
        }
        match (location.kind, location.id) {
            (0 | 2, _) | (1, 0 | -1) => Ok(()),
            (kind, id) => Err(Code::INVALID_DEVICE.because(format!("location {id} of kind {kind}"))),
        }
    }
}

fn put(value: &Value, to: Host) -> Result<()> {
    match value.1 {
        4 => Out::<u32>::from(to).set(value.0 as u32),
        _ => Out::<u64>::from(to).set(value.0),
    }
}

/// Several attributes; those that an address does not have are zero.
fn several(d: &Driver, count: u32, which: &In<u32>, to: &In<Host>, address: u64) -> Result<()> {
    for i in 0..count as usize {
        let (attribute, to) = (which.at(i)?, to.at(i)?);
        match d.pointer_attribute(attribute, address) {
            Ok(value) => put(&value, to)?,
            Err(_) if matches!(attribute, 1 | 3 | 4 | 7 | 11 | 12 | 17) => Out::<u64>::from(to).set(0)?,
            Err(_) if matches!(attribute, 2 | 6 | 8 | 9 | 10 | 13 | 14 | 16) => {
                Out::<u32>::from(to).set(0)?
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The location of the older forms of the hints: a device, or -1 for the host.
fn device(id: i32) -> Location {
    Location { kind: if id < 0 { 2 } else { 1 }, id }
}

entries! {
    fn cuPointerGetAttribute(to: Host, attribute: u32, address: u64) |d| {
        d.current()?;
        put(&d.pointer_attribute(attribute, address)?, to)
    };
    fn cuPointerGetAttributes(count: u32, which: In<u32>, to: In<Host>, address: u64) |d| {
        several(d, count, &which, &to, address)
    };
    fn cuMemGetAddressRange_v2(base: Out<u64>, len: Out<usize>, address: u64) |d| {
        d.current()?;
        let a = *d.containing(address).ok_or_else(|| Code::NOT_FOUND.because(format!("{address:#x} lies in no allocation")))?;
        base.set_if_wanted(a.base);
        len.set_if_wanted(a.len as usize);
        Ok(())
    };
    fn cuMemAdvise(address: u64, len: usize, _advice: u32, id: i32) |d| d.check_hint(address, len, device(id));
    fn cuMemAdvise_v2(address: u64, len: usize, _advice: u32, location: Location) |d| d.check_hint(address, len, location);
    fn cuMemPrefetchAsync(address: u64, len: usize, id: i32, stream: Id<Stream>) |d| {
        d.stream(stream)?;
        d.check_hint(address, len, device(id))
    };
    fn cuMemPrefetchAsync_v2(address: u64, len: usize, location: Location, _flags: u32, stream: Id<Stream>) |d| {
        d.stream(stream)?;
        d.check_hint(address, len, location)
    };
    fn cuStreamAttachMemAsync(stream: Id<Stream>, address: u64, _len: usize, _flags: u32) |d| {
        d.stream(stream)?;
        match d.at(address)?.origin {
            Origin::Managed => Ok(()),
            _ => Err(Code::INVALID_VALUE.because(format!("{address:#x} is not managed memory"))),
        }
    };
}
