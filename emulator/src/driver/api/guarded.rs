//! Reads memory that nobody vouches for: an image may claim to be longer than what the program has there.
//!
//! The kernel takes the bytes into a pipe and says where there are none; a plain read would end the process. Called by `image`.
//! Tests: `tests/driver_module.rs`.

use crate::driver::objects::{
    code::{Code, Error, Result},
    host::Host,
};
use std::{
    ffi::c_void,
    io::{self, PipeReader, PipeWriter, Read},
    os::fd::AsRawFd,
};

/// Pages are multiples of this, so that a range which crosses none of its multiples is there as a whole or not at all. Every
/// empty pipe has room for as many bytes.
const PAGE: u64 = 4096;

/// The way through the kernel, empty between reads.
pub struct Guarded {
    from: PipeReader,
    to: PipeWriter,
}

impl Guarded {
    pub fn new() -> Result<Guarded> {
        let (from, to) = io::pipe().map_err(failed)?;
        Ok(Guarded { from, to })
    }

    /// The bytes from `at` to the end of their page, at most `most` of them; none if they cannot be read.
    fn page(&mut self, at: Host, most: u64) -> Result<Vec<u8>> {
        let len = most.min(PAGE - at.address() % PAGE) as usize;
        // SAFETY: the kernel checks the range that it reads, and writes to the pipe alone, whose end is open.
        let written = unsafe { libc::write(self.to.as_raw_fd(), at.address() as *const c_void, len) };
        let Ok(written) = usize::try_from(written) else {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EFAULT) {
                Ok(Vec::new())
            } else {
                Err(failed(error))
            };
        };
        let mut bytes = vec![0; written];
        self.from.read_exact(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The first `n` bytes, or fewer if memory ends before.
    pub fn at_most(&mut self, image: Host, n: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < n {
            let have = bytes.len() as u64;
            let page = self.page(image.offset(have), n - have)?;
            if page.is_empty() {
                break;
            }
            bytes.extend(page);
        }
        Ok(bytes)
    }

    /// The first `n` bytes, which are what the image claims to have.
    pub fn exactly(&mut self, image: Host, n: u64) -> Result<Vec<u8>> {
        let bytes = self.at_most(image, n)?;
        match bytes.len() as u64 {
            have if have < n => Err(ends(image, have, format!("an image of {n} bytes"))),
            _ => Ok(bytes),
        }
    }

    /// The bytes before the first zero.
    pub fn until_zero(&mut self, image: Host) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let have = text.len() as u64;
            let page = self.page(image.offset(have), PAGE)?;
            if page.is_empty() {
                return Err(ends(image, have, "a text that ends with a zero".to_string()));
            }
            if let Some(end) = page.iter().position(|&b| b == 0) {
                text.extend(&page[..end]);
                return Ok(text);
            }
            text.extend(page);
        }
    }
}

fn ends(image: Host, have: u64, expected: String) -> Error {
    Code::INVALID_IMAGE
        .because(format!("memory ends {have} bytes after {:#x}, expected {expected}", image.address()))
}

fn failed(error: io::Error) -> Error {
    Code::OPERATING_SYSTEM.because(format!("the image cannot be copied through a pipe: {error}"))
}
