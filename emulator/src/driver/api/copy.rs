//! Copies and fills: how programs ask for them, and their checks.

use super::{entries, raw::In};
use crate::driver::{
    objects::{
        code::{Code, Error, Result},
        handle::Id,
        host::Host,
        stream::Stream,
        work::{CopyWork, Place, SetWork, Side, Work},
    },
    state::{Driver, Locked, run},
};
use crate::memory::Kind;
use bytemuck::{Pod, Zeroable};
use std::sync::Arc;

/// Whether a call comes back before its copy is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    /// Not before.
    Done,
    /// As soon as pageable memory of the host is done with.
    Soon,
}

/// What the caller says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Host,
    Device,
    /// Either: the address tells.
    Any,
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Side3d {
    x: u64,
    y: u64,
    z: u64,
    level: u64,
    kind: u32,
    padding: u32,
    host: Host,
    device: u64,
    array: u64,
    reserved: u64,
    pitch: u64,
    height: u64,
}

/// `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Copy3d {
    from: Side3d,
    to: Side3d,
    width: u64,
    height: u64,
    depth: u64,
}

/// One side of `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Side2d {
    x: u64,
    y: u64,
    kind: u32,
    padding: u32,
    host: Host,
    device: u64,
    array: u64,
    pitch: u64,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Copy2d {
    from: Side2d,
    to: Side2d,
    width: u64,
    height: u64,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Fill {
    pub to: u64,
    pub pitch: u64,
    pub value: u32,
    pub size: u32,
    pub width: u64,
    pub rows: u64,
}

impl From<Copy2d> for Copy3d {
    fn from(copy: Copy2d) -> Copy3d {
        let side = |s: Side2d| {
            let Side2d { x, y, kind, host, device, array, pitch, .. } = s;
            Side3d { x, y, kind, host, device, array, pitch, ..Zeroable::zeroed() }
        };
        Copy3d { from: side(copy.from), to: side(copy.to), width: copy.width, height: copy.height, depth: 1 }
    }
}

fn overflow() -> Error {
    Code::INVALID_VALUE.because("the extent of a copy overflows")
}

/// Bytes from the first to the last of an extent.
fn span(width: u64, rows: u64, pitch: u64, slices: u64, slice: u64) -> Result<u64> {
    let last = |n: u64, step: u64| n.saturating_sub(1).checked_mul(step);
    let span =
        last(rows, pitch).zip(last(slices, slice)).and_then(|(a, b)| a.checked_add(b)?.checked_add(width));
    span.filter(|&n| n < 1 << 48).ok_or_else(overflow)
}

impl Driver {
    /// Checks that `len` bytes from a device address lie in one allocation.
    fn check_range(&self, address: u64, len: u64) -> Result<()> {
        if self.machine.memory.range(address, len).is_some() {
            return Ok(());
        }
        let near = self.machine.memory.explain(address);
        let message = format!("{len} bytes at {address:#x} do not lie in one allocation: {near:?}");
        Err(Code::INVALID_VALUE.because(message))
    }

    /// What lies at an address that a copy of `len` bytes names.
    fn place(&self, host: Host, len: u64, of: Of) -> Result<Place> {
        let address = host.address();
        if host.is_null() {
            return Err(Code::INVALID_VALUE.because("an address of a copy is null"));
        }
        match self.machine.memory.range(address, 1) {
            None if of == Of::Device => Err(self.check_range(address, len).err().unwrap_or_else(overflow)),
            None => Ok(Place::Host(host)),
            Some(a) if of == Of::Host && !matches!(a.kind, Kind::Host | Kind::Managed) => {
                let message = format!("{address:#x} is an address of the device, expected one of the host");
                Err(Code::INVALID_VALUE.because(message))
            }
            Some(_) => {
                self.check_range(address, len)?;
                Ok(Place::Device(address))
            }
        }
    }

    fn linear(&self, to: (Host, Of), from: (Host, Of), len: usize) -> Result<CopyWork> {
        let width = len as u64;
        let side = |(host, of): (Host, Of)| match width {
            0 => Ok(Side { place: Place::Host(host), pitch: 0, slice: 0 }),
            _ => Ok(Side { place: self.place(host, width, of)?, pitch: width, slice: width }),
        };
        Ok(CopyWork { to: side(to)?, from: side(from)?, width, rows: 1, slices: 1 })
    }

    /// Checks a copy of the general form.
    pub fn copy_work(&self, copy: &Copy3d) -> Result<CopyWork> {
        let (width, rows, slices) = (copy.width, copy.height, copy.depth);
        let side = |s: &Side3d| {
            let (base, of) = match s.kind {
                1 => (s.host, Of::Host),
                2 => (bytemuck::cast(s.device), Of::Device),
                4 => (bytemuck::cast(s.device), Of::Any),
                3 => return Err(Code::NOT_SUPPORTED.because("CUDA arrays")),
                kind => {
                    return Err(Code::INVALID_VALUE.because(format!("memory type {kind}, expected 1 to 4")));
                }
            };
            let pitch = if s.pitch == 0 { s.x.saturating_add(width) } else { s.pitch };
            if rows > 1 && pitch < s.x.saturating_add(width) {
                return Err(
                    Code::INVALID_VALUE.because(format!("pitch {pitch} is less than the width {width}"))
                );
            }
            let height = if s.height == 0 { s.y.saturating_add(rows) } else { s.height };
            let slice = pitch.checked_mul(height).ok_or_else(overflow)?;
            let offset = span(s.x, s.y.saturating_add(1), pitch, s.z.saturating_add(1), slice)?;
            let len = span(width, rows, pitch, slices, slice)?;
            Ok(Side { place: self.place(base.offset(offset), len, of)?, pitch, slice })
        };
        Ok(CopyWork { to: side(&copy.to)?, from: side(&copy.from)?, width, rows, slices })
    }

    /// Checks a fill.
    pub fn set_work(&self, fill: &Fill) -> Result<SetWork> {
        let Fill { to, pitch, value, size, width, rows } = *fill;
        if !matches!(size, 1 | 2 | 4) {
            return Err(Code::INVALID_VALUE.because(format!("elements of {size} bytes, expected 1, 2 or 4")));
        }
        let bytes = width.checked_mul(size.into()).ok_or_else(overflow)?;
        let pitch = if rows > 1 { pitch } else { bytes };
        if pitch < bytes || !to.is_multiple_of(size.into()) || rows > 1 && !pitch.is_multiple_of(size.into())
        {
            let message =
                format!("address {to:#x}, pitch {pitch}: expected multiples of {size}, and rows that fit");
            return Err(Code::INVALID_VALUE.because(message));
        }
        if bytes > 0 && rows > 0 {
            self.check_range(to, span(bytes, rows, pitch, 1, 0)?)?;
        }
        Ok(SetWork { to, pitch, value, size, width, rows })
    }
}

/// Submits a copy. Pageable memory of the host is read when the call is made, and written before it returns; a captured copy
/// does both when the graph runs.
fn copy(d: &mut Locked, stream: Id<Stream>, mut copy: CopyWork, returns: Returns) -> Result<()> {
    if returns == Returns::Done {
        d.check_unsafe("a synchronous copy")?;
    }
    let stream = d.stream(stream)?;
    if copy.width == 0 || copy.rows == 0 || copy.slices == 0 {
        return Ok(());
    }
    if d.streams.get(stream)?.capture.is_some() {
        return run::work(d, stream, Work::Copy(copy)).map(|_| ());
    }
    if let Place::Host(host) = copy.from.place {
        let len = span(copy.width, copy.rows, copy.from.pitch, copy.slices, copy.from.slice)?;
        copy.from.place = Place::Staged(Arc::new(host.bytes(len as usize)));
    }
    let pageable = matches!(copy.to.place, Place::Host(_));
    match run::work(d, stream, Work::Copy(copy))? {
        Some(number) if returns == Returns::Done || pageable => run::until(d, stream, number),
        _ => Ok(()),
    }
}

fn linear(
    d: &mut Locked,
    stream: Id<Stream>,
    to: (Host, Of),
    from: (Host, Of),
    len: usize,
    returns: Returns,
) -> Result<()> {
    d.current()?;
    let work = d.linear(to, from, len)?;
    copy(d, stream, work, returns)
}

/// Copies that do not touch the host come back at once, even those that are called synchronous.
fn between(d: &mut Locked, to: Host, from: Host, len: usize) -> Result<()> {
    linear(d, Id::NULL, (to, Of::Device), (from, Of::Device), len, Returns::Soon)
}

fn general(d: &mut Locked, work: &Copy3d, stream: Id<Stream>, returns: Returns) -> Result<()> {
    d.current()?;
    let work = d.copy_work(work)?;
    copy(d, stream, work, returns)
}

fn fill(d: &mut Locked, stream: Id<Stream>, fill: &Fill) -> Result<()> {
    let stream = d.stream(stream)?;
    let work = d.set_work(fill)?;
    if work.width == 0 || work.rows == 0 {
        return Ok(());
    }
    run::work(d, stream, Work::Set(work)).map(|_| ())
}

/// A fill of `n` elements of `size` bytes.
fn row(to: u64, value: u32, size: u32, n: usize) -> Fill {
    Fill { to, pitch: 0, value, size, width: n as u64, rows: 1 }
}

/// A fill of rows.
fn rows(to: u64, pitch: usize, value: u32, size: u32, (width, rows): (usize, usize)) -> Fill {
    Fill { to, pitch: pitch as u64, value, size, width: width as u64, rows: rows as u64 }
}

entries! {
    fn cuMemcpy(to: Host, from: Host, len: usize) |d| linear(d, Id::NULL, (to, Of::Any), (from, Of::Any), len, Returns::Done);
    fn cuMemcpyAsync(to: Host, from: Host, len: usize, stream: Id<Stream>) |d| {
        linear(d, stream, (to, Of::Any), (from, Of::Any), len, Returns::Soon)
    };
    fn cuMemcpyHtoD_v2(to: Host, from: Host, len: usize) |d| {
        linear(d, Id::NULL, (to, Of::Device), (from, Of::Host), len, Returns::Done)
    };
    fn cuMemcpyDtoH_v2(to: Host, from: Host, len: usize) |d| {
        linear(d, Id::NULL, (to, Of::Host), (from, Of::Device), len, Returns::Done)
    };
    fn cuMemcpyDtoD_v2(to: Host, from: Host, len: usize) |d| between(d, to, from, len);
    fn cuMemcpyHtoDAsync_v2(to: Host, from: Host, len: usize, stream: Id<Stream>) |d| {
        linear(d, stream, (to, Of::Device), (from, Of::Host), len, Returns::Soon)
    };
    fn cuMemcpyDtoHAsync_v2(to: Host, from: Host, len: usize, stream: Id<Stream>) |d| {
        linear(d, stream, (to, Of::Host), (from, Of::Device), len, Returns::Soon)
    };
    fn cuMemcpyDtoDAsync_v2(to: Host, from: Host, len: usize, stream: Id<Stream>) |d| {
        linear(d, stream, (to, Of::Device), (from, Of::Device), len, Returns::Soon)
    };
    fn cuMemcpyPeer(to: Host, _to_context: u64, from: Host, _from_context: u64, len: usize) |d| between(d, to, from, len);
    fn cuMemcpyPeerAsync(
        to: Host, _to_context: u64, from: Host, _from_context: u64, len: usize, stream: Id<Stream>
    ) |d| linear(d, stream, (to, Of::Device), (from, Of::Device), len, Returns::Soon);
    fn cuMemcpy2D_v2(work: In<Copy2d>) |d| general(d, &work.get()?.into(), Id::NULL, Returns::Done);
    fn cuMemcpy2DUnaligned_v2(work: In<Copy2d>) |d| general(d, &work.get()?.into(), Id::NULL, Returns::Done);
    fn cuMemcpy2DAsync_v2(work: In<Copy2d>, stream: Id<Stream>) |d| general(d, &work.get()?.into(), stream, Returns::Soon);
    fn cuMemcpy3D_v2(work: In<Copy3d>) |d| general(d, &work.get()?, Id::NULL, Returns::Done);
    fn cuMemcpy3DAsync_v2(work: In<Copy3d>, stream: Id<Stream>) |d| general(d, &work.get()?, stream, Returns::Soon);
    fn cuMemsetD8_v2(to: u64, value: u8, n: usize) |d| fill(d, Id::NULL, &row(to, value.into(), 1, n));
    fn cuMemsetD16_v2(to: u64, value: u16, n: usize) |d| fill(d, Id::NULL, &row(to, value.into(), 2, n));
    fn cuMemsetD32_v2(to: u64, value: u32, n: usize) |d| fill(d, Id::NULL, &row(to, value, 4, n));
    fn cuMemsetD8Async(to: u64, value: u8, n: usize, stream: Id<Stream>) |d| fill(d, stream, &row(to, value.into(), 1, n));
    fn cuMemsetD16Async(to: u64, value: u16, n: usize, stream: Id<Stream>) |d| fill(d, stream, &row(to, value.into(), 2, n));
    fn cuMemsetD32Async(to: u64, value: u32, n: usize, stream: Id<Stream>) |d| fill(d, stream, &row(to, value, 4, n));
    fn cuMemsetD2D8_v2(to: u64, pitch: usize, value: u8, width: usize, height: usize) |d| {
        fill(d, Id::NULL, &rows(to, pitch, value.into(), 1, (width, height)))
    };
    fn cuMemsetD2D32_v2(to: u64, pitch: usize, value: u32, width: usize, height: usize) |d| {
        fill(d, Id::NULL, &rows(to, pitch, value, 4, (width, height)))
    };
    fn cuMemsetD2D8Async(to: u64, pitch: usize, value: u8, width: usize, height: usize, stream: Id<Stream>) |d| {
        fill(d, stream, &rows(to, pitch, value.into(), 1, (width, height)))
    };
    fn cuMemsetD2D32Async(to: u64, pitch: usize, value: u32, width: usize, height: usize, stream: Id<Stream>) |d| {
        fill(d, stream, &rows(to, pitch, value, 4, (width, height)))
    };
}
