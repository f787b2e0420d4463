//! Where the emulator's library is, which stands in for libcuda.

use std::path::PathBuf;

/// The shared library that cargo builds beside the test.
pub fn emulator() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let folders = exe.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("libcuda_emulator.so")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no libcuda_emulator.so beside {}", exe.display()))
}
