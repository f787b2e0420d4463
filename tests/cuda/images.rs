//! The committed PTX belongs to the committed sources, and old drivers load it.

use std::{fs, path::Path, process::Command};

fn kernels() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// POSIX cksum: CRC-32 with polynomial 0x04c11db7, over the bytes and then their number.
fn cksum(bytes: &[u8]) -> u32 {
    let mut len = bytes.len();
    let mut length = Vec::new();
    while len > 0 {
        length.push(len as u8);
        len >>= 8;
    }
    let mut crc = 0u32;
    for &byte in bytes.iter().chain(&length) {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    !crc
}

/// The committed files of PTX: name, architecture, text.
fn committed() -> Vec<(String, u32, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(kernels().join("ptx")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (name, arch) = file.strip_suffix(".ptx").unwrap().split_once(".sm_").unwrap();
        all.push((name.to_owned(), arch.parse().unwrap(), fs::read_to_string(&path).unwrap()));
    }
    all
}

#[test]
fn cksum_is_posix() {
    assert_eq!(cksum(b""), 4294967295);
    assert_eq!(cksum(b"123456789"), 930766865);
}

#[test]
fn committed_ptx_is_that_of_the_sources() {
    let all = committed();
    for entry in fs::read_dir(kernels()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "cu") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                all.iter().any(|(n, arch, _)| n == name && *arch == 75),
                "{name} has no PTX: run kernels/build.sh"
            );
        }
    }
    for (name, arch, ptx) in all {
        let last = ptx.lines().last().unwrap();
        let (files, sum) = last.strip_prefix("// cksum of ").unwrap().split_once(": ").unwrap();
        let sources: Vec<u8> = files.split(' ').flat_map(|f| fs::read(kernels().join(f)).unwrap()).collect();
        assert_eq!(
            sum,
            cksum(&sources).to_string(),
            "{name}.sm_{arch}.ptx is stale: run kernels/build.sh {name}"
        );
        assert!(ptx.contains(&format!(".target sm_{arch}\n")), "{name}.sm_{arch}.ptx");
    }
}

#[test]
fn committed_ptx_is_of_version_8_0_and_names_no_path() {
    for (name, arch, ptx) in committed() {
        let version = ptx.lines().find(|line| line.starts_with(".version")).unwrap();
        assert_eq!(version, ".version 8.0", "{name}.sm_{arch}.ptx");
        assert!(
            !ptx.lines().any(|l| l.trim_start().starts_with(".file") && l.contains("\"/")),
            "{name}.sm_{arch}.ptx"
        );
    }
}

/// With CUDA 12's assembler in PTXAS_12: `.version 8.0` is not only claimed, and no register is spilled on any architecture.
#[test]
fn an_assembler_of_cuda_12_takes_the_committed_ptx_and_spills_nothing() {
    let Some(ptxas) = std::env::var_os("PTXAS_12") else {
        println!("skipped: PTXAS_12 is not set");
        return;
    };
    let all = committed();
    for arch in [75, 80, 86, 89, 90, 100, 120] {
        for (name, level, _) in &all {
            let newest = all
                .iter()
                .filter(|(n, level, _)| n == name && *level <= arch)
                .map(|(_, level, _)| *level)
                .max();
            if newest != Some(*level) {
                continue;
            }
            let file = kernels().join(format!("ptx/{name}.sm_{level}.ptx"));
            let target = format!("-arch=sm_{arch}");
            let output = Command::new(&ptxas)
                .arg("-v")
                .arg(target)
                .arg(&file)
                .args(["-o", "/dev/null"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}, sm_{arch}: {text}");
            let spills = text
                .lines()
                .filter(|line| line.contains("spill stores") && !line.contains(" 0 bytes spill stores"));
            assert_eq!(spills.count(), 0, "{name}, sm_{arch}: {text}");
        }
    }
}
