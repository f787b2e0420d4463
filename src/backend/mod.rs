//! The seam between the engine and a device: one forward call.
//!
//! [`cpu::CpuBackend`] is the fast path on any machine, [`naive::NaiveBackend`] its plain twin in float64; [`open`] chooses
//! one. The contract that all of them keep: a sequence's logits depend on its own tokens alone, to the bit, not on the rest
//! of the batch, on how the prompt was cut into calls, or on the number of threads (`tests/invariance/`).

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod error;
pub mod naive;

pub use device::{Device, OpenOptions, Progress, cuda_device, open};
pub use error::BackendError;

use crate::{Config, batch::Batch, cache::KvCache};
use std::fmt;

/// Shorthand for results with [`BackendError`].
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

/// A device that runs the model.
pub trait Backend: Send {
    /// What runs, for people: "CPU (AVX-512, 2 threads)".
    fn name(&self) -> String;

    /// The model that runs.
    fn config(&self) -> &Config;

    /// Bytes a second that the device's memory gives by its clock and width; `None` where that must be measured.
    fn peak_bandwidth(&self) -> Option<f64> {
        None
    }

    /// Makes a KV cache of at least `n_tokens` positions, replacing the memory of an earlier one.
    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache>;

    /// Processes every token of `batch`, each appended to its sequence, and leaves one row of logits, `[V]` f32, for
    /// each position that asked for one. After an error the cache is as it was.
    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>>;
}

/// Rows of logits that stay on a device until somebody asks.
pub trait DeviceLogits: fmt::Debug {
    /// Number of rows.
    fn n_rows(&self) -> usize;

    /// Row `row`, `[V]`. The first call waits for the device and copies all rows.
    fn row(&self, row: usize) -> Result<&[f32]>;

    /// The token that the device drew from row `row`; `None` where the host is to draw.
    fn token(&self, row: usize) -> Result<Option<u32>>;
}

/// The logits of one forward call, `[n_rows, V]` f32, on the device until somebody asks.
#[derive(Debug)]
pub struct Logits<'a> {
    rows: LogitRows<'a>,
}

#[derive(Debug)]
enum LogitRows<'a> {
    Host { values: &'a [f32], n_vocab: usize },
    Device(&'a dyn DeviceLogits),
}

impl<'a> Logits<'a> {
    /// Logits that are in host memory: `[n_rows, V]`, row after row.
    pub fn from_host(values: &'a [f32], n_vocab: usize) -> Self {
        assert_eq!(values.len() % n_vocab, 0, "logits are whole rows");
        Self { rows: LogitRows::Host { values, n_vocab } }
    }

    /// Logits that are on a device.
    pub fn on_device(logits: &'a dyn DeviceLogits) -> Self {
        Self { rows: LogitRows::Device(logits) }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self.rows {
            LogitRows::Host { values, n_vocab } => values.len() / n_vocab,
            LogitRows::Device(logits) => logits.n_rows(),
        }
    }

    /// Row `row`, `[V]`. Where the logits are on a device, the first call waits for it and copies all rows.
    pub fn row(&self, row: usize) -> Result<&'a [f32]> {
        match self.rows {
            LogitRows::Host { values, n_vocab } => Ok(&values[row * n_vocab..][..n_vocab]),
            LogitRows::Device(logits) => logits.row(row),
        }
    }

    /// The token that the backend drew from row `row`, where [`Batch::draw`] asked it to; waits for the device. None where it
    /// cannot: the caller draws from [`row`](Self::row) then, and gets the same.
    pub fn token(&self, row: usize) -> Result<Option<u32>> {
        match self.rows {
            LogitRows::Host { .. } => Ok(None),
            LogitRows::Device(logits) => logits.token(row),
        }
    }
}
