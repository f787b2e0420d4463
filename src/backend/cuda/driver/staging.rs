//! [`Staging`]: the way of large data to the device.

use super::{Buffer, Gpu, failed};
use crate::backend::Result;
use cudarc::driver::{result, sys};
use std::{ffi::c_void, ptr, slice};

/// Two slots of pinned memory, each with its place on the device: while one travels, the other is filled.
#[derive(Debug)]
pub struct Staging {
    slots: [Slot; 2],
    next: usize,
    gpu: Gpu,
}

#[derive(Debug)]
struct Slot {
    pinned: *mut c_void,
    on_device: Buffer<u8>,
    /// Recorded behind the copy out of `pinned`: it may be overwritten afterwards.
    sent: sys::CUevent,
}

impl Staging {
    /// Slots that grow from `len` bytes where a piece needs more.
    pub(super) fn new(gpu: &Gpu, len: usize) -> Result<Self> {
        Ok(Self { slots: [Slot::new(gpu, len)?, Slot::new(gpu, len)?], next: 0, gpu: gpu.clone() })
    }

    /// Copies `bytes` to the device; the copy is ordered before what is launched next, and its place is kept until the call
    /// after the next.
    pub fn send(&mut self, gpu: &Gpu, bytes: &[u8]) -> Result<&Buffer<u8>> {
        self.next = 1 - self.next;
        let slot = &mut self.slots[self.next];
        if slot.on_device.len() < bytes.len() {
            // What the old place is used for is waited for when it is freed.
            *slot = Slot::new(gpu, bytes.len())?;
        }
        // SAFETY: the event is the slot's own.
        unsafe { result::event::synchronize(slot.sent) }.map_err(failed("waiting for a copy"))?;
        // SAFETY: the slot has room, and nothing reads it any more, as the event says.
        let pinned = unsafe { slice::from_raw_parts_mut(slot.pinned.cast::<u8>(), bytes.len()) };
        pinned.copy_from_slice(bytes);
        gpu.write_pinned(&mut slot.on_device, pinned)?;
        gpu.record_event(slot.sent)?;
        Ok(&slot.on_device)
    }
}

impl Slot {
    fn new(gpu: &Gpu, len: usize) -> Result<Self> {
        let on_device = gpu.alloc(len, "staging")?;
        let mut sent = ptr::null_mut();
        // SAFETY: makes an event without a clock; one that was never recorded counts as over.
        let code = unsafe { sys::cuEventCreate(&raw mut sent, EVENT_DISABLE_TIMING) };
        code.result().map_err(|error| failed("making an event")(error))?;
        // SAFETY: the slot frees it. Written by the host alone, and read by the device: write-combined.
        let pinned = unsafe { result::malloc_host(len.max(1), sys::CU_MEMHOSTALLOC_WRITECOMBINED) }
            .map_err(failed(format!("allocating {len} bytes of pinned memory")))?;
        Ok(Self { pinned, on_device, sent })
    }
}

const EVENT_DISABLE_TIMING: u32 = 2;

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: both are the slot's own; its last copy is over when the event is.
        unsafe {
            let _ = result::event::synchronize(self.sent);
            let _ = result::event::destroy(self.sent);
            let _ = result::free_host(self.pinned);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The slots' handles need the context, whichever thread drops them.
        let _ = self.gpu.bind();
    }
}
