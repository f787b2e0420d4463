//! CUDA: hand-written kernels on an NVIDIA GPU, or on the emulator in its place.
//!
//! [`CudaBackend`]'s forward pass is the model in order, over the launchers of [`kernels`]. Weights are packed on the device
//! ([`model`]), keys and values live there in pages, prompts run on tensor cores (`prefill`), and a decode step is one recorded
//! graph (`forward`). Unsafe are [`driver`], `probe`, the launchers, and `forward` where it runs a graph. Tested in `tests/cuda/`,
//! on the emulator.
//!
//! - [`probe`]: whether there is a device, and why not.
//! - [`driver`]: the driver API, as far as it is used here.
//! - [`images`]: the kernels' code, and which of it a device runs.
//! - [`kernels`]: one safe launcher per kernel.
//! - [`step`]: a decode step, as it is staged and as the device has it.
//! - [`sample`]: drawing tokens on the device.

pub mod driver;
mod forward;
pub mod images;
pub mod kernels;
pub mod model;
mod prefill;
mod probe;
pub mod sample;
pub mod step;

pub use probe::probe;

use crate::{
    Config, Weights,
    backend::{BackendError, Progress, Result},
};
use driver::{Gpu, Graph};
use forward::RowsOnDevice;
use kernels::{Activations, Dims, Kernels, Pages, sample::Sample};
use model::Model;
use prefill::Prefill;
use sample::Draws;
use std::collections::HashMap;
use step::StepMirror;

/// GPT-2 on a CUDA device: fp16 weights, everything else in fp32.
#[derive(Debug)]
pub struct CudaBackend {
    config: Config,
    // Fields are dropped in this order: graphs before what they use, the device last.
    graphs: HashMap<GraphKey, Graph>,
    kernels: Kernels,
    model: Model,
    pages: Vec<Pages>,
    /// Pages of the cache; none where the last one could not be made.
    n_pages: usize,
    activations: Activations,
    prefill: Prefill,
    step: StepMirror,
    logits: RowsOnDevice,
    draws: Draws,
    dims: Dims,
    gpu: Gpu,
    /// Graphs launched and copies made since the backend was opened.
    pub counts: Counts,
    /// The error that ended the device's work: it stays.
    lost: Option<String>,
}

/// What a graph was recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GraphKey {
    n_columns: u32,
    n_chunks: u32,
    has_rows: bool,
    draws: kernels::sample::Kind,
}

/// What was asked of the driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Graphs launched.
    pub graphs: usize,
    /// Graphs recorded.
    pub recorded: usize,
    /// Launches of the last graph recorded.
    pub nodes: usize,
    /// Small copies to the device: of the step, or of how to draw.
    pub uploads: usize,
    /// Copies of a table of biases and counts, once for a text that needs one.
    pub tables: usize,
}

impl CudaBackend {
    /// Puts `weights` on device number `ordinal`, calling `progress` with the bytes done and those in all.
    ///
    /// Fails where there is no such device, where its memory does not hold the model and a KV cache of `n_cache` tokens, or
    /// where the model's shape is beyond what the kernels support.
    pub fn open(ordinal: usize, weights: &Weights, n_cache: usize, progress: &mut Progress) -> Result<Self> {
        probe(ordinal).map_err(|reason| BackendError::NoCuda { reason })?;
        Self::open_on(Gpu::open(ordinal)?, weights, n_cache, progress)
    }

    /// [`open`](Self::open), on a device that is open.
    pub fn open_on(gpu: Gpu, weights: &Weights, n_cache: usize, progress: &mut Progress) -> Result<Self> {
        let config = weights.config.clone();
        let dims = Dims::new(&config)?;
        let needed = model::n_bytes(&config) + cache_bytes(&config, n_cache) + work_bytes(&config, &dims);
        let (free, _) = gpu.memory()?;
        if needed > free {
            let what = format!("the model with a KV cache of {n_cache} tokens");
            return Err(BackendError::DeviceMemory { what, needed, free });
        }
        let kernels = Kernels::load(&gpu, &dims)?;
        let model = Model::upload(&gpu, &kernels, weights, progress)?;
        Ok(Self {
            graphs: HashMap::new(),
            model,
            pages: Vec::new(),
            n_pages: 0,
            activations: Activations::new(&gpu, &dims)?,
            prefill: Prefill::new(&gpu, &dims)?,
            step: StepMirror::new(&gpu, dims.n_pages())?,
            logits: RowsOnDevice::new(&gpu, config.n_vocab)?,
            draws: Draws::new(&gpu, config.n_vocab)?,
            kernels,
            config,
            dims,
            gpu,
            counts: Counts::default(),
            lost: None,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}

/// Bytes of a KV cache of `n_tokens`.
fn cache_bytes(config: &Config, n_tokens: usize) -> usize {
    let n_pages = n_tokens.div_ceil(crate::cache::PAGE_LEN);
    2 * 4 * config.n_layer * n_pages * page_len(config)
}

/// Floats of a page's keys, in one layer.
fn page_len(config: &Config) -> usize {
    config.attn.n_head * crate::cache::PAGE_LEN * config.attn.head_dim.next_multiple_of(8)
}

/// Bytes of everything that steps and prompts use beside weights and cache.
fn work_bytes(config: &Config, dims: &Dims) -> usize {
    let logits = 4 * kernels::COLUMN_COUNTS[2] as usize * config.n_vocab;
    let step = StepMirror::n_bytes(dims.n_pages()) + Activations::n_bytes(dims) + logits;
    step + Prefill::n_bytes(dims) + Sample::n_bytes(config.n_vocab)
}
