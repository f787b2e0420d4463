//! One file: opened without blocking, looked at, then mapped or read.
//!
//! A map has the size of the *open* file, so it never reaches past the end of the file as it was at that moment; what a file
//! says of itself is held against that size. Tested in `tests/malformed_weights/` and `tests/pytorch/`.

use super::{FormatError, mapped::Registration};
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
    /// In memory of our own: read, or copied from a file that stores it in another order or type.
    Read(memmap2::Mmap),
    /// Compiled in.
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

/// Opens the file at `path`, which `inspect` sees, with its size, before it is mapped; with `read` it is read into memory instead.
pub fn open<T>(
    path: &Path,
    read: bool,
    inspect: impl FnOnce(&File, u64) -> Result<T, FormatError>,
) -> Result<(T, Bytes), FormatError> {
    let io = |source| FormatError::Io { path: path.into(), source };
    let mut file = open_regular(path)?;
    let metadata = file.metadata().map_err(io)?;
    let inspected = inspect(&file, metadata.len())?;
    if read {
        file.rewind().map_err(io)?;
        return Ok((inspected, read_all(file, metadata.len(), path)?));
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
    Ok((inspected, Bytes::Map(Mapped { _registration: registration, map, file, path: path.into(), stamp })))
}

/// Most bytes of config.json, of an index of shards, or of a template.
const TEXT_MAX: u64 = 16 << 20;

/// Most bytes of a file of a tokenizer: twice the largest in use.
pub const TOKENIZER_MAX: u64 = 64 << 20;

/// The whole of a small text file, such as config.json.
pub fn read_text(path: &Path) -> Result<Vec<u8>, FormatError> {
    read_up_to(TEXT_MAX, path)
}

/// The whole of a file of at most `limit` bytes.
pub fn read_up_to(limit: u64, path: &Path) -> Result<Vec<u8>, FormatError> {
    let io = |source| FormatError::Io { path: path.into(), source };
    let file = open_regular(path)?;
    let found = file.metadata().map_err(io)?.len();
    if found > limit {
        return Err(FormatError::TooLarge { path: path.into(), found, limit });
    }
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text).map_err(io)?;
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
