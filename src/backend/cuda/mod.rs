//! CUDA: hand-written kernels on an NVIDIA GPU, or on the emulator in its place.
//!
//! [`CudaBackend`]'s forward pass is GPT-2 in model order, over the launchers of [`kernels`]. Weights are packed on the device
//! ([`model`]), keys and values live there in pages, prompts run on tensor cores (`prefill`), and a decode step is one recorded
//! graph. Only [`driver`], `probe` and the launchers are unsafe. Tested in `tests/cuda/`, on the emulator.
//!
//! - [`probe`]: whether there is a device, and why not.
//! - [`driver`]: the driver API, as far as it is used here.
//! - [`images`]: the kernels' code, and which of it a device runs.
//! - [`kernels`]: one safe launcher per kernel.
//! - [`sample`]: drawing tokens on the device.

pub mod driver;
mod forward;
pub mod images;
pub mod kernels;
mod mapped;
pub mod model;
mod prefill;
mod probe;
pub mod sample;

pub use probe::probe;

use crate::{
    Config, Weights,
    backend::{BackendError, Progress, Result},
};
use driver::{Buffer, Gpu, Graph};
use forward::{RowsOnDevice, StepWords};
use kernels::{Activations, Dims, Kernels, Pages, planes_len};
use model::Model;
use prefill::Prefill;
use sample::Draws;
use std::collections::HashMap;

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
    step: Buffer<u32>,
    /// The step as the device has it.
    sent_step: Vec<u32>,
    /// The step that is being made.
    next_step: StepWords,
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
    draws: sample::Kind,
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
        let columns = kernels::COLUMN_COUNTS[2] as usize;
        let chunks = columns * config.attn.n_head * dims.max_chunks() as usize;
        let zeros = |len, what| gpu.zeros(len, what);
        Ok(Self {
            graphs: HashMap::new(),
            model,
            pages: Vec::new(),
            n_pages: 0,
            activations: Activations {
                residual: zeros(columns * config.n_embd, "activations")?,
                q: zeros(columns * config.n_embd, "activations")?,
                chunk_out: zeros(chunks * config.attn.head_dim, "activations")?,
                chunk_stats: zeros(chunks * 2, "activations")?,
                inner: zeros(columns * planes_len(config.mlp.n_inner), "activations")?,
            },
            prefill: Prefill::new(&gpu, &config, &dims)?,
            step: gpu.zeros(dims.step_len(), "the step")?,
            sent_step: vec![0; dims.step_len()],
            next_step: StepWords::new(&dims),
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
    let chunks = config.attn.n_head * dims.max_chunks() as usize * (config.attn.head_dim + 2);
    let column = 2 * config.n_embd + planes_len(config.mlp.n_inner) + chunks + config.n_vocab;
    let step = 4 * (kernels::COLUMN_COUNTS[2] as usize * column + dims.step_len());
    step + Prefill::n_bytes(config, dims) + sample::n_bytes(config.n_vocab)
}
