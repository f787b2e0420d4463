//! The library as a whole: version, errors, log.

use crate::{callback::LogSink, guard, guard::guard, log, status::NAMES, types::*};
use std::ffi::{CStr, c_char, c_void};

/// The library's version, like "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn hw_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    VERSION.as_ptr()
}

/// The library's HW_ABI_VERSION: a program works with the library if it is the program's.
#[unsafe(no_mangle)]
pub extern "C" fn hw_abi_version() -> u32 {
    HW_ABI_VERSION
}

/// The name of an hw_status, like "HW_E_BUSY"; "?" for other numbers.
#[unsafe(no_mangle)]
pub extern "C" fn hw_status_name(status: i32) -> *const c_char {
    NAMES.iter().find(|(known, _)| *known as i32 == status).map_or(c"?", |(_, name)| name).as_ptr()
}

/// Why the last call of this thread that failed did so: the function's name and a text. Empty if none failed. Valid until the
/// next call of this thread that fails; calls that succeed leave it.
#[unsafe(no_mangle)]
pub extern "C" fn hw_last_error() -> *const c_char {
    guard::last_error()
}

/// Sends messages to `callback` from now on; NULL, as at the start, sends them nowhere. Returns when the calls of the callback before
/// have returned. HW_E_BUSY from inside of a log callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_log_set(callback: hw_log_callback, user_data: *mut c_void) -> hw_status {
    // SAFETY: the caller's function, as the header declares it; it is called until it is replaced.
    let sink = callback.map(|function| unsafe { LogSink::new(function, user_data) });
    guard("hw_log_set", || log::set(sink))
}
