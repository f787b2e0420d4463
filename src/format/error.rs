//! Why a weights file was refused. Every text names the file, and the tensor where there is one.

use super::Shown;
use std::{io, path::PathBuf};

/// Why a weights file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, pipe, socket or device.
    #[error("{} is {found}, expected a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A folder without weights that can be read.
    #[error(
        "{} has no model.safetensors or model.safetensors.index.json, and no pytorch_model.bin or \
         pytorch_model.bin.index.json",
        folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A file in another format.
    #[error("{} is {found}, expected {expected}", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        found: &'static str,
        /// What its name says it is.
        expected: &'static str,
    },
    /// A text file, such as config.json, beyond any sensible size.
    #[error("{} has {found} bytes, the limit is {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file ends inside its header.
    #[error("{}: the header needs {needed} bytes, the file has {found}", path.display())]
    HeaderCut {
        /// The file.
        path: PathBuf,
        /// Bytes up to the end of the header.
        needed: u64,
        /// Size of the file.
        found: u64,
    },
    /// A header longer than any real one.
    #[error("{}: header length {found} exceeds the limit of {limit}", path.display())]
    HeaderTooLong {
        /// The file.
        path: PathBuf,
        /// The length it states.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The header is not what the format prescribes.
    #[error("{}: {message} at byte {offset}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// Where, in bytes from the start of the file.
        offset: u64,
    },
    /// A tensor's entry in the header contradicts itself.
    #[error("{}: tensor {} {message}", path.display(), Shown(name))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The directory of a PyTorch checkpoint cannot be read.
    #[error("{}: the zip archive is malformed: {message}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A record of a PyTorch checkpoint, which is one file of its archive, is not what it should be.
    #[error("{}: record {} {message}", path.display(), Shown(name))]
    Record {
        /// The file.
        path: PathBuf,
        /// The record.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("{} needs {needed} bytes, the file has {found}{}", path.display(), if found < needed { " (truncated download?)" } else { "" })]
    Size {
        /// The file.
        path: PathBuf,
        /// Size by its header.
        needed: u64,
        /// Size on disk.
        found: u64,
    },
    /// An index of shards is malformed.
    #[error("{}: {message}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Reading or copying into memory, and there is not enough of it.
    #[error("{}: no memory for {bytes} bytes", path.display())]
    NoMemory {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        bytes: u64,
    },
}
