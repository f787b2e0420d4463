//! One safe launcher for each kernel: it checks lengths, chooses the grid, and launches. The kernels' files say what is
//! computed; the constants come from them through `build.rs`. Here is what launchers share; [`Step`] has those of decode,
//! [`Prompt`] those of prefill, and `pack` those of loading.

mod pack;
mod plan;
mod prefill;
mod step;

pub use plan::Plan;
pub use prefill::{MAX_TOKENS, Prompt, PromptActivations};
pub use step::Step;

use prefill::PrefillKernels;

use super::{
    driver::{Arg, Buffer, Gpu, Kernel, Module},
    images::constants::{
        CHUNK_LEN, CHUNK_PAGES, LINEAR_MAX_WARPS, MAX_COLUMNS, MAX_HEAD_DIM, OCTET, PAGE_LEN, PLANE_GAP,
        SLICE_TILES, STEP_PAGES, TILE_K, TILE_ROWS,
    },
};
use crate::{
    Config,
    backend::{BackendError, Result},
    cache,
    config::Activation,
};

const _: () = assert!(PAGE_LEN as usize == cache::PAGE_LEN, "the kernels' pages are the cache's");

/// Numbers of columns that decode kernels are compiled for; fewer columns run in the next larger one.
pub const COLUMN_COUNTS: [u32; 3] = [1, 4, MAX_COLUMNS];

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
    pub fn len(n_rows: usize, n_cols: usize) -> usize {
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
pub fn padded(width: usize) -> usize {
    width.next_multiple_of(TILE_K as usize)
}

/// Floats of an activation that goes into a decode product, in planes.
pub fn planes_len(width: usize) -> usize {
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

/// What decode kernels leave for one another, for [`MAX_COLUMNS`] tokens.
#[derive(Debug)]
pub struct Activations {
    /// The residual stream, `[MAX_COLUMNS, C]`.
    pub residual: Buffer<f32>,
    /// Queries, `[MAX_COLUMNS, C]`.
    pub q: Buffer<f32>,
    /// Attention by chunks, `[MAX_COLUMNS, H, max_chunks, D]`.
    pub chunk_out: Buffer<f32>,
    /// Their maxima and sums, `[MAX_COLUMNS, H, max_chunks, 2]`.
    pub chunk_stats: Buffer<f32>,
    /// The MLP's inner values in planes, `[MAX_COLUMNS, planes_len(F)]`.
    pub inner: Buffer<f32>,
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
    pub fn max_chunks(&self) -> u32 {
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

    /// Words of a step.
    pub fn step_len(&self) -> usize {
        (STEP_PAGES + MAX_COLUMNS * self.n_pages) as usize
    }

    /// A head's floats in the cache.
    pub fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(OCTET) as usize
    }

    /// Floats of a normalised input.
    fn planes_len(&self) -> u32 {
        planes_len(self.n_embd as usize) as u32
    }
}

/// All kernels, with their code.
#[derive(Debug)]
pub struct Kernels {
    embed: Kernel,
    attention: Kernel,
    qkv: [Kernel; 3],
    merge: [Kernel; 3],
    fc: [Kernel; 3],
    add: [Kernel; 3],
    logits: [Kernel; 3],
    prefill: PrefillKernels,
    pack_transposed: [Kernel; 2],
    pack_rows: [Kernel; 2],
    /// Most columns whose inputs fit into a block's shared memory.
    max_columns: u32,
    modules: Vec<Module>,
}

impl Kernels {
    /// Loads them for models of shape `dims`.
    pub fn load(gpu: &Gpu, dims: &Dims) -> Result<Self> {
        let [embed, attention, linear, pack] = [
            gpu.load("embed")?,
            gpu.load("attention_decode")?,
            gpu.load("linear_decode")?,
            gpu.load("pack")?,
        ];
        let needs = |columns: &u32| 4 * dims.planes_len() * columns + 4 * 4 * columns * LINEAR_MAX_WARPS;
        let max_columns =
            COLUMN_COUNTS.into_iter().filter(|c| needs(c) <= gpu.max_shared).max().ok_or_else(|| {
                let expected = format!("what fits into {} bytes of shared memory", gpu.max_shared);
                BackendError::CudaModel { name: "n_embd", value: dims.n_embd as usize, expected }
            })?;
        let shared = |i: usize| needs(&COLUMN_COUNTS[i].min(max_columns));
        macro_rules! columns {
            ($name:literal) => {
                [
                    linear.kernel(concat!($name, "_1"), shared(0))?,
                    linear.kernel(concat!($name, "_4"), shared(1))?,
                    linear.kernel(concat!($name, "_8"), shared(2))?,
                ]
            };
        }
        let mut modules = Vec::new();
        let prefill = PrefillKernels::load(gpu, dims, &embed, &mut modules)?;
        let kernels = Self {
            embed: embed.kernel("embed_decode_f16", 0)?,
            attention: attention.kernel("attention_decode_f32", 0)?,
            qkv: columns!("linear_decode_qkv_f16"),
            merge: columns!("linear_decode_attn_out_f16"),
            fc: columns!("linear_decode_up_f16"),
            add: columns!("linear_decode_down_f16"),
            logits: columns!("linear_decode_logits_f16"),
            pack_transposed: [pack.kernel("pack_transposed_f16", 0)?, pack.kernel("pack_transposed_f32", 0)?],
            pack_rows: [pack.kernel("pack_rows_f16", 0)?, pack.kernel("pack_rows_f32", 0)?],
            prefill,
            max_columns,
            modules: Vec::new(),
        };
        modules.extend([embed, attention, linear, pack]);
        Ok(Self { modules, ..kernels })
    }

    /// Most columns of a step.
    pub fn max_columns(&self) -> usize {
        self.max_columns as usize
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
