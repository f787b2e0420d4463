//! From an image without a length to PTX text: what `cuModuleLoadData` and its relatives take.

use super::guarded::Guarded;
use crate::{
    driver::objects::{
        code::{Code, Error, Result},
        host::Host,
    },
    fatbin,
};

/// Bytes of a fat binary that programs may hold: more than any linker writes.
const LIMIT: u64 = 1 << 32;
/// Bytes of the structure that refers to a fat binary, up to the end of its address.
const WRAPPER: u64 = 16;
const ELF: [u8; 4] = *b"\x7fELF";

/// The PTX text of an image: text that ends with a zero, a fat binary, or the structure that refers to one. What an image claims
/// of its length is not believed: nothing is read where the program has no memory.
pub fn ptx(image: Host, arch: u32) -> Result<Vec<u8>> {
    if image.is_null() {
        return Err(Code::INVALID_VALUE.because("the image is null"));
    }
    let mut memory = Guarded::new()?;
    let head = memory.at_most(image, WRAPPER)?;
    if head.starts_with(&ELF) {
        return Err(Code::NO_BINARY_FOR_GPU
            .because("the image is machine code, expected PTX or a fat binary with PTX"));
    }
    if head.starts_with(&fatbin::MAGIC.to_le_bytes()) {
        return container(&mut memory, image, arch);
    }
    if head.starts_with(&fatbin::WRAPPER_MAGIC.to_le_bytes()) {
        let inner = memory.exactly(image, WRAPPER)?;
        return container(&mut memory, bytemuck::pod_read_unaligned(&inner[8..]), arch);
    }
    memory.until_zero(image)
}

fn container(memory: &mut Guarded, image: Host, arch: u32) -> Result<Vec<u8>> {
    let header = memory.exactly(image, fatbin::HEADER as u64)?;
    let len = fatbin::container_len(&header).map_err(refused)?;
    if len > LIMIT {
        return Err(Code::INVALID_IMAGE.because(format!("a fat binary of {len} bytes, at most {LIMIT}")));
    }
    fatbin::ptx(&memory.exactly(image, len)?, arch).map_err(refused)
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
