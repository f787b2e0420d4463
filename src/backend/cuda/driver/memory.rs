//! [`Buffer`]: memory on the device; [`Arg`]: what kernels get.

use cudarc::driver::{CudaContext, result};
use std::{marker::PhantomData, sync::Arc};

/// Memory on the device.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) address: u64,
    pub(super) len: usize,
    pub(super) context: Arc<CudaContext>,
    pub(super) element: PhantomData<T>,
}

impl<T> Buffer<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes.
    pub fn n_bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The address of element `at`, for a kernel.
    pub fn at(&self, at: usize) -> Arg {
        assert!(at <= self.len, "element {at} of {}", self.len);
        Arg(self.address + (at * size_of::<T>()) as u64)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // A failure means that the context is lost, and the memory with it.
        let _ = self.context.bind_to_thread();
        // SAFETY: the address is this buffer's own; freeing waits for work that uses it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// A kernel's argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg(pub(super) u64);

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self(value.to_bits().into())
    }
}

impl<T> From<&Buffer<T>> for Arg {
    fn from(buffer: &Buffer<T>) -> Self {
        buffer.at(0)
    }
}

impl<T> From<&mut Buffer<T>> for Arg {
    fn from(buffer: &mut Buffer<T>) -> Self {
        buffer.at(0)
    }
}
