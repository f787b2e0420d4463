//! One safe launcher for each kernel, in a file named as the kernel's: it checks lengths, chooses the grid, and launches. The
//! kernels' files say what is computed; the constants come from `kernels/layout.h` through `build.rs`. Beside each launcher stands
//! its traffic, which `tests/cuda/traffic.rs` holds the emulator's counts to. Here is what launchers share.
//!
//! - [`Step`]: launchers of decode. [`Prompt`]: those of prefill, of the tokens of a [`Plan`].
//! - `pack`: those of loading, methods of [`Kernels`].
//! - [`sample`]: those that draw tokens.

pub mod attention_decode;
pub mod attention_prefill;
pub mod embed;
pub mod layernorm_prefill;
pub mod linear_decode;
pub mod linear_prefill;
mod linear_prefill_narrow;
pub mod pack;
mod plan;
mod prompt;
pub mod sample;
mod step;

pub use plan::{MAX_TOKENS, Plan};
pub use prompt::{Prompt, PromptActivations};
pub use step::{Activations, Step, step_len};

use super::{
    driver::{Arg, Buffer, Gpu, Kernel, Module},
    images::constants::{
        CHUNK_LEN, CHUNK_PAGES, LINEAR_MAX_WARPS, MAX_COLUMNS, MAX_HEAD_DIM, OCTET, PAGE_LEN, PLANE_GAP,
        SLICE_TILES, TILE_K, TILE_ROWS,
    },
};
use crate::{
    Config,
    backend::{BackendError, Result},
    cache,
    config::Activation,
};
use attention_prefill::AttentionPrefill;
use embed::EmbedKernels;
use linear_decode::LinearDecode;
use linear_prefill::Wide;
use linear_prefill_narrow::Narrow;
use pack::PackKernels;

const _: () = assert!(PAGE_LEN as usize == cache::PAGE_LEN, "the kernels' pages are the cache's");

/// Numbers of columns that decode kernels are compiled for; fewer columns run in the next larger one.
pub const COLUMN_COUNTS: [u32; 3] = [1, 4, MAX_COLUMNS];

/// Distinct bytes of device memory that a launch touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that are read.
    pub read: usize,
    /// Bytes that are written.
    pub written: usize,
}

impl Traffic {
    /// Both.
    pub const fn n_bytes(self) -> usize {
        self.read + self.written
    }
}

/// A matrix in the order of `kernels/layout.h`.
#[derive(Debug)]
pub struct Packed {
    /// fp16, in tiles.
    pub pieces: Buffer<u16>,
    /// Outputs.
    pub n_rows: usize,
    /// Inputs.
    pub n_cols: usize,
}

impl Packed {
    /// Elements of a matrix `[n_rows, n_cols]`, with padding.
    pub const fn len(n_rows: usize, n_cols: usize) -> usize {
        n_rows.next_multiple_of(TILE_ROWS as usize) * n_cols.next_multiple_of(TILE_K as usize)
    }

    fn n_tiles(&self) -> u32 {
        self.n_cols.div_ceil(TILE_K as usize) as u32
    }

    fn n_slices(&self) -> u32 {
        self.n_tiles().div_ceil(SLICE_TILES)
    }

    fn args(&self) -> [Arg; 4] {
        [(&self.pieces).into(), (self.n_rows as u32).into(), self.n_tiles().into(), self.n_slices().into()]
    }
}

/// Floats of an activation that goes into a product: whole tiles.
pub const fn padded(width: usize) -> usize {
    width.next_multiple_of(TILE_K as usize)
}

/// Floats of an activation that goes into a decode product, in planes.
pub const fn planes_len(width: usize) -> usize {
    2 * 4 * (padded(width) / OCTET as usize + PLANE_GAP as usize)
}

/// Gain and shift, `[C]` each.
#[derive(Debug)]
pub struct Norm {
    /// What the normal values are multiplied by.
    pub gain: Buffer<f32>,
    /// What is added to them.
    pub shift: Buffer<f32>,
}

/// A matrix and its bias.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Packed,
    /// `[out]`.
    pub bias: Buffer<f32>,
}

/// One layer's part of the KV cache: `[pages, H, PAGE_LEN, padded D]` each.
#[derive(Debug)]
pub struct Pages {
    /// Keys.
    pub keys: Buffer<f32>,
    /// Values.
    pub values: Buffer<f32>,
}

/// The model's shape, as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    n_embd: u32,
    n_head: u32,
    head_dim: u32,
    n_inner: u32,
    /// Entries of a page table.
    n_pages: u32,
    activation: u32,
    eps: f32,
}

impl Dims {
    /// Of a model that the kernels can run; others are refused, by name.
    pub fn new(config: &Config) -> Result<Self> {
        let limit = |name, value: usize, max: u32| match value <= max as usize {
            true => Ok(value as u32),
            false => Err(BackendError::CudaModel { name, value, expected: format!("at most {max}") }),
        };
        let max_inner = SLICE_TILES * TILE_K * LINEAR_MAX_WARPS;
        if !config.n_embd.is_multiple_of(OCTET as usize) {
            let expected = format!("a multiple of {OCTET}");
            return Err(BackendError::CudaModel { name: "n_embd", value: config.n_embd, expected });
        }
        use super::images::constants as c;
        Ok(Self {
            n_embd: limit("n_embd", config.n_embd, max_inner)?,
            n_head: config.attn.n_head as u32,
            head_dim: limit("head_dim (n_embd / n_head)", config.attn.head_dim, MAX_HEAD_DIM)?,
            n_inner: limit("n_inner", config.mlp.n_inner, max_inner)?,
            n_pages: config.n_ctx.div_ceil(cache::PAGE_LEN) as u32,
            activation: match config.mlp.activation {
                Activation::GeluTanh => c::ACTIVATION_GELU_TANH,
                Activation::GeluErf => c::ACTIVATION_GELU_ERF,
                Activation::Relu => c::ACTIVATION_RELU,
            },
            eps: config.norm.eps,
        })
    }

    /// Chunks of a whole context.
    pub const fn max_chunks(&self) -> u32 {
        self.n_pages.div_ceil(CHUNK_PAGES)
    }

    /// Chunks of `n` positions.
    pub fn n_chunks(n: usize) -> u32 {
        n.div_ceil(CHUNK_LEN as usize) as u32
    }

    /// Entries of a page table.
    pub fn n_pages(&self) -> usize {
        self.n_pages as usize
    }

    /// A head's floats in the cache.
    pub const fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(OCTET) as usize
    }

    /// Bytes of a column's partial softmaxes over `n_keys`.
    const fn chunk_bytes(&self, n_keys: usize) -> usize {
        n_keys.div_ceil(CHUNK_LEN as usize) * self.n_head as usize * 4 * (self.head_dim as usize + 2)
    }
}

/// All kernels of the model, with their code.
#[derive(Debug)]
pub struct Kernels {
    embed: EmbedKernels,
    attention_decode: Kernel,
    linear_decode: LinearDecode,
    layernorm_prefill: Kernel,
    linear_prefill: Wide,
    linear_prefill_narrow: Narrow,
    attention_prefill: AttentionPrefill,
    pack: PackKernels,
    modules: Vec<Module>,
}

impl Kernels {
    /// Loads them for models of shape `dims`.
    pub fn load(gpu: &Gpu, dims: &Dims) -> Result<Self> {
        let mut modules = vec![gpu.load("attention_decode")?, gpu.load("layernorm_prefill")?];
        Ok(Self {
            embed: EmbedKernels::load(gpu, &mut modules)?,
            attention_decode: modules[0].kernel("attention_decode_f32", 0)?,
            linear_decode: LinearDecode::load(gpu, dims, &mut modules)?,
            layernorm_prefill: modules[1].kernel("layernorm_prefill_f32", 0)?,
            linear_prefill: Wide::load(gpu, &mut modules)?,
            linear_prefill_narrow: Narrow::load(gpu, dims, &mut modules)?,
            attention_prefill: AttentionPrefill::load(gpu, dims, &mut modules)?,
            pack: PackKernels::load(gpu, &mut modules)?,
            modules,
        })
    }

    /// Most columns of a step.
    pub fn max_columns(&self) -> usize {
        self.linear_decode.max_columns as usize
    }

    /// The code that runs, for people: "sm_90" or "PTX sm_80".
    pub fn image_name(&self) -> String {
        let image = self.modules.iter().map(Module::image).max_by_key(|i| i.arch).expect("there are modules");
        format!("{}sm_{}", if image.is_ptx { "PTX for " } else { "" }, image.arch)
    }
}

fn check(name: &str, matrix: &Packed, n_rows: u32, n_cols: u32) {
    let expected = (n_rows as usize, n_cols as usize);
    assert_eq!((matrix.n_rows, matrix.n_cols), expected, "{name} has another shape than config.json says");
}
