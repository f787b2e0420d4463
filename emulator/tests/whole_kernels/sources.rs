//! The compiled kernels are those of the sources beside them.

use std::{fs, path::Path};

/// The checksum of POSIX `cksum`: a CRC-32 of the bytes and of their number.
fn cksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |c, _| c << 1 ^ if c >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    };
    let length = std::iter::successors(Some(bytes.len()), |n| Some(n >> 8)).take_while(|&n| n > 0);
    let crc = bytes.iter().copied().chain(length.map(|n| n as u8)).fold(0, step);
    !crc
}

#[test]
fn every_ptx_file_was_compiled_from_the_sources_as_they_are() {
    // `printf 123456789 | cksum`
    assert_eq!(cksum(b"123456789"), 930_766_865);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let common = read(&folder.join("common.cuh"));
    let mut compiled = 0;
    for entry in fs::read_dir(folder.join("ptx")).expect("the folder of compiled kernels") {
        let path = entry.expect("a file").path();
        let file = path.file_name().and_then(|f| f.to_str()).expect("a name").to_string();
        let name = file.split('.').next().expect("a name");
        let source = [read(&folder.join(format!("{name}.cu"))), common.clone()].concat();
        let want = format!("// cksum of {name}.cu and common.cuh: {}", cksum(&source));
        let text = String::from_utf8(read(&path)).expect("PTX is ASCII");
        assert_eq!(text.lines().last(), Some(&want[..]), "{file}: run tests/kernels/build.sh {name}");
        compiled += 1;
    }
    assert!(compiled >= 100, "only {compiled} compiled kernels in tests/kernels/ptx");
}
