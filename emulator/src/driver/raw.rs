//! Pointers of C callers, wrapped so that the entry points need no `unsafe` of their own.
//!
//! The wrappers have the layout of what C passes and no constructor: a value comes from a C caller only, through a parameter
//! of an entry point (or a field of a structure that one points to). The API's prototypes promise what it points to.

use super::code::{Code, Result};
use bytemuck::AnyBitPattern;
use std::ffi::{CStr, c_char};

/// Where a result goes: `T*`, which may be null.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Stores what `value` gives; asks for it only if there is a place for it.
    pub fn fill(&self, value: impl FnOnce() -> Result<T>) -> Result<()> {
        if self.is_null() {
            return Err(Code::INVALID_VALUE.because("the pointer for the result is null"));
        }
        self.put(0, value()?);
        Ok(())
    }

    /// Stores a result.
    pub fn set(&self, value: T) -> Result<()> {
        self.fill(|| Ok(value))
    }

    /// Stores a result that the caller may not want.
    pub fn set_if_wanted(&self, value: T) {
        if !self.is_null() {
            self.put(0, value);
        }
    }

    /// Stores several results; the caller has said that it has room for as many.
    pub fn set_all(&self, values: impl IntoIterator<Item = T>) {
        values.into_iter().enumerate().for_each(|(i, v)| self.put(i, v));
    }

    fn put(&self, at: usize, value: T) {
        debug_assert!(!self.is_null(), "callers check for null");
        // SAFETY: not null; it comes from a C caller, and the prototypes of the API promise room for the `T`s that they name there
        // (for arrays: as many as the count beside them says, which is what callers of `set_all` pass).
        unsafe { self.0.add(at).write_unaligned(value) }
    }
}

impl<T: Copy + AnyBitPattern> Out<T> {
    /// What stands there before the call, for values that go both ways.
    pub fn get(&self) -> Result<T> {
        In(self.0.cast_const()).get()
    }
}

/// A structure or array that is only read: `const T*`, which may be null.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy + AnyBitPattern> In<T> {
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub fn get(&self) -> Result<T> {
        self.at(0)
    }

    /// Element `i` of an array that the caller said is longer.
    pub fn at(&self, i: usize) -> Result<T> {
        if self.is_null() {
            return Err(Code::INVALID_VALUE.because("a pointer to an argument is null"));
        }
        // SAFETY: not null; it comes from a C caller, and the prototypes of the API promise that a `T`, or an array of more than `i`,
        // stands there. Every bit pattern is a `T`.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    /// The first `n` elements.
    pub fn take(&self, n: usize) -> Result<Vec<T>> {
        (0..n).map(|i| self.at(i)).collect()
    }
}

/// A text that ends with a zero: `const char*`.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub fn get(&self) -> Result<String> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE.because("a text is null"));
        }
        // SAFETY: not null; it comes from a C caller, and the prototypes of the API promise a text that ends with a zero.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }
}

/// Memory of the host that the API takes as a plain address: `void*`.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Host(pub u64);

impl Host {
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

    /// The byte `offset` further on.
    pub fn byte(self, offset: u64) -> u8 {
        let mut byte = [0];
        Host(self.0 + offset).read(&mut byte);
        byte[0]
    }
}
