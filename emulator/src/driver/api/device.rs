//! Initialisation, errors, and what programs ask of the device.

use super::{
    entries,
    raw::{Out, Text, put_text},
};
use crate::device::{BLOCK, BLOCK_THREADS, Device, GRID, REGISTERS, SHARED_DEFAULT};
use crate::driver::{
    objects::code::{Code, Error, Result},
    state::Driver,
};
use std::ffi::{CStr, c_char};

/// The CUDA version that the driver claims: 13.5.
const VERSION: i32 = 13_050;
/// The highest `CU_DEVICE_ATTRIBUTE_...` that exists.
const LAST_ATTRIBUTE: u32 = 148;
/// `CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED`.
const MEMORY_POOLS: u32 = 115;
/// The device's address on the bus.
const PCI: &str = "0000:01:00.0";

/// `CU_DEVICE_ATTRIBUTE_...`. What the emulator does not have is 0: textures, surfaces, arrays, peers, sharing with other processes
/// and APIs, access to pageable memory, clusters, memory operations of streams.
fn attribute(device: &Device, attribute: u32) -> Result<i32> {
    let sm = device.sm;
    let value = match attribute {
        0 => return Err(no_attribute(attribute)),
        1 => BLOCK_THREADS,
        2..=4 => BLOCK[attribute as usize - 2],
        5..=7 => GRID[attribute as usize - 5],
        8 => SHARED_DEFAULT,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX as u32,
        12 | 82 => REGISTERS,
        13 => device.clock,
        14 => 512,
        // Copies overlap with kernels; mapped host memory; concurrent kernels; unified addresses.
        15 | 19 | 31 | 41 => 1,
        16 => device.multiprocessors,
        32 => device.ecc.into(),
        33 => 1,
        36 => device.memory_clock,
        37 => device.bus_width,
        38 => device.l2,
        39 => sm.threads,
        40 => 2,
        51 => 32,
        75 => device.capability.0,
        76 => device.capability.1,
        // Stream priorities; caching of global and local memory in L1; managed memory, which host and device may use at once.
        78 | 79 | 80 | 83 | 89 => 1,
        81 => sm.shared,
        87 => device.double_ratio(),
        // Preemption; the host's pointers for registered memory; cooperative launches; registration of host memory, also read-only.
        90 | 91 | 95 | 99 | 113 => 1,
        97 => sm.shared_optin,
        106 => sm.blocks,
        111 => sm.shared_reserved,
        n if n <= LAST_ATTRIBUTE => 0,
        _ => return Err(no_attribute(attribute)),
    };
    Ok(value as i32)
}

fn no_attribute(attribute: u32) -> Error {
    Code::INVALID_VALUE.because(format!("device attribute {attribute} does not exist"))
}

/// A number that tells devices apart: the name and the compute capability in sixteen bytes.
fn uuid(device: &Device) -> [u8; 16] {
    let mut uuid = *b"halfwarp-cuda-00";
    uuid[14] = device.capability.0 as u8;
    uuid[15] = device.capability.1 as u8;
    uuid
}

fn text(
    code: u32,
    to: &Out<*const c_char>,
    pick: fn((&'static CStr, &'static CStr)) -> &'static CStr,
) -> Result<()> {
    match Code(code).describe() {
        Some(texts) => to.set(pick(texts).as_ptr()),
        None => {
            to.set_if_wanted(std::ptr::null());
            Err(Code::INVALID_VALUE.because(format!("no error has the code {code}")))
        }
    }
}

fn by_bus_id(id: &str) -> Result<i32> {
    // With or without the domain and the function.
    match id == PCI || id == &PCI[5..] || id == &PCI[..10] || id == &PCI[5..10] {
        true => Ok(0),
        false => Err(Code::INVALID_DEVICE.because(format!("no device at {id}, expected {PCI}"))),
    }
}

/// `CUdevprop`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    block_threads: u32,
    block: [u32; 3],
    grid: [u32; 3],
    shared: u32,
    constant: u32,
    warp: u32,
    pitch: u32,
    registers: u32,
    clock: u32,
    texture_alignment: u32,
}

fn properties(device: &Device) -> Properties {
    Properties {
        block_threads: BLOCK_THREADS,
        block: BLOCK,
        grid: GRID,
        shared: SHARED_DEFAULT,
        constant: 64 << 10,
        warp: 32,
        pitch: i32::MAX as u32,
        registers: REGISTERS,
        clock: device.clock,
        texture_alignment: 512,
    }
}

/// There is one device, which has no peers.
fn no_peer(d: &Driver, a: i32, b: i32) -> Result<()> {
    d.check_device(a)?;
    d.check_device(b)
}

entries! {
    [early] fn cuInit(flags: u32) |d| match flags {
        0 => d.initialise(),
        _ => Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0"))),
    };
    [early] fn cuDriverGetVersion(version: Out<i32>) |_d| version.set(VERSION);
    [early] fn cuGetErrorName(code: u32, to: Out<*const c_char>) |_d| text(code, &to, |(name, _)| name);
    [early] fn cuGetErrorString(code: u32, to: Out<*const c_char>) |_d| text(code, &to, |(_, text)| text);
    fn cuDeviceGetCount(count: Out<i32>) |_d| count.set(1);
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) |d| {
        d.check_device(ordinal)?;
        device.set(ordinal)
    };
    fn cuDeviceGetName(name: Out<u8>, len: i32, device: i32) |d| {
        d.check_device(device)?;
        put_text(d.device().name, &name, usize::try_from(len).unwrap_or(0))
    };
    fn cuDeviceGetUuid(to: Out<[u8; 16]>, device: i32) |d| {
        d.check_device(device)?;
        to.set(uuid(d.device()))
    };
    fn cuDeviceGetUuid_v2(to: Out<[u8; 16]>, device: i32) |d| {
        d.check_device(device)?;
        to.set(uuid(d.device()))
    };
    fn cuDeviceTotalMem_v2(len: Out<usize>, device: i32) |d| {
        d.check_device(device)?;
        len.set(d.device().memory as usize)
    };
    fn cuDeviceGetAttribute(value: Out<i32>, which: u32, device: i32) |d| {
        d.check_device(device)?;
        value.fill(|| match which {
            MEMORY_POOLS => Ok(d.options.pools.into()),
            _ => attribute(d.device(), which),
        })
    };
    fn cuDeviceGetProperties(to: Out<Properties>, device: i32) |d| {
        d.check_device(device)?;
        to.set(properties(d.device()))
    };
    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) |d| {
        d.check_device(device)?;
        major.set(d.device().capability.0 as i32)?;
        minor.set(d.device().capability.1 as i32)
    };
    fn cuDeviceGetPCIBusId(to: Out<u8>, len: i32, device: i32) |d| {
        d.check_device(device)?;
        put_text(PCI, &to, usize::try_from(len).unwrap_or(0))
    };
    fn cuDeviceGetByPCIBusId(device: Out<i32>, id: Text) |_d| device.fill(|| by_bus_id(&id.get()?));
    fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) |d| {
        no_peer(d, device, peer)?;
        can.set(0)
    };
    fn cuDeviceGetP2PAttribute(value: Out<i32>, _attribute: u32, device: i32, peer: i32) |d| {
        no_peer(d, device, peer)?;
        value.set(0)
    };
    fn cuProfilerStart() |d| d.current().map(|_| ());
    fn cuProfilerStop() |d| d.current().map(|_| ());
}
