//! Why a device cannot run a model, or a forward call failed.

use crate::{cache::CacheError, sampler::SamplingError};

/// Why a device cannot run a model, or a forward call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The batch does not fit the cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A token cannot be drawn on the device.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A CUDA device was asked for and cannot be had.
    #[error("no CUDA device: {reason}; use --device cpu")]
    NoCuda {
        /// Why.
        reason: String,
    },
    /// A model whose shape the CUDA kernels do not support.
    #[error("the CUDA backend does not support {name} {value}: expected {expected}; use --device cpu")]
    CudaModel {
        /// The field of config.json.
        name: &'static str,
        /// What it is.
        value: usize,
        /// What the kernels support.
        expected: String,
    },
    /// The device's memory does not hold something. That passes: the call can be made again.
    #[error(
        "not enough memory on the CUDA device: {what} needs {} MiB, {} MiB are free",
        needed.div_ceil(1 << 20), free >> 20
    )]
    DeviceMemory {
        /// What it does not hold.
        what: String,
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// This machine's memory does not hold something: the system refuses it.
    #[error("not enough memory for {what}: {needed} bytes are needed")]
    HostMemory {
        /// What it does not hold.
        what: String,
        /// Bytes that are needed.
        needed: usize,
    },
    /// A call of the driver failed.
    #[error("CUDA: {what} failed: {error}")]
    Cuda {
        /// What was being done.
        what: String,
        /// The driver's name of the error, and its text.
        error: String,
        /// Whether memory ran out, which passes; most other errors stay until the process ends.
        out_of_memory: bool,
    },
    /// An earlier error ended the device's work.
    #[error("the device is lost since an earlier error: {error}")]
    DeviceLost {
        /// That error.
        error: String,
    },
    /// A KV cache whose memory the backend does not have: another took its place.
    #[error("a KV cache of {found} pages, expected the last one that the backend made, of {expected}")]
    OtherCache {
        /// Pages that it has.
        found: usize,
        /// Pages that the backend has.
        expected: usize,
    },
    /// Whoever heard of the progress asked to stop.
    #[error("the loading was cancelled")]
    Cancelled,
}

impl BackendError {
    /// Whether the device is lost with it: nothing can run on it any more in this process.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::DeviceLost { .. } | Self::Cuda { out_of_memory: false, .. })
    }

    /// Whether memory was too small: nothing has changed, and the call can be made again.
    pub fn is_out_of_memory(&self) -> bool {
        let is_host = matches!(self, Self::HostMemory { .. });
        is_host || matches!(self, Self::DeviceMemory { .. } | Self::Cuda { out_of_memory: true, .. })
    }
}
