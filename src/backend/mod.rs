//! The seam between the engine and a device: one forward call.
//!
//! [`cpu::CpuBackend`] is the fast path on any machine, [`naive::NaiveBackend`] its plain twin in float64. The
//! contract that all of them keep: a sequence's logits depend on its own tokens alone, to the bit, not on the rest of
//! the batch, on how the prompt was cut into calls, or on the number of threads (`tests/invariance/`).

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod naive;

use crate::{Config, Result, Weights, batch::Batch, cache::KvCache};
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

/// Where and how [`open`] puts a model.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The device.
    pub device: Device,
    /// Threads of the CPU; `None` takes one per core.
    pub threads: Option<usize>,
    /// Tokens that the KV cache will hold.
    pub n_cache: usize,
}

/// Puts `weights` on a device. `Device::Auto` takes CUDA device 0 if it can run the model, and the CPU else. `progress` is called
/// with the bytes that are on the device and those in all; its error ends the loading.
pub fn open(
    weights: Arc<Weights>,
    options: OpenOptions,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Box<dyn Backend>> {
    let cpu = |weights| Box::new(cpu::CpuBackend::new(weights, options.threads));
    match options.device {
        Device::Cpu => Ok(cpu(weights)),
        Device::Cuda(ordinal) => open_cuda(ordinal, &weights, options.n_cache, progress),
        Device::Auto => match cuda_device(0) {
            Ok(_) => open_cuda(0, &weights, options.n_cache, progress),
            Err(_) => Ok(cpu(weights)),
        },
    }
}

/// CUDA device `ordinal`, for people, if it can be used; else why not.
pub fn cuda_device(ordinal: usize) -> Result<String, String> {
    #[cfg(feature = "cuda")]
    return cuda::probe(ordinal);
    #[cfg(not(feature = "cuda"))]
    Err(format!("device {ordinal} was asked for, and this build has no CUDA backend (cargo feature `cuda`)"))
}

#[cfg(feature = "cuda")]
fn open_cuda(
    ordinal: usize,
    weights: &Weights,
    n_cache: usize,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Box<dyn Backend>> {
    Ok(Box::new(cuda::CudaBackend::open(ordinal, weights, n_cache, progress)?))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(
    ordinal: usize,
    _: &Weights,
    _: usize,
    _: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Box<dyn Backend>> {
    Err(crate::Error::NoCuda { reason: cuda_device(ordinal).err().unwrap_or_default() })
}

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

/// The logits of one forward call, `[n_rows, V]` f32, on the device until somebody asks.
#[derive(Debug)]
pub struct Logits<'a> {
    rows: LogitRows<'a>,
}

#[derive(Debug)]
enum LogitRows<'a> {
    Host {
        values: &'a [f32],
        n_vocab: usize,
    },
    #[cfg(feature = "cuda")]
    Device(&'a cuda::DeviceLogits),
}

impl<'a> Logits<'a> {
    /// Logits that are in host memory: `[n_rows, V]`, row after row.
    pub fn from_host(values: &'a [f32], n_vocab: usize) -> Self {
        assert_eq!(values.len() % n_vocab, 0, "logits are whole rows");
        Self { rows: LogitRows::Host { values, n_vocab } }
    }

    /// Logits that are on a CUDA device.
    #[cfg(feature = "cuda")]
    pub fn on_device(logits: &'a cuda::DeviceLogits) -> Self {
        Self { rows: LogitRows::Device(logits) }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self.rows {
            LogitRows::Host { values, n_vocab } => values.len() / n_vocab,
            #[cfg(feature = "cuda")]
            LogitRows::Device(logits) => logits.n_rows(),
        }
    }

    /// Row `row`, `[V]`. Where the logits are on a device, the first call waits for it and copies all rows.
    pub fn row(&self, row: usize) -> Result<&'a [f32]> {
        match self.rows {
            LogitRows::Host { values, n_vocab } => Ok(&values[row * n_vocab..][..n_vocab]),
            #[cfg(feature = "cuda")]
            LogitRows::Device(logits) => logits.row(row),
        }
    }

    /// The token that the backend drew from row `row`, where [`Batch::draw`] asked it to; waits for the device. None where it
    /// cannot: the caller draws from [`row`](Self::row) then, and gets the same.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub fn token(&self, row: usize) -> Result<Option<u32>> {
        match self.rows {
            LogitRows::Host { .. } => Ok(None),
            #[cfg(feature = "cuda")]
            LogitRows::Device(logits) => logits.token(row),
        }
    }
}
