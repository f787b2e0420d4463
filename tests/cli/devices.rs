//! Machines without a usable GPU: each gets one clear sentence with `--device cuda`, and the CPU with `--device auto`.

use super::{
    harness::{Folder, Run, command, repository},
    libcuda,
};
use std::{path::Path, process::Command};

/// The program, where the only libcuda is that in `folder`, which misbehaves as `fault` says.
fn with_driver(folder: &Path, fault: &str, args: &[&str]) -> Run {
    let mut command = command(args);
    command.env_remove("HALFWARP_DEVICE").env("LD_LIBRARY_PATH", folder).env("FAKE_DRIVER", fault);
    command.output().expect("the program starts").into()
}

/// Compiles `fake_driver.rs` to `folder/libcuda.so`.
fn compile(folder: &Folder) {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(folder.file("libcuda.so"));
    let output = command.arg(repository("tests/cli/fake_driver.rs")).output().expect("rustc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_driver_that_is_of_no_use_gets_a_sentence() {
    let folder = Folder::new("fake-driver");
    compile(&folder);
    for (fault, words) in [
        ("no-device", &["the driver finds no device"][..]),
        ("stub", &["stub", "LD_LIBRARY_PATH"]),
        ("no-module", &["kernel module"]),
        ("mismatch", &["different versions"]),
        ("broken", &["cannot be initialised", "CUDA_ERROR_UNKNOWN"]),
        ("old", &["CUDA 11.8", "12.0", "525"]),
        ("hidden", &["no device", "CUDA_VISIBLE_DEVICES"]),
        ("volta", &["Tesla V100", "7.0", "7.5"]),
    ] {
        let words = [&["no CUDA device", "--device cpu"], words].concat();
        with_driver(&folder.0, fault, &["generate", "--device", "cuda", "-n", "1", "a"]).fails(1, &words);
        let text = with_driver(&folder.0, fault, &["generate", "-n", "1", "--temperature", "0", "a"]).ok();
        assert!(!text.is_empty(), "{fault}: --device auto goes on with the CPU");
    }
    let info = with_driver(&folder.0, "old", &["info"]).ok();
    assert!(info.contains("CUDA 11.8"), "{info}");
    with_driver(&folder.0, "", &["generate", "--device", "cuda:3", "a"])
        .fails(1, &["no device 3", "only one is 0"]);
}

#[test]
fn a_library_that_is_not_a_driver_is_refused_by_what_it_lacks() {
    let folder = Folder::new("not-a-driver");
    let source = folder.file("empty.rs");
    std::fs::write(&source, "").expect("the folder is writable");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--crate-type", "cdylib", "-o"]).arg(folder.file("libcuda.so")).arg(&source);
    assert!(command.status().expect("rustc starts").success());
    with_driver(&folder.0, "", &["generate", "--device", "cuda", "a"])
        .fails(1, &["libcuda lacks cuInit", "525"]);
}

/// The program on an emulated device: `folder` gets a libcuda that is the emulator.
#[cfg(unix)]
fn emulated(folder: &Folder, args: &[&str]) -> Command {
    let link = folder.file("libcuda.so");
    if !link.exists() {
        std::os::unix::fs::symlink(libcuda::emulator(), link).expect("the folder is writable");
    }
    let mut command = command(args);
    command.env("HALFWARP_DEVICE", "cuda").env("LD_LIBRARY_PATH", &folder.0).env("CUDA_EMULATOR_CHECK", "1");
    command
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_generation_on_a_device_with_130_and_its_text() {
    let folder = Folder::new("devices-interrupt");
    let args = ["generate", "--temperature", "0", "--ignore-eos", "Once upon a time", "-n"];
    let child = emulated(&folder, &[&args[..], &["400"]].concat()).spawn().expect("the program starts");
    let run = super::harness::interrupt(child);
    let whole =
        Run::from(emulated(&folder, &[&args[..], &["20"]].concat()).output().expect("the program starts"))
            .ok();
    let (text, whole) = (run.stdout.trim_end_matches('\n'), whole.trim_end_matches('\n'));
    let len = text.len().min(whole.len());
    assert!(len >= 16 && text.as_bytes()[..len] == whole.as_bytes()[..len], "{text:?}, expected {whole:?}");
    assert!(!run.stderr.contains("error") && !run.stderr.contains("finding"), "{}", run.stderr);
}
