//! Memory and functions of the host that C callers name by plain addresses.

use super::code::{Code, Result};
use bytemuck::{Pod, Zeroable};

/// Memory of the host that the API takes as a plain address: `void*`.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Host(u64);

impl Host {
    pub fn address(self) -> u64 {
        self.0
    }

    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on, in memory that the caller says goes on there.
    pub fn offset(self, bytes: u64) -> Host {
        Host(self.0.wrapping_add(bytes))
    }

    /// Copies `to.len()` bytes from here.
    pub fn read(self, to: &mut [u8]) {
        if !to.is_empty() {
            // SAFETY: a copy of this length from here is what the C caller asked for, so that it vouches for the range; `to` is
            // memory of ours, which no caller knows, and so does not overlap.
            unsafe { std::ptr::copy_nonoverlapping(self.0 as *const u8, to.as_mut_ptr(), to.len()) }
        }
    }

    /// Copies `from` to here.
    pub fn write(self, from: &[u8]) {
        if !from.is_empty() {
            // SAFETY: as in `read`, the other way.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.0 as *mut u8, from.len()) }
        }
    }

    /// `n` bytes from here.
    pub fn bytes(self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.read(&mut bytes);
        bytes
    }
}

/// A function of the host: `void (*)(void*)` and its relatives.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct HostFunction(u64);

impl HostFunction {
    /// There is a function.
    pub fn check(self) -> Result<()> {
        match self.0 {
            0 => Err(Code::INVALID_VALUE.because("the function is null")),
            _ => Ok(()),
        }
    }

    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Calls a `CUhostFn`.
    pub fn call(self, data: Host) {
        assert!(!self.is_null(), "submitting it checked that there is a function");
        // SAFETY: not null; the C caller passed it where the prototype has a `CUhostFn`, which is of this type.
        let function = unsafe { std::mem::transmute::<*const (), extern "C" fn(Host)>(self.0 as *const ()) };
        function(data);
    }

    /// Calls a `CUstreamCallback` of the stream of this handle, with the status of success: after an error none is called.
    pub fn call_back(self, stream: u64, data: Host) {
        assert!(!self.is_null(), "submitting it checked that there is a function");
        type Callback = extern "C" fn(u64, u32, Host);
        // SAFETY: not null; the C caller passed it where the prototype has a `CUstreamCallback`, which is of this type.
        let function = unsafe { std::mem::transmute::<*const (), Callback>(self.0 as *const ()) };
        function(stream, 0, data);
    }

    /// Calls a `CUoccupancyB2DSize`: bytes of dynamic shared memory for a block of this many threads.
    pub fn shared_for_block(self, threads: i32) -> usize {
        assert!(!self.is_null(), "callers check that there is a function");
        // SAFETY: not null; the C caller passed it where the prototype has a `CUoccupancyB2DSize`, which is of this type.
        let function =
            unsafe { std::mem::transmute::<*const (), extern "C" fn(i32) -> usize>(self.0 as *const ()) };
        function(threads)
    }
}
