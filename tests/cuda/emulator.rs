//! The emulator in libcuda's place, loaded once per process: cudarc asks for `libcuda.so.1`, which is its SONAME.

use libloading::Library;
use std::{
    ffi::CString,
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The shared library that cargo builds beside the test.
fn path() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let folders = exe.ancestors().skip(1).take(2);
    let found = folders.map(|f| f.join("libcuda_emulator.so")).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no libcuda_emulator.so beside {}", exe.display()))
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library has no constructors.
    LIBRARY.get_or_init(|| unsafe { Library::new(path()).expect("the emulator's library loads") })
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

    /// Makes the driver forget everything, and gives it other options.
    pub fn reset(&self, options: &str) {
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
        let mut bytes = vec![0; 1 << 16];
        // SAFETY: the symbol is the emulator's, of this type, and the buffer has the length given.
        let code = unsafe {
            let get = library().get::<extern "C" fn(*mut u8, usize) -> u32>(b"cuda_emulator_findings");
            get.expect("the library is the emulator")(bytes.as_mut_ptr(), bytes.len())
        };
        assert_eq!(code, 0);
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    /// Nothing was found.
    #[track_caller]
    pub fn assert_clean(&self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "{findings}");
    }
}
