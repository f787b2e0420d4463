//! From an image without a length to PTX text: what `cuModuleLoadData` and its relatives take.

use super::raw::In;
use crate::driver::objects::{
    code::{Code, Error, Result},
    host::Host,
};
use crate::fatbin;

/// Bytes of a fat binary that programs may hold: more than any linker writes.
const LIMIT: u64 = 1 << 32;
const ELF: [u8; 4] = *b"\x7fELF";

/// The PTX text of an image: text that ends with a zero, a fat binary, or the structure that refers to one.
pub fn ptx(image: Host, arch: u32) -> Result<Vec<u8>> {
    if image.is_null() {
        return Err(Code::INVALID_VALUE.because("the image is null"));
    }
    if begins(image, &ELF) {
        return Err(Code::NO_BINARY_FOR_GPU
            .because("the image is machine code, expected PTX or a fat binary with PTX"));
    }
    if begins(image, &fatbin::MAGIC.to_le_bytes()) {
        return container(image, arch);
    }
    if begins(image, &fatbin::WRAPPER_MAGIC.to_le_bytes()) {
        let inner = In::<Host>::from(image.offset(8)).get()?;
        return match !inner.is_null() && begins(inner, &fatbin::MAGIC.to_le_bytes()) {
            true => container(inner, arch),
            false => Err(Code::INVALID_IMAGE.because("the structure does not refer to a fat binary")),
        };
    }
    Ok(image.until_zero())
}

/// Whether the image begins with these bytes; looks no further than the first that differs.
fn begins(image: Host, with: &[u8]) -> bool {
    with.iter().enumerate().all(|(i, &b)| image.offset(i as u64).bytes(1) == [b])
}

fn container(image: Host, arch: u32) -> Result<Vec<u8>> {
    let mut header = [0; fatbin::HEADER];
    image.read(&mut header);
    let len = fatbin::container_len(&header).map_err(refused)?;
    if len > LIMIT {
        return Err(Code::INVALID_IMAGE.because(format!("a fat binary of {len} bytes, at most {LIMIT}")));
    }
    fatbin::ptx(&image.bytes(len as usize), arch).map_err(refused)
}

fn refused(error: fatbin::Error) -> Error {
    let code = match error {
        fatbin::Error::NoPtx { .. } => Code::NO_BINARY_FOR_GPU,
        _ => Code::INVALID_IMAGE,
    };
    code.because(error.to_string())
}

/// The PTX text of a file with PTX or a fat binary.
pub fn from_file(path: &str, arch: u32) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|e| Code::FILE_NOT_FOUND.because(format!("cannot read {path}: {e}")))?;
    if bytes.starts_with(&fatbin::MAGIC.to_le_bytes()) {
        return fatbin::ptx(&bytes, arch).map_err(refused);
    }
    match bytes.starts_with(&ELF) {
        true => Err(Code::NO_BINARY_FOR_GPU.because(format!("{path} is machine code, expected PTX"))),
        false => Ok(bytes),
    }
}
