//! A libcuda that is of no use, in the way that FAKE_DRIVER says. Compiled by `devices.rs` into a library of its own.

use std::ffi::{c_char, c_int};

fn is(what: &str) -> bool {
    std::env::var("FAKE_DRIVER").is_ok_and(|v| v == what)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_: u32) -> c_int {
    let codes = [("no-device", 100), ("stub", 34), ("no-module", 304), ("mismatch", 803), ("broken", 999)];
    codes.into_iter().find(|(what, _)| is(what)).map_or(0, |(_, code)| code)
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: &mut c_int) -> c_int {
    *version = if is("old") { 11080 } else { 12040 };
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: &mut c_int) -> c_int {
    *count = c_int::from(!is("hidden"));
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: &mut c_int, _: c_int) -> c_int {
    *device = 0;
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, _: c_int) -> c_int {
    for (i, &byte) in b"Tesla V100\0".iter().enumerate().take(len as usize) {
        // SAFETY: the caller gives room for `len` bytes.
        unsafe { *name.add(i) = byte as c_char };
    }
    0
}

/// Compute capability 7.0.
#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: &mut c_int, attribute: c_int, _: c_int) -> c_int {
    const MAJOR: c_int = 75;
    *value = if attribute == MAJOR { 7 } else { 0 };
    0
}

/// There, so that the library looks whole, and never called.
macro_rules! present {
    ($($name:ident)*) => { $(#[unsafe(no_mangle)] extern "C" fn $name() -> c_int { 999 })* };
}
present! { cuDevicePrimaryCtxRetain cuModuleLoadDataEx cuLaunchKernelEx cuStreamBeginCapture_v2 cuGraphInstantiateWithFlags }
