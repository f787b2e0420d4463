//! The emulator's libcuda, as the tests of the driver load it.

#![allow(dead_code, reason = "each test uses what it needs")]

use libloading::Library;
use std::{
    ffi::CString,
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

pub const VECTOR_ADD: &str = include_str!("../ptx/vector_add.ptx");

/// The shared library that cargo builds beside the test.
pub fn path() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let folders = exe.ancestors().skip(1).take(2);
    let found = folders.map(|f| f.join("libcuda_emulator.so")).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no libcuda_emulator.so beside {}", exe.display()))
}

/// The library, loaded: its SONAME is `libcuda.so.1`, so that cudarc, which asks for that, finds it from now on.
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library has no constructors.
    LIBRARY.get_or_init(|| unsafe { Library::new(path()).expect("the emulator's library loads") })
}

/// The driver's state is one per process: tests take turns, each with a driver of its own.
pub fn fresh(options: &str) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let options = CString::new(options).expect("options have no zero");
    // SAFETY: the symbol is the emulator's, of this type.
    let code = unsafe {
        let reset = library().get::<extern "C" fn(*const std::ffi::c_char) -> u32>(b"cuda_emulator_reset");
        reset.expect("the library is the emulator")(options.as_ptr())
    };
    assert_eq!(code, 0, "reset with {options:?}");
    turn
}

/// The text that one of the emulator's own functions gives.
fn text(symbol: &[u8]) -> String {
    let mut bytes = vec![0; 1 << 16];
    // SAFETY: the symbol is the emulator's, of this type, and the buffer has the length given.
    let code = unsafe {
        let get = library()
            .get::<extern "C" fn(*mut u8, usize) -> u32>(symbol)
            .expect("the library is the emulator");
        get(bytes.as_mut_ptr(), bytes.len())
    };
    assert_eq!(code, 0);
    let end = bytes.iter().position(|&b| b == 0).expect("the text ends with a zero");
    String::from_utf8(bytes[..end].to_vec()).expect("texts are UTF-8")
}

/// What was found since the last call.
pub fn findings() -> String {
    text(b"cuda_emulator_findings")
}

/// The last call that failed.
pub fn last_error() -> String {
    text(b"cuda_emulator_last_error")
}
