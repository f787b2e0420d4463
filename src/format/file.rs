//! One weights file: opened without blocking, its header checked against its size, then mapped or read.
//!
//! The rule that the checks follow: the size of the *open* file must equal what the header says before the file is
//! mapped, so a map never reaches past the end of the file as it was at that moment. Tested in
//! `tests/malformed_weights/`.

use super::{FormatError, mapped::Registration, safetensors::Header};
use crate::memory;
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{Read, Seek},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The bytes of a weights file.
#[derive(Debug)]
pub enum Bytes {
    /// Mapped.
    Map(Mapped),
    /// Read into memory.
    Read(memmap2::Mmap),
    /// Compiled in.
    #[cfg_attr(not(feature = "bundled"), allow(dead_code))]
    Static(&'static [u8]),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Map(mapped) => &mapped.map,
            Self::Read(memory) => memory,
            Self::Static(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// The file, if it was written to since it was mapped. Replacing or deleting a file does not count: the map keeps
    /// the old one.
    pub fn changed(&self) -> Option<&Path> {
        let Self::Map(mapped) = self else { return None };
        (stamp(&mapped.file.metadata().ok()?) != mapped.stamp).then_some(&mapped.path)
    }
}

/// A mapped file, known to [`mapped::find`](super::mapped::find) while it lives.
#[derive(Debug)]
pub struct Mapped {
    // The registration goes before the map does: fields drop in this order.
    _registration: Registration,
    map: memmap2::Mmap,
    file: File,
    path: PathBuf,
    stamp: (u64, Option<SystemTime>),
}

fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// Opens the safetensors file at `path` and checks it; with `read` it is read into memory instead of mapped.
pub fn open(path: &Path, read: bool) -> Result<(Header, Bytes), FormatError> {
    let io = |source| FormatError::Io { path: path.into(), source };
    let mut file = open_regular(path)?;
    let metadata = file.metadata().map_err(io)?;
    let header = Header::read(&file, metadata.len(), path)?;
    if read {
        file.rewind().map_err(io)?;
        return Ok((header, read_all(file, metadata.len(), path)?));
    }
    // SAFETY: the map is read-only, and no Rust code writes to the file. Another process can: writing changes the
    // weights under us, which `Weights::changed_on_disk` detects, and truncating makes a later access end the process
    // with SIGBUS. The documentation of `Weights` states both, and `LoadOptions::read` avoids them.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    if map.len() as u64 != metadata.len() {
        return Err(FormatError::Size { path: path.into(), needed: metadata.len(), found: map.len() as u64 });
    }
    let registration = Registration::new(&map, path);
    let stamp = stamp(&metadata);
    Ok((header, Bytes::Map(Mapped { _registration: registration, map, file, path: path.into(), stamp })))
}

/// The whole of a small text file, such as config.json.
pub fn read_text(path: &Path) -> Result<Vec<u8>, FormatError> {
    const LIMIT: u64 = 16 << 20;
    let io = |source| FormatError::Io { path: path.into(), source };
    let file = open_regular(path)?;
    let found = file.metadata().map_err(io)?.len();
    if found > LIMIT {
        return Err(FormatError::TooLarge { path: path.into(), found, limit: LIMIT });
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).map_err(io)?;
    Ok(text)
}

/// Opens `path` if it is a regular file. Never blocks: a pipe without a writer or a device is refused by its type, which
/// is looked at before opening, and once more on the open file in case it was swapped in between.
fn open_regular(path: &Path) -> Result<File, FormatError> {
    let io = |source| FormatError::Io { path: path.into(), source };
    let refuse = |metadata: &Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(FormatError::NotAFile { path: path.into(), found: kind(metadata) }),
    };
    refuse(&path.metadata().map_err(io)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(io)?;
    refuse(&file.metadata().map_err(io)?)?;
    Ok(file)
}

fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if metadata.is_dir() { "a directory" } else { "not a file" }
}

fn read_all(mut file: File, len: u64, path: &Path) -> Result<Bytes, FormatError> {
    let no_memory = || FormatError::NoMemory { path: path.into(), bytes: len };
    let io = |source| FormatError::Io { path: path.into(), source };
    let len = usize::try_from(len).map_err(|_| no_memory())?;
    let mut memory = memory::zeroed(len).map_err(|_| no_memory())?;
    file.read_exact(&mut memory).map_err(io)?;
    Ok(Bytes::Read(memory.make_read_only().map_err(io)?))
}
