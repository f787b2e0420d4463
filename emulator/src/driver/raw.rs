//! Pointers of C callers, wrapped so that the entry points need no `unsafe` of their own.
//!
//! The wrappers have the layout of what C passes, and nothing outside this file makes one from anything else: a value comes
//! from a C caller, as an argument of an entry point, as a field of a structure behind one, or by an offset that the caller asked
//! for. The API's prototypes promise what it points to.

use super::{
    code::{Code, Result},
    handle::Id,
    stream::Stream,
};
use bytemuck::{AnyBitPattern, Pod, Zeroable};
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

    /// The array of `T` that begins here.
    pub fn array<T>(self) -> In<T> {
        In(self.0 as *const T)
    }

    /// The place for results that begins here.
    pub fn results<T>(self) -> Out<T> {
        Out(self.0 as *mut T)
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

    /// The bytes from here to the first zero.
    pub fn until_zero(self) -> Vec<u8> {
        // SAFETY: the callers of the API promise a text that ends with a zero wherever nothing else tells its length.
        unsafe { CStr::from_ptr(self.0 as *const c_char) }.to_bytes().to_vec()
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

    /// Calls a `CUstreamCallback` with the status of success: after an error none is called.
    pub fn call_back(self, stream: Id<Stream>, data: Host) {
        assert!(!self.is_null(), "submitting it checked that there is a function");
        type Callback = extern "C" fn(Id<Stream>, u32, Host);
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
