//! Why a weights file was refused. Every text names the file, and the tensor where there is one.

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
    #[error("{} has no model.safetensors or model.safetensors.index.json{hint}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What to do, where the folder holds weights in another format.
        hint: &'static str,
    },
    /// A file in another format.
    #[error("{} is {found}, not safetensors weights", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        found: &'static str,
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
    #[error("{}: tensor {name} {message}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
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
    /// model.safetensors.index.json is malformed.
    #[error("{}: {message}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Reading into memory, and there is not enough of it.
    #[error("{}: no memory for {bytes} bytes", path.display())]
    NoMemory {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}
