//! [`Mapped`]: host memory that the device writes to.

use super::{Arg, Gpu, failed};
use crate::backend::Result;
use cudarc::driver::{result, sys};
use std::ptr;

/// Words of host memory that kernels write to, so that a small result needs no copy.
#[derive(Debug)]
pub struct Mapped {
    words: *mut u32,
    len: usize,
    address: u64,
    gpu: Gpu,
}

impl Mapped {
    /// `len` words, all zero.
    pub fn new(gpu: &Gpu, len: usize) -> Result<Self> {
        let n_bytes = len * size_of::<u32>();
        // SAFETY: the memory is freed when this is dropped.
        let words = unsafe { result::malloc_host(n_bytes, sys::CU_MEMHOSTALLOC_DEVICEMAP) }
            .map_err(failed(format!("allocating {n_bytes} bytes that the device can write to")))?
            .cast::<u32>();
        let mut mapped = Self { words, len, address: 0, gpu: gpu.clone() };
        // SAFETY: it is `len` words, which nobody else knows yet.
        unsafe { ptr::write_bytes(words, 0, len) };
        // SAFETY: writes one address, that of memory allocated for this above.
        unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut mapped.address, words.cast(), 0) }
            .result()
            .map_err(|error| failed("asking for the device's address of host memory")(error))?;
        Ok(mapped)
    }

    /// Word `i`, which the kernels that write it have written: the device was waited for.
    pub fn read(&self, i: usize) -> u32 {
        assert!(i < self.len, "word {i} of {}", self.len);
        // SAFETY: the word exists, as asserted. Volatile, because a device changes it; aligned words are written whole.
        unsafe { self.words.add(i).read_volatile() }
    }

    /// Its address, for a kernel that writes less than `len` words.
    pub fn arg(&self) -> Arg {
        Arg(self.address)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: the memory is this value's own, and kernels that write to it are over when the stream is.
        unsafe {
            let _ = self.gpu.synchronize();
            let _ = result::free_host(self.words.cast());
        }
    }
}

// SAFETY: the memory belongs to this value alone, and may be read and freed by any thread that the context is bound to.
unsafe impl Send for Mapped {}
