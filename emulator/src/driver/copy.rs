//! Copies and fills.

use super::{
    code::{Code, Result},
    entries,
    handle::Id,
    hooks::HostEvent,
    raw::Host,
    run,
    state::{Driver, Locked},
    stream::Stream,
    work::{CopyWork, Op, Place, SetWork, Work},
};
use crate::memory::Kind;
use std::sync::Arc;

/// Whether a call comes back before its copy is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    /// Not before.
    Done,
    /// As soon as pageable memory of the host is done with.
    Soon,
}

impl CopyWork {
    /// A copy of `len` bytes in one piece.
    fn linear(to: Place, from: Place, len: u64) -> CopyWork {
        CopyWork { to, to_pitch: len, from, from_pitch: len, width: len, rows: 1 }
    }
}

impl Driver {
    /// Checks that `len` bytes from a device address lie in one allocation.
    pub(super) fn check_range(&self, address: u64, len: u64) -> Result<()> {
        match self.machine.memory.range(address, len) {
            Some(_) => Ok(()),
            None => {
                let near = self.machine.memory.explain(address);
                let message = format!("{len} bytes at {address:#x} do not lie in one allocation: {near:?}");
                Err(Code::INVALID_VALUE.because(message))
            }
        }
    }

    /// One side of a copy that the caller says is memory of the host.
    fn host_side(&self, host: Host, len: u64) -> Result<Place> {
        if host.0 == 0 {
            return Err(Code::INVALID_VALUE.because("the host address is null"));
        }
        match self.machine.memory.range(host.0, 1) {
            None => Ok(Place::Host(host)),
            Some(a) if matches!(a.kind, Kind::Host | Kind::Managed) => {
                self.check_range(host.0, len)?;
                Ok(Place::Device(host.0))
            }
            Some(_) => Err(Code::INVALID_VALUE
                .because(format!("{:#x} is an address of the device, not of the host", host.0))),
        }
    }

    fn device_side(&self, address: u64, len: u64) -> Result<Place> {
        self.check_range(address, len)?;
        Ok(Place::Device(address))
    }

    fn read_row(&mut self, from: &Place, offset: u64, row: &mut [u8]) -> Result<()> {
        match from {
            Place::Host(host) => Host(host.0 + offset).read(row),
            Place::Staged(bytes) => row.copy_from_slice(&bytes[offset as usize..][..row.len()]),
            Place::Device(address) => {
                let (address, len) = (address + offset, row.len() as u64);
                self.check_range(address, len).map_err(|e| Code::ILLEGAL_ADDRESS.because(e.message))?;
                if let Some(allocation) = self.machine.memory.range(address, len) {
                    allocation.read(address, row);
                }
            }
        }
        Ok(())
    }

    fn write_row(&mut self, to: &Place, offset: u64, row: &[u8]) -> Result<()> {
        match to {
            Place::Host(host) => Host(host.0 + offset).write(row),
            Place::Staged(_) => unreachable!("nothing is copied to bytes that were taken from the host"),
            Place::Device(address) => {
                let (address, len) = (address + offset, row.len() as u64);
                self.check_range(address, len).map_err(|e| Code::ILLEGAL_ADDRESS.because(e.message))?;
                if let Some(allocation) = self.machine.memory.range(address, len) {
                    allocation.write(address, row);
                }
            }
        }
        Ok(())
    }

    /// Does a copy.
    pub(super) fn copy_now(&mut self, copy: &CopyWork) -> Result<()> {
        let mut row = vec![0; copy.width as usize];
        for r in 0..copy.rows {
            let (from, to) = (r * copy.from_pitch, r * copy.to_pitch);
            self.read_row(&copy.from, from, &mut row)?;
            self.write_row(&copy.to, to, &row)?;
            let event = match (&copy.to, &copy.from) {
                (Place::Device(t), Place::Device(f)) => HostEvent::Copied(t + to, f + from, copy.width),
                (Place::Device(t), _) => HostEvent::Written(t + to, copy.width),
                (_, Place::Device(f)) => HostEvent::Read(f + from, copy.width),
                _ => continue,
            };
            self.hooks.host(&self.options, event);
        }
        Ok(())
    }

    /// Fills memory.
    pub(super) fn set_now(&mut self, set: &SetWork) -> Result<()> {
        let element = &set.value.to_le_bytes()[..set.size as usize];
        let row = element.repeat(set.width as usize);
        for r in 0..set.rows {
            self.write_row(&Place::Device(set.to), r * set.pitch, &row)?;
            self.hooks.host(&self.options, HostEvent::Written(set.to + r * set.pitch, row.len() as u64));
        }
        Ok(())
    }
}

/// Submits a copy. Pageable memory of the host is read when the call is made, and written before it returns.
fn copy(d: &mut Locked, stream: Id<Stream>, mut copy: CopyWork, returns: Returns) -> Result<()> {
    let stream = d.stream(stream)?;
    if copy.width == 0 || copy.rows == 0 {
        return Ok(());
    }
    if let Place::Host(host) = copy.from {
        let mut bytes = vec![0; ((copy.rows - 1) * copy.from_pitch + copy.width) as usize];
        host.read(&mut bytes);
        copy.from = Place::Staged(Arc::new(bytes));
    }
    let pageable = matches!(copy.to, Place::Host(_));
    let number = d.submit(stream, Op::Work(Work::Copy(copy)))?;
    match returns == Returns::Done || pageable {
        true => run::until(d, stream, number),
        false => run::limit(d, stream),
    }
}

fn to_device(
    d: &mut Locked,
    to: u64,
    from: Host,
    len: usize,
    stream: Id<Stream>,
    returns: Returns,
) -> Result<()> {
    let len = len as u64;
    d.current()?;
    let work = CopyWork::linear(d.device_side(to, len)?, d.host_side(from, len)?, len);
    copy(d, stream, work, returns)
}

fn to_host(
    d: &mut Locked,
    to: Host,
    from: u64,
    len: usize,
    stream: Id<Stream>,
    returns: Returns,
) -> Result<()> {
    let len = len as u64;
    d.current()?;
    let work = CopyWork::linear(d.host_side(to, len)?, d.device_side(from, len)?, len);
    copy(d, stream, work, returns)
}

fn on_device(d: &mut Locked, to: u64, from: u64, len: usize, stream: Id<Stream>) -> Result<()> {
    let len = len as u64;
    d.current()?;
    let work = CopyWork::linear(d.device_side(to, len)?, d.device_side(from, len)?, len);
    copy(d, stream, work, Returns::Soon)
}

fn fill(d: &mut Locked, to: u64, value: u32, size: u32, n: usize, stream: Id<Stream>) -> Result<()> {
    let stream = d.stream(stream)?;
    let width = n as u64;
    let bytes = width.checked_mul(u64::from(size));
    let bytes = bytes.ok_or_else(|| Code::INVALID_VALUE.because(format!("{n} elements of {size} bytes")))?;
    d.check_range(to, bytes)?;
    if !to.is_multiple_of(u64::from(size)) {
        return Err(Code::INVALID_VALUE.because(format!("address {to:#x} is not a multiple of {size}")));
    }
    if n > 0 {
        let set = SetWork { to, pitch: bytes, value, size, width, rows: 1 };
        d.submit(stream, Op::Work(Work::Set(set)))?;
    }
    run::limit(d, stream)
}

entries! {
    fn cuMemcpyHtoD_v2(to: u64, from: Host, len: usize) |d| to_device(d, to, from, len, Id::NULL, Returns::Done);
    fn cuMemcpyDtoH_v2(to: Host, from: u64, len: usize) |d| to_host(d, to, from, len, Id::NULL, Returns::Done);
    fn cuMemcpyDtoD_v2(to: u64, from: u64, len: usize) |d| on_device(d, to, from, len, Id::NULL);
    fn cuMemcpyHtoDAsync_v2(to: u64, from: Host, len: usize, stream: Id<Stream>) |d| {
        to_device(d, to, from, len, stream, Returns::Soon)
    };
    fn cuMemcpyDtoHAsync_v2(to: Host, from: u64, len: usize, stream: Id<Stream>) |d| {
        to_host(d, to, from, len, stream, Returns::Soon)
    };
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: Id<Stream>) |d| on_device(d, to, from, len, stream);
    fn cuMemsetD8_v2(to: u64, value: u8, n: usize) |d| fill(d, to, value.into(), 1, n, Id::NULL);
    fn cuMemsetD16_v2(to: u64, value: u16, n: usize) |d| fill(d, to, value.into(), 2, n, Id::NULL);
    fn cuMemsetD32_v2(to: u64, value: u32, n: usize) |d| fill(d, to, value, 4, n, Id::NULL);
    fn cuMemsetD8Async(to: u64, value: u8, n: usize, stream: Id<Stream>) |d| fill(d, to, value.into(), 1, n, stream);
    fn cuMemsetD16Async(to: u64, value: u16, n: usize, stream: Id<Stream>) |d| fill(d, to, value.into(), 2, n, stream);
    fn cuMemsetD32Async(to: u64, value: u32, n: usize, stream: Id<Stream>) |d| fill(d, to, value, 4, n, stream);
}
