//! The seam between the engine and a device: one forward call.
//!
//! [`cpu::CpuBackend`] is the fast path on any machine, [`cpu::naive::NaiveBackend`] its plain twin in float64. The
//! contract that all of them keep: a sequence's logits depend on its own tokens alone, to the bit, not on the rest of
//! the batch, on how the prompt was cut into calls, or on the number of threads (`tests/invariance/`).

pub mod cpu;

use crate::{Config, Error, Result, Weights, batch::Batch, cache::KvCache};
use std::{str::FromStr, sync::Arc};

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The best there is.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().map(Self::Cuda).map_err(|_| format!("{n:?} is not a device number"));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:") {
                Some(n) => number(n),
                None => Err(format!("{text:?} is not a device: expected auto, cpu, cuda or cuda:N")),
            },
        }
    }
}

/// Puts `weights` on `device`. `threads` is for the CPU; `None` takes one per core.
pub fn open(device: Device, weights: Arc<Weights>, threads: Option<usize>) -> Result<Box<dyn Backend>> {
    match device {
        Device::Auto | Device::Cpu => Ok(Box::new(cpu::CpuBackend::new(weights, threads))),
        Device::Cuda(_) => Err(Error::NoCuda { reason: "this build has no CUDA backend yet".into() }),
    }
}

/// A device that runs the model.
pub trait Backend: Send {
    /// What runs, for people: "CPU (AVX-512, 2 threads)".
    fn name(&self) -> String;

    /// The model that runs.
    fn config(&self) -> &Config;

    /// Makes a KV cache of at least `n_tokens` positions, replacing the memory of an earlier one.
    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache>;

    /// Processes every token of `batch`, each appended to its sequence, and leaves one row of logits, `[V]` f32, for
    /// each position that asked for one. After an error the cache is as it was.
    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>>;
}

/// The logits of one forward call, `[n_rows, V]` f32, on the device until somebody asks.
#[derive(Debug)]
pub struct Logits<'a> {
    values: &'a [f32],
    n_vocab: usize,
}

impl<'a> Logits<'a> {
    /// Logits that are in host memory: `[n_rows, V]`, row after row.
    pub fn from_host(values: &'a [f32], n_vocab: usize) -> Self {
        assert_eq!(values.len() % n_vocab, 0, "logits are whole rows");
        Self { values, n_vocab }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.n_vocab
    }

    /// Row `row`, `[V]`.
    pub fn row(&self, row: usize) -> Result<&'a [f32]> {
        Ok(&self.values[row * self.n_vocab..][..self.n_vocab])
    }
}
