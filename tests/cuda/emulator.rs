//! The emulator in libcuda's place, loaded once per process: cudarc asks for `libcuda.so.1`, which is its SONAME.
//!
//! With HALFWARP_TEST_DEVICE=real the tests run on the device that the machine has instead: options are without effect, nothing
//! is found, and what needs the emulator says that it was skipped.

#[path = "../common/libcuda.rs"]
mod libcuda;

use libloading::Library;
use std::{
    ffi::CString,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library has no constructors.
    LIBRARY
        .get_or_init(|| unsafe { Library::new(libcuda::emulator()).expect("the emulator's library loads") })
}

/// Whether the tests run on a real device.
pub fn is_real() -> bool {
    std::env::var_os("HALFWARP_TEST_DEVICE").is_some_and(|device| device == "real")
}

/// Whether the libcuda of this process is the emulator's, however it came to be.
#[allow(dead_code, reason = "only the benches ask")]
pub fn is_loaded() -> bool {
    // SAFETY: libcuda has no constructors that matter, and the symbol is only looked up.
    unsafe {
        Library::new("libcuda.so.1")
            .is_ok_and(|lib| lib.get::<extern "C" fn()>(b"cuda_emulator_reset").is_ok())
    }
}

/// The driver of one test: its state is one per process, so tests take turns.
pub struct Emulator {
    _turn: MutexGuard<'static, ()>,
}

impl Emulator {
    /// A driver with these options, as JSON.
    pub fn new(options: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let emulator = Self { _turn: turn };
        emulator.reset(options);
        emulator
    }

    /// A device of architecture `arch` with all checks.
    pub fn checked(arch: u32) -> Self {
        Self::new(&format!(r#"{{"arch": {arch}, "check": true, "quiet": true}}"#))
    }

    /// A device that counts.
    pub fn counting() -> Self {
        Self::new(r#"{"arch": 90, "counters": "/dev/null", "quiet": true}"#)
    }

    /// Makes the driver forget everything, and gives it other options.
    pub fn reset(&self, options: &str) {
        if is_real() {
            return;
        }
        let options = CString::new(options).expect("options have no zero");
        // SAFETY: the symbol is the emulator's, of this type.
        let code = unsafe {
            let reset =
                library().get::<extern "C" fn(*const std::ffi::c_char) -> u32>(b"cuda_emulator_reset");
            reset.expect("the library is the emulator")(options.as_ptr())
        };
        assert_eq!(code, 0, "reset with {options:?}");
    }

    /// What was found since the last call.
    pub fn findings(&self) -> String {
        if is_real() {
            return String::new();
        }
        text(b"cuda_emulator_findings", 1 << 16)
    }

    /// The counters of the launches since the last call.
    pub fn counters(&self) -> serde_json::Value {
        serde_json::from_str(&text(b"cuda_emulator_counters", 1 << 24)).expect("counters are JSON")
    }

    /// Nothing was found.
    #[track_caller]
    pub fn assert_clean(&self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "{findings}");
    }
}

/// The text that one of the emulator's own functions gives.
fn text(symbol: &[u8], room: usize) -> String {
    let mut bytes = vec![0u8; room];
    // SAFETY: the symbol is the emulator's, of this type, and the buffer has the length given.
    let code = unsafe {
        let get = library().get::<extern "C" fn(*mut u8, usize) -> u32>(symbol);
        get.expect("the library is the emulator")(bytes.as_mut_ptr(), bytes.len())
    };
    assert_eq!(code, 0);
    let end = bytes.iter().position(|&b| b == 0).expect("the text ends with a zero");
    bytes.truncate(end);
    String::from_utf8(bytes).expect("texts are UTF-8")
}
