//! Launchers of `kernels/linear_prefill.cu` and `kernels/linear_prefill_narrow.cu`: the products of prompts.

use super::{
    super::{
        driver::{Buffer, Gpu, Kernel, Module, Shape},
        images::constants::{BLOCK_TOKENS, STAGE_TOKENS, STAGES_SM75, STAGES_SM80, TILE_K},
    },
    Dims, Linear, Packed, Pages, Prompt, PromptActivations, Traffic, check, padded,
};
use crate::backend::Result;

/// The three products of one size of block.
#[derive(Debug)]
pub(super) struct Products {
    qkv: Kernel,
    up: Kernel,
    /// `attn_out` and `down`.
    add: Kernel,
}

impl Products {
    /// The kernels of `module` whose names end so, allowed `shared` bytes of shared memory.
    pub fn load(module: &Module, [qkv, up, add]: [&'static str; 3], shared: u32) -> Result<Self> {
        Ok(Self {
            qkv: module.kernel(qkv, shared)?,
            up: module.kernel(up, shared)?,
            add: module.kernel(add, shared)?,
        })
    }
}

/// [`Products::load`] of the kernels whose names end in `$suffix`.
macro_rules! products {
    ($module:ident, $suffix:literal, $shared:expr) => {
        Products::load(
            &$module,
            [
                concat!("linear_prefill_qkv_f16", $suffix),
                concat!("linear_prefill_up_f16", $suffix),
                concat!("linear_prefill_add_f16", $suffix),
            ],
            $shared,
        )?
    };
}
pub(super) use products;

/// Outputs of a block. The larger block reads less for each of its sums.
const BLOCK_ROWS: [u32; 2] = [64, 128];

/// Most tokens for which the narrow products are used: with more, reading the weights once for 64 tokens wins.
const MAX_NARROW: u32 = 64;

/// The kernels for many tokens, by [`BLOCK_ROWS`].
#[derive(Debug)]
pub(super) struct Wide {
    kernels: [Products; 2],
    /// Dynamic shared memory of a block.
    shared: [u32; 2],
}

impl Wide {
    pub fn load(gpu: &Gpu, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("linear_prefill")?;
        let n_stages = if module.image().arch >= 80 { STAGES_SM80 } else { STAGES_SM75 };
        let shared = BLOCK_ROWS.map(|rows| n_stages * (2 * TILE_K * rows + STAGE_TOKENS));
        let kernels = [products!(module, "_64", shared[0]), products!(module, "_128", shared[1])];
        modules.push(module);
        Ok(Self { kernels, shared })
    }

    /// The kernels for a product of `n_rows` outputs, and their launch: the larger block where it still fills the device.
    fn launch(&self, gpu: &Gpu, n_tokens: u32, n_rows: u32) -> (&Products, Shape) {
        let n_blocks = n_tokens.div_ceil(BLOCK_TOKENS) * n_rows.div_ceil(BLOCK_ROWS[1]);
        let i = usize::from(n_blocks >= gpu.n_sms);
        let grid = [n_tokens.div_ceil(BLOCK_TOKENS), n_rows.div_ceil(BLOCK_ROWS[i]), 1];
        let shape = Shape { grid, block: 2 * BLOCK_ROWS[i], shared: self.shared[i], overlaps: true };
        (&self.kernels[i], shape)
    }
}

impl Prompt<'_> {
    /// `q`, and the cache's new rows, from `linear(h)`.
    pub fn qkv(&self, act: &mut PromptActivations, pages: &mut Pages, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("qkv", &linear.weight, 3 * dims.n_embd, dims.n_embd);
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
        // SAFETY: order and types follow linear_prefill_qkv_f16 in kernels/linear_prefill.cuh. The matrix has the shape that
        // was checked above, the plan's slots are of pages of this cache, and `act` has room for MAX_TOKENS tokens.
        unsafe { self.gpu.launch(&products.qkv, shape, &args) }
    }

    /// `residual += linear(h)`.
    pub fn attn_out(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        check("attn_out", &linear.weight, self.dims.n_embd, self.dims.n_embd);
        self.add(&mut act.residual, &act.h, linear)
    }

    /// `inner = activation(linear(h))`.
    pub fn up(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("up", &linear.weight, dims.n_inner, dims.n_embd);
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
        unsafe { self.gpu.launch(&products.up, shape, &args) }
    }

    /// `residual += linear(inner)`.
    pub fn down(&self, act: &mut PromptActivations, linear: &Linear) -> Result<()> {
        check("down", &linear.weight, self.dims.n_embd, self.dims.n_inner);
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

    /// The kernels for a product of this many tokens, and their launch. All give the same bits.
    fn product(&self, weight: &Packed) -> (&Products, Shape) {
        let (n_rows, n_cols) = (weight.n_rows as u32, weight.n_cols as u32);
        match self.n_tokens() {
            n @ ..=MAX_NARROW => self.kernels.linear_prefill_narrow.launch(self.gpu, n, (n_rows, n_cols)),
            n => self.kernels.linear_prefill.launch(self.gpu, n, n_rows),
        }
    }
}

/// What every product reads: the matrix with its padding, the bias, `n_tokens` rows of halves with theirs.
const fn product_read((n_rows, n_cols): (u32, u32), n_tokens: usize) -> usize {
    let (n_rows, n_cols) = (n_rows as usize, n_cols as usize);
    2 * Packed::len(n_rows, n_cols) + 4 * n_rows + n_tokens * 2 * 2 * padded(n_cols)
}

/// Distinct bytes that a prompt's `qkv` touches.
pub const fn qkv_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    let (c, slots) = (dims.n_embd, 4 * n_tokens);
    Traffic { read: product_read((3 * c, c), n_tokens) + slots, written: n_tokens * 3 * 4 * c as usize }
}

/// Distinct bytes that a prompt's `attn_out` touches.
pub const fn attn_out_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    add_traffic((dims.n_embd, dims.n_embd), n_tokens)
}

/// Distinct bytes that a prompt's `up` touches: outputs are written two at a time.
pub const fn up_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    let (c, f) = (dims.n_embd, dims.n_inner);
    let written = n_tokens * 2 * 2 * f.next_multiple_of(2) as usize;
    Traffic { read: product_read((f, c), n_tokens), written }
}

/// Distinct bytes that a prompt's `down` touches.
pub const fn down_traffic(dims: &Dims, n_tokens: usize) -> Traffic {
    add_traffic((dims.n_embd, dims.n_inner), n_tokens)
}

const fn add_traffic((n_rows, n_cols): (u32, u32), n_tokens: usize) -> Traffic {
    let residual = n_tokens * 4 * n_rows as usize;
    Traffic { read: product_read((n_rows, n_cols), n_tokens) + residual, written: residual }
}
