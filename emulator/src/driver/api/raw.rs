//! Pointers of C callers, wrapped so that the entry points need no `unsafe` of their own.
//!
//! The wrappers have the layout of what C passes, and nothing makes one from anything else: a value comes from a C caller, as an
//! argument of an entry point, as a field of a structure behind one, or by an offset that the caller asked for. The API's
//! prototypes promise what it points to.

use crate::driver::objects::{
    code::{Code, Result},
    host::Host,
};
use bytemuck::{AnyBitPattern, Zeroable};
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
        assert!(!self.is_null(), "a null pointer is noticed before anything is stored");
        // SAFETY: not null; it comes from a C caller, and the prototypes of the API promise room for the `T`s that they name
        // there (for arrays: as many as the count beside them says, which is what callers of `set_all` pass).
        unsafe { self.0.add(at).write_unaligned(value) }
    }
}

impl<T: AnyBitPattern> Out<T> {
    /// What stands there before the call, for values that go both ways.
    pub fn get(&self) -> Result<T> {
        In(self.0.cast_const()).get()
    }
}

/// A structure or array that is only read: `const T*`, which may be null.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: AnyBitPattern> In<T> {
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
        // SAFETY: not null; it comes from a C caller, and the prototypes of the API promise that a `T`, or an array of more
        // than `i`, stands there. Every bit pattern is a `T`.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    /// The first `n` elements.
    pub fn take(&self, n: usize) -> Result<Vec<T>> {
        (0..n).map(|i| self.at(i)).collect()
    }
}

/// The place for results that begins there.
impl<T> From<Host> for Out<T> {
    fn from(host: Host) -> Out<T> {
        Out(host.address() as *mut T)
    }
}

/// The array that begins there.
impl<T> From<Host> for In<T> {
    fn from(host: Host) -> In<T> {
        In(host.address() as *const T)
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

/// Gives a list as the API does: its length if the caller has no array yet, else as much of it as the array has room for, followed
/// by zeros.
pub fn list<T: Copy + Zeroable>(all: &[T], to: &Out<T>, count: &Out<usize>) -> Result<()> {
    if !to.is_null() {
        let room = count.get()?;
        to.set_all(all.iter().copied().chain(std::iter::repeat(T::zeroed())).take(room));
        return count.set(all.len().min(room));
    }
    count.set(all.len())
}

/// Copies a text to a buffer of `len` bytes, cut to fit, with a zero at the end.
pub fn put_text(text: &str, to: &Out<u8>, len: usize) -> Result<()> {
    let Some(room) = len.checked_sub(1).filter(|_| !to.is_null()) else {
        return Err(Code::INVALID_VALUE.because("no room for the text"));
    };
    let n = text.len().min(room);
    to.set_all(text.as_bytes()[..n].iter().copied().chain([0]));
    Ok(())
}
