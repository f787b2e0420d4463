//! [`Args`]: what C passes by pointer, checked and turned into slices, strings and outputs.
//!
//! Everything that reads or writes a caller's memory is here. What can be checked is: NULL, alignment, lengths, UTF-8, sizes of
//! structs. That a pointer points to as much as is said is the caller's word, given once per call in [`Args::new`].

use crate::{
    status::{Call, Failure},
    types::*,
};
use std::{
    ffi::{CStr, c_char},
    marker::PhantomData,
    mem, ptr, slice,
};

/// Structs beyond this many bytes are a mistake of the caller's.
const SIZE_MAX: usize = 4096;

/// The right to follow the pointers of one call.
pub struct Args(());

/// # Safety
/// Every pattern of bits is a value of the type.
pub unsafe trait Plain: Copy {}

/// A struct that begins with its size, and gets new fields at its end.
///
/// # Safety
/// `repr(C)`, the first field is `size: usize`, and there is no padding: `tests::structs_have_no_padding`.
pub unsafe trait Growing: Plain {
    /// What fields are that an older program does not know, `size` set.
    const DEFAULT: Self;
}

macro_rules! plain {
    ($($plain:ty),*) => {
        // SAFETY: they are integers, floats, raw pointers and optional function pointers, or structs of those.
        $(unsafe impl Plain for $plain {})*
    };
}
plain!(u8, u32, u64, usize, f32, hw_text, hw_message, hw_tokens, hw_logit_bias, hw_turn);
plain!(hw_engine_params, hw_info, hw_sampling_params, hw_generate_params, hw_stats);

impl Args {
    /// # Safety
    /// Until the result is dropped, every pointer that is given to its methods is NULL or keeps the header's rules: it points to
    /// as many elements as are said beside it, which nobody writes to in the meantime, or which nobody else uses where they are
    /// an output.
    pub unsafe fn new() -> Self {
        Self(())
    }

    /// A text of `len` bytes, or up to its NUL.
    pub fn text(&self, name: &str, text: *const c_char, len: usize) -> Call<&str> {
        let bytes = if len == HW_NTS && !text.is_null() {
            // SAFETY: with HW_NTS the text ends at a NUL, by the contract of `new`.
            unsafe { CStr::from_ptr(text) }.to_bytes()
        } else {
            self.slice(name, text.cast::<u8>(), len)?
        };
        str::from_utf8(bytes).map_err(|error| Failure::bad_arg(format!("{name} is not UTF-8: {error}")))
    }

    /// `n` elements; the pointer is not looked at if there are none.
    pub fn slice<T: Plain>(&self, name: &str, elements: *const T, n: usize) -> Call<&[T]> {
        if n == 0 {
            return Ok(&[]);
        }
        check(name, elements)?;
        if n > isize::MAX as usize / size_of::<T>() {
            return Err(Failure::bad_arg(format!("{name} has {n} elements, more than memory can hold")));
        }
        // SAFETY: not null, aligned and not too long by the checks above; readable and unchanged for as long as `self` by the
        // contract of `new`; valid for any bits by `Plain`.
        Ok(unsafe { slice::from_raw_parts(elements, n) })
    }

    /// A struct of parameters, completed with defaults; NULL is the default.
    pub fn params<T: Growing>(&self, name: &str, params: *const T) -> Call<T> {
        if params.is_null() {
            return Ok(T::DEFAULT);
        }
        check(name, params)?;
        // SAFETY: not null and aligned by the check above; a `Growing` begins with its size.
        let size = unsafe { params.cast::<usize>().read() };
        self.complete(name, params, size, T::DEFAULT)
    }

    /// `n` structs without a size of their own, `size` bytes each, completed with `default`.
    pub fn structs<T: Plain>(
        &self,
        name: &str,
        first: *const T,
        n: usize,
        size: usize,
        default: T,
    ) -> Call<Vec<T>> {
        check_size::<T>(name, size)?;
        let bytes = self.slice(name, first.cast::<u8>(), n.saturating_mul(size))?;
        if n > 0 {
            check(name, first)?;
        }
        bytes.chunks_exact(size).map(|one| self.complete(name, one.as_ptr().cast(), size, default)).collect()
    }

    /// The struct at `from`, which is not NULL and of which the caller has `size` bytes.
    fn complete<T: Plain>(&self, name: &str, from: *const T, size: usize, default: T) -> Call<T> {
        check_size::<T>(name, size)?;
        let known = size.min(size_of::<T>());
        let beyond = self.slice(name, from.cast::<u8>().wrapping_add(known), size - known)?;
        if beyond.iter().any(|&byte| byte != 0) {
            return Err(Failure::bad_arg(format!(
                "{name} has {size} bytes, and what is beyond the {known} that this library knows is not zero"
            )));
        }
        let mut value = default;
        // SAFETY: both have `known` bytes, by the contract of `new` and by `min`; any bits are a `T`, by `Plain`.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), ptr::from_mut(&mut value).cast::<u8>(), known) };
        Ok(value)
    }

    /// An output of one value.
    pub fn output<T: Plain>(&self, name: &str, to: *mut T) -> Call<Output<'_, T>> {
        check(name, to)?;
        Ok(Output { to, args: PhantomData })
    }

    /// An output of a struct of which the caller knows `size` bytes.
    pub fn output_struct<T: Growing>(
        &self,
        name: &str,
        to: *mut T,
        size: usize,
    ) -> Call<StructOutput<'_, T>> {
        check(name, to)?;
        check_size::<T>(name, size)?;
        Ok(StructOutput { to, size, args: PhantomData })
    }

    /// An output of at most `capacity` elements, whose number goes to `n`.
    pub fn buffer<T: Plain>(
        &self,
        name: &str,
        to: *mut T,
        capacity: usize,
        n: *mut usize,
    ) -> Call<Buffer<'_, T>> {
        check("the pointer to the size", n)?;
        if capacity > 0 {
            check(name, to)?;
        }
        Ok(Buffer { to, capacity, n, args: PhantomData })
    }
}

/// Where one value goes.
pub struct Output<'a, T> {
    to: *mut T,
    args: PhantomData<&'a Args>,
}

impl<T: Plain> Output<'_, T> {
    /// Writes it.
    pub fn write(self, value: T) {
        // SAFETY: not null and aligned by `Args::output`, writable by the contract of `Args::new`.
        unsafe { self.to.write(value) }
    }
}

/// Where a struct goes.
pub struct StructOutput<'a, T> {
    to: *mut T,
    size: usize,
    args: PhantomData<&'a Args>,
}

impl<T: Growing> StructOutput<'_, T> {
    /// Writes as much of it as the caller knows, and zeros where the caller knows more.
    pub fn write(self, value: T) {
        let known = self.size.min(size_of::<T>());
        // SAFETY: `size` bytes are writable by the contract of `Args::new`, and at least a `usize`, aligned, by
        // `Args::output_struct`; `value` has no padding, by `Growing`, and `known` bytes, by `min`.
        unsafe {
            self.to.cast::<u8>().write_bytes(0, self.size);
            ptr::copy_nonoverlapping(ptr::from_ref(&value).cast::<u8>(), self.to.cast::<u8>(), known);
            self.to.cast::<usize>().write(self.size);
        }
    }
}

/// Where several elements go.
pub struct Buffer<'a, T> {
    to: *mut T,
    capacity: usize,
    n: *mut usize,
    args: PhantomData<&'a Args>,
}

impl<T: Plain> Buffer<'_, T> {
    /// Writes how many `elements` there are and, if they fit, the elements.
    pub fn write(self, elements: &[T]) -> Call {
        // SAFETY: not null and aligned by `Args::buffer`, writable by the contract of `Args::new`.
        unsafe { self.n.write(elements.len()) };
        if elements.len() > self.capacity {
            let text = format!("the buffer has room for {} of {}", self.capacity, elements.len());
            return Err(Failure::new(hw_status::HW_E_TOO_SMALL, text));
        }
        if !elements.is_empty() {
            // SAFETY: the capacity is not 0, so `to` is not null and aligned by `Args::buffer`, and that many elements are
            // writable by the contract of `Args::new`. `elements` is ours.
            unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), self.to, elements.len()) };
        }
        Ok(())
    }
}

fn check<T>(name: &str, pointer: *const T) -> Call {
    if pointer.is_null() {
        return Err(Failure::bad_arg(format!("{name} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::bad_arg(format!(
            "{name} is {pointer:p}, expected a multiple of {}",
            align_of::<T>()
        )));
    }
    Ok(())
}

fn check_size<T>(name: &str, size: usize) -> Call {
    if (mem::size_of::<usize>()..=SIZE_MAX).contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(());
    }
    Err(Failure::bad_arg(format!(
        "{name} has {size} bytes, expected {} (is its size not set?)",
        size_of::<T>()
    )))
}
