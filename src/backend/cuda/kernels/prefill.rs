//! Launchers of the prefill kernels: up to MAX_PREFILL tokens of prompts, on tensor cores.

use super::{
    super::{
        driver::{Buffer, Gpu, Kernel, Module, Shape},
        images::constants::{
            ATTENTION_STEP_BYTES, BLOCK_TOKENS, EMBED_THREADS, LAYERNORM_ROWS, MAX_PREFILL, NARROW_ROWS,
            NARROW_TILE_BYTES, NARROW_WARPS, STAGE_TOKENS, STAGES_SM75, STAGES_SM80, SUM_TILES, TILE_K,
            TILE_THREADS, WARP,
        },
    },
    Activations, Dims, Kernels, Linear, Norm, Packed, Pages, Plan, Step, check, padded,
};
use crate::{Config, backend::Result};

/// Most tokens of one prompt pass.
pub const MAX_TOKENS: usize = MAX_PREFILL as usize;

/// Head widths that attention is compiled for; others run in the next larger one.
const HEAD_DIMS: [u32; 4] = [32, 64, 96, 128];

/// The kernels, with their code.
#[derive(Debug)]
pub(super) struct PrefillKernels {
    embed: Kernel,
    gather: Kernel,
    layernorm: Kernel,
    /// For many tokens: by [`WIDE_ROWS`].
    wide: [Products; 2],
    /// For few: by [`NARROW_TOKENS`].
    narrow: [Products; 3],
    attention: Kernel,
    /// Shared memory of the wide products' blocks, and of attention's.
    wide_shared: [u32; 2],
    attention_shared: u32,
}

/// The three products of one size of block.
#[derive(Debug)]
struct Products {
    qkv: Kernel,
    fc: Kernel,
    add: Kernel,
}

/// Outputs of a block of the wide products. The larger block reads less for each of its sums.
const WIDE_ROWS: [u32; 2] = [64, 128];

/// Tokens of a block of the narrow products.
const NARROW_TOKENS: [u32; 3] = [8, 16, 32];

/// Most tokens for which the narrow products are used: with more, reading the weights once for 64 tokens wins.
const MAX_NARROW: u32 = 64;

impl PrefillKernels {
    /// For models of shape `dims`; puts their modules into `modules`.
    pub fn load(gpu: &Gpu, dims: &Dims, embed: &Module, modules: &mut Vec<Module>) -> Result<Self> {
        let [layernorm, wide, narrow, attention] = [
            gpu.load("layernorm_prefill")?,
            gpu.load("linear_prefill")?,
            gpu.load("linear_prefill_narrow")?,
            gpu.load("attention_prefill")?,
        ];
        let max_inputs = dims.n_embd.max(dims.n_inner);
        macro_rules! products {
            ($module:ident, $suffix:literal, $shared:expr) => {
                Products {
                    qkv: $module.kernel(concat!("linear_prefill_qkv_f16", $suffix), $shared)?,
                    fc: $module.kernel(concat!("linear_prefill_up_f16", $suffix), $shared)?,
                    add: $module.kernel(concat!("linear_prefill_add_f16", $suffix), $shared)?,
                }
            };
        }
        let n_stages = if wide.image().arch >= 80 { STAGES_SM80 } else { STAGES_SM75 };
        let wide_shared = WIDE_ROWS.map(|rows| n_stages * (2 * TILE_K * rows + STAGE_TOKENS));
        let narrow_shared =
            NARROW_TOKENS.map(|tokens| Narrow::of(max_inputs, tokens).shared.min(gpu.max_shared));
        let head_dim = HEAD_DIMS.into_iter().find(|&d| d >= dims.head_dim);
        let head_dim = head_dim.expect("Dims::new has refused what is wider");
        let name = match head_dim {
            32 => "attention_prefill_f32_32",
            64 => "attention_prefill_f32_64",
            96 => "attention_prefill_f32_96",
            _ => "attention_prefill_f32_128",
        };
        let attention_shared = head_dim / 16 * ATTENTION_STEP_BYTES;
        let kernels = Self {
            embed: embed.kernel("embed_prefill_f16", 0)?,
            gather: embed.kernel("gather_prefill_f32", 0)?,
            layernorm: layernorm.kernel("layernorm_prefill_f32", 0)?,
            wide: [products!(wide, "_64", wide_shared[0]), products!(wide, "_128", wide_shared[1])],
            narrow: [
                products!(narrow, "_8", narrow_shared[0]),
                products!(narrow, "_16", narrow_shared[1]),
                products!(narrow, "_32", narrow_shared[2]),
            ],
            attention: attention.kernel(name, attention_shared)?,
            wide_shared,
            attention_shared,
        };
        modules.extend([layernorm, wide, narrow, attention]);
        Ok(kernels)
    }
}

/// How a narrow product runs.
struct Narrow {
    warps: u32,
    shared: u32,
}

impl Narrow {
    /// Of a matrix of `n_cols` inputs, for blocks of `tokens`.
    fn of(n_cols: u32, tokens: u32) -> Self {
        let n_slices = n_cols.div_ceil(TILE_K).div_ceil(SUM_TILES);
        // As many slices for each warp.
        let warps = n_slices.div_ceil(n_slices.div_ceil(NARROW_WARPS));
        Self { warps, shared: warps * NARROW_TILE_BYTES + 4 * NARROW_ROWS * (tokens + 2) * n_slices }
    }
}

/// What prefill kernels leave for one another, for [`MAX_TOKENS`] tokens.
#[derive(Debug)]
pub struct PromptActivations {
    /// The residual stream, `[MAX_TOKENS, C]`.
    pub residual: Buffer<f32>,
    /// Queries, `[MAX_TOKENS, C]`.
    pub q: Buffer<f32>,
    /// The normalised residual, then attention's output: `[2, MAX_TOKENS, padded C]` halves.
    pub h: Buffer<u16>,
    /// The MLP's inner values, `[2, MAX_TOKENS, padded F]` halves.
    pub inner: Buffer<u16>,
}

impl PromptActivations {
    /// All zero: the padding stays so.
    pub fn new(gpu: &Gpu, config: &Config) -> Result<Self> {
        let what = "activations of prompts";
        Ok(Self {
            residual: gpu.zeros(MAX_TOKENS * config.n_embd, what)?,
            q: gpu.zeros(MAX_TOKENS * config.n_embd, what)?,
            h: gpu.zeros(2 * MAX_TOKENS * padded(config.n_embd), what)?,
            inner: gpu.zeros(2 * MAX_TOKENS * padded(config.mlp.n_inner), what)?,
        })
    }

    /// Their bytes.
    pub fn n_bytes(config: &Config) -> usize {
        MAX_TOKENS * (2 * 4 * config.n_embd + 4 * padded(config.n_embd) + 4 * padded(config.mlp.n_inner))
    }
}

/// Prompts on their way through the layers: the device, the kernels, and what every launch needs to know.
#[derive(Clone, Copy)]
pub struct Prompt<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Its kernels.
    pub kernels: &'a Kernels,
    /// The model's shape.
    pub dims: &'a Dims,
    /// What the tokens are, of which there is at least one.
    pub plan: &'a Plan,
    /// The plan's words, on the device.
    pub on_device: &'a Buffer<u32>,
}

impl Prompt<'_> {
    /// `residual[t] = wte[token[t]] + wpe[position[t]]`.
    pub fn embed(&self, act: &mut PromptActivations, wte: &Packed, wpe: &Buffer<u16>) -> Result<()> {
        let shape = Shape { grid: [self.n_tokens(), 1, 1], block: EMBED_THREADS, shared: 0, overlaps: false };
        let args = [
            (&mut act.residual).into(),
            (&wte.pieces).into(),
            wpe.into(),
            self.on_device.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow embed_prefill_f16 in kernels/embed.cu. It touches n_tokens rows of the
        // residual, which has MAX_TOKENS, and the rows of tokens and positions that `KvCache::append` has checked.
        unsafe { self.gpu.launch(&self.kernels.prefill.embed, shape, &args) }
    }

    /// `h = norm(residual)`.
    pub fn layernorm(&self, act: &mut PromptActivations, norm: &Norm) -> Result<()> {
        let grid = [self.n_tokens().div_ceil(LAYERNORM_ROWS), 1, 1];
        let shape = Shape { grid, block: WARP * LAYERNORM_ROWS, shared: 0, overlaps: true };
        let args = [
            (&mut act.h).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            self.n_tokens().into(),
            self.dims.n_embd.into(),
            (padded(self.dims.n_embd as usize) as u32).into(),
            self.dims.eps.into(),
        ];
        // SAFETY: order and types follow kernels/layernorm_prefill.cu. It touches n_tokens rows of the residual and of both
        // planes of `h`, which have MAX_TOKENS, and C elements of gain and shift.
        unsafe { self.gpu.launch(&self.kernels.prefill.layernorm, shape, &args) }
    }

    /// `q`, and the cache's new rows, from `c_attn(h)`.
    pub fn qkv(&self, act: &mut PromptActivations, pages: &mut Pages, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("c_attn", &linear.weight, 3 * dims.n_embd, dims.n_embd);
        let (products, shape) = self.product(&linear.weight);
        let [packed, n_rows, n_tiles, _] = linear.weight.args();
        let args = [
            (&mut act.q).into(),
            (&mut pages.keys).into(),
            (&mut pages.values).into(),
            (&act.h).into(),
            packed,
            n_rows,
            n_tiles,
            (&linear.bias).into(),
            self.on_device.into(),
            self.n_tokens().into(),
            dims.n_head.into(),
            dims.head_dim.into(),
        ];
        // SAFETY: order and types follow linear_prefill_qkv_f16 in kernels/linear_prefill.cu. The matrix has the shape that
        // was checked above, the plan's slots are of pages of this cache, and `act` has room for MAX_TOKENS tokens.
        unsafe { self.gpu.launch(&products.qkv, shape, &args) }
    }

    /// `h` = attention of every token.
    pub fn attention(&self, act: &mut PromptActivations, pages: &Pages, scale: f32) -> Result<()> {
        let dims = self.dims;
        let kernels = &self.kernels.prefill;
        let grid = [self.plan.n_tiles() as u32, dims.n_head, 1];
        let shape = Shape { grid, block: TILE_THREADS, shared: kernels.attention_shared, overlaps: true };
        let args = [
            (&mut act.h).into(),
            (&act.q).into(),
            (&pages.keys).into(),
            (&pages.values).into(),
            self.on_device.into(),
            dims.head_dim.into(),
            (padded(dims.n_embd as usize) as u32).into(),
            (scale * std::f32::consts::LOG2_E).into(),
        ];
        // SAFETY: order and types follow kernels/attention_prefill.cu. A tile's tokens are of the plan, and its page table
        // holds pages of this cache up to its last token's.
        unsafe { self.gpu.launch(&kernels.attention, shape, &args) }
    }

    /// `residual += c_proj(h)`, attention's.
    pub fn attn_c_proj(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        check("attn.c_proj", &linear.weight, self.dims.n_embd, self.dims.n_embd);
        self.add(&mut act.residual, &act.h, linear)
    }

    /// `inner = activation(c_fc(h))`.
    pub fn c_fc(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("c_fc", &linear.weight, dims.n_inner, dims.n_embd);
        let (products, shape) = self.product(&linear.weight);
        let [packed, n_rows, n_tiles, _] = linear.weight.args();
        let args = [
            (&mut act.inner).into(),
            (&act.h).into(),
            packed,
            n_rows,
            n_tiles,
            (&linear.bias).into(),
            self.n_tokens().into(),
            (padded(dims.n_inner as usize) as u32).into(),
            dims.activation.into(),
        ];
        // SAFETY: order and types follow linear_prefill_up_f16; sizes as above.
        unsafe { self.gpu.launch(&products.fc, shape, &args) }
    }

    /// `residual += c_proj(inner)`, the MLP's.
    pub fn mlp_c_proj(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        check("mlp.c_proj", &linear.weight, self.dims.n_embd, self.dims.n_inner);
        self.add(&mut act.residual, &act.inner, linear)
    }

    fn add(&self, residual: &mut Buffer<f32>, x: &Buffer<u16>, linear: &Linear) -> Result<()> {
        let (products, shape) = self.product(&linear.weight);
        let [packed, n_rows, n_tiles, _] = linear.weight.args();
        let args = [
            residual.into(),
            x.into(),
            packed,
            n_rows,
            n_tiles,
            (&linear.bias).into(),
            self.n_tokens().into(),
        ];
        // SAFETY: order and types follow linear_prefill_add_f16; sizes were checked by the two callers.
        unsafe { self.gpu.launch(&products.add, shape, &args) }
    }

    fn n_tokens(&self) -> u32 {
        self.plan.n_tokens() as u32
    }

    /// The kernels for a product of this many tokens, and their launch. All give the same bits.
    fn product(&self, weight: &Packed) -> (&Products, Shape) {
        let (kernels, n_tokens, n_rows) = (&self.kernels.prefill, self.n_tokens(), weight.n_rows as u32);
        let shape = |[tokens, rows]: [u32; 2], block, shared| {
            let grid = [n_tokens.div_ceil(tokens), n_rows.div_ceil(rows), 1];
            Shape { grid, block, shared, overlaps: true }
        };
        if n_tokens > MAX_NARROW {
            let blocks = n_tokens.div_ceil(BLOCK_TOKENS) * n_rows.div_ceil(WIDE_ROWS[1]);
            let i = usize::from(blocks >= self.gpu.n_sms);
            let block = [BLOCK_TOKENS, WIDE_ROWS[i]];
            return (&kernels.wide[i], shape(block, 2 * WIDE_ROWS[i], kernels.wide_shared[i]));
        }
        let of = |i: usize| Narrow::of(weight.n_cols as u32, NARROW_TOKENS[i]);
        let mut i = NARROW_TOKENS.iter().position(|&tokens| tokens >= n_tokens).unwrap_or(2);
        while i > 0 && of(i).shared > self.gpu.max_shared {
            i -= 1;
        }
        let Narrow { warps, shared } = of(i);
        (&kernels.narrow[i], shape([NARROW_TOKENS[i], NARROW_ROWS], WARP * warps, shared))
    }
}

impl Step<'_> {
    /// Puts the prompt's rows that the step's tokens name into its columns, for [`logits`](Self::logits).
    pub fn gather(&self, act: &mut Activations, prompt: &PromptActivations) -> Result<()> {
        let shape = Shape { grid: [self.n_columns, 1, 1], block: EMBED_THREADS, shared: 0, overlaps: false };
        let args = [
            (&mut act.residual).into(),
            (&prompt.residual).into(),
            self.step.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow gather_prefill_f32 in kernels/embed.cu. The rows are of the plan that was
        // just run, and `act` has room for MAX_COLUMNS columns.
        unsafe { self.gpu.launch(&self.kernels.prefill.gather, shape, &args) }
    }
}
