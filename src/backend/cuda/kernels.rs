//! One safe launcher for each kernel: it checks lengths, chooses the grid, and launches. The kernels' files say what is
//! computed; the constants come from them through `build.rs`.

use super::{
    driver::{Arg, Buffer, Gpu, Kernel, Module, Shape},
    images::constants::{
        CHUNK_LEN, CHUNK_PAGES, EMBED_THREADS, LINEAR_MAX_WARPS, MAX_COLUMNS, MAX_HEAD_DIM, OCTET,
        PACK_THREADS, PAGE_LEN, SLICE_TILES, STEP_PAGES, TILE_K, TILE_OCTETS, TILE_ROWS, WARP,
    },
};
use crate::{Config, Error, Result, cache, config::Activation};

const _: () = assert!(PAGE_LEN as usize == cache::PAGE_LEN, "the kernels' pages are the cache's");

/// Numbers of columns that decode kernels are compiled for; fewer columns run in the next larger one.
pub const COLUMN_COUNTS: [u32; 3] = [1, 4, MAX_COLUMNS];

/// A matrix in the order of `kernels/common.cuh`.
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
    /// The MLP's inner values, `[MAX_COLUMNS, padded F]` in planes.
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
            false => Err(Error::CudaModel { name, value, expected: format!("at most {max}") }),
        };
        let max_inner = SLICE_TILES * TILE_K * LINEAR_MAX_WARPS;
        if !config.n_embd.is_multiple_of(OCTET as usize) {
            let expected = format!("a multiple of {OCTET}");
            return Err(Error::CudaModel { name: "n_embd", value: config.n_embd, expected });
        }
        use super::images::constants as c;
        Ok(Self {
            n_embd: limit("n_embd", config.n_embd, max_inner)?,
            n_head: config.n_head as u32,
            head_dim: limit("head_dim (n_embd / n_head)", config.head_dim(), MAX_HEAD_DIM)?,
            n_inner: limit("n_inner", config.n_inner, max_inner)?,
            n_pages: config.n_ctx.div_ceil(cache::PAGE_LEN) as u32,
            activation: match config.activation {
                Activation::GeluTanh => c::ACTIVATION_GELU_TANH,
                Activation::GeluErf => c::ACTIVATION_GELU_ERF,
                Activation::Relu => c::ACTIVATION_RELU,
            },
            eps: config.layer_norm_epsilon,
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

    /// Octets of a normalised input.
    fn octets(&self) -> u32 {
        padded(self.n_embd as usize) as u32 / OCTET
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
        let needs = |columns: &u32| dims.octets() * 32 * columns + 4 * 4 * columns * LINEAR_MAX_WARPS;
        let max_columns =
            COLUMN_COUNTS.into_iter().filter(|c| needs(c) <= gpu.max_shared).max().ok_or_else(|| {
                let expected = format!("what fits into {} bytes of shared memory", gpu.max_shared);
                Error::CudaModel { name: "n_embd", value: dims.n_embd as usize, expected }
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
        Ok(Self {
            embed: embed.kernel("embed_decode_f16", 0)?,
            attention: attention.kernel("attention_decode_f32", 0)?,
            qkv: columns!("linear_decode_qkv_f16"),
            merge: columns!("linear_decode_merge_f16"),
            fc: columns!("linear_decode_fc_f16"),
            add: columns!("linear_decode_add_f16"),
            logits: columns!("linear_decode_logits_f16"),
            pack_transposed: [pack.kernel("pack_transposed_f16", 0)?, pack.kernel("pack_transposed_f32", 0)?],
            pack_rows: [pack.kernel("pack_rows_f16", 0)?, pack.kernel("pack_rows_f32", 0)?],
            max_columns,
            modules: vec![embed, attention, linear, pack],
        })
    }

    /// Most columns of a step.
    pub fn max_columns(&self) -> usize {
        self.max_columns as usize
    }

    /// The code that runs, for people: "sm_90" or "PTX sm_80".
    pub fn image_name(&self) -> String {
        let image = self.modules.iter().map(|m| m.image).max_by_key(|i| i.arch).expect("there are modules");
        format!("{}sm_{}", if image.is_ptx { "PTX for " } else { "" }, image.arch)
    }
}

/// A decode step on its way through the layers: the device, the kernels, and what every launch needs to know.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Its kernels.
    pub kernels: &'a Kernels,
    /// The model's shape.
    pub dims: &'a Dims,
    /// The step's columns: `kernels/common.cuh`.
    pub step: &'a Buffer<u32>,
    /// One of [`COLUMN_COUNTS`].
    pub n_columns: u32,
    /// Chunks of the longest column.
    pub n_chunks: u32,
}

impl Step<'_> {
    /// `residual[t] = wte[token[t]] + wpe[position[t]]`.
    pub fn embed(&self, act: &mut Activations, wte: &Packed, wpe: &Buffer<u16>) -> Result<()> {
        let shape = Shape { grid: [self.n_columns, 1, 1], block: EMBED_THREADS, shared: 0, overlaps: false };
        let args = [
            (&mut act.residual).into(),
            (&wte.pieces).into(),
            wpe.into(),
            self.step.into(),
            self.dims.n_embd.into(),
        ];
        // SAFETY: order and types follow kernels/embed.cu. It touches n_embd floats of a column, for which `Activations` has
        // room, and the rows of tokens and positions that `KvCache::append` has checked.
        unsafe { self.gpu.launch(&self.kernels.embed, shape, &args) }
    }

    /// `q`, and the cache's new rows, from `c_attn(ln_1(residual))`.
    pub fn qkv(&self, act: &mut Activations, pages: &mut Pages, norm: &Norm, linear: &Linear) -> Result<()> {
        let [packed, n_rows, n_tiles, n_slices] = linear.weight.args();
        let dims = self.dims;
        check("c_attn", &linear.weight, 3 * dims.n_embd, dims.n_embd);
        let args = [
            (&mut act.q).into(),
            (&mut pages.keys).into(),
            (&mut pages.values).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
            packed,
            n_rows,
            n_tiles,
            n_slices,
            (&linear.bias).into(),
            self.step.into(),
            dims.n_pages.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
        ];
        // SAFETY: order and types follow linear_decode_qkv_f16 in kernels/linear_decode.cu. The matrix has the shape that
        // was checked above, page tables hold pages of this cache, and `Activations` has room for MAX_COLUMNS columns.
        unsafe { self.gpu.launch(self.of(&self.kernels.qkv), self.linear(&linear.weight, true), &args) }
    }

    /// Attention of every column, left by chunks.
    pub fn attention(&self, act: &mut Activations, pages: &Pages, scale: f32) -> Result<()> {
        let dims = self.dims;
        let grid = [self.n_chunks, dims.n_head, self.n_columns];
        let shape = Shape { grid, block: WARP * CHUNK_PAGES, shared: 0, overlaps: true };
        let args = [
            (&mut act.chunk_out).into(),
            (&mut act.chunk_stats).into(),
            (&act.q).into(),
            (&pages.keys).into(),
            (&pages.values).into(),
            self.step.into(),
            dims.n_pages.into(),
            dims.head_dim.into(),
            dims.max_chunks().into(),
            (scale * std::f32::consts::LOG2_E).into(),
        ];
        // SAFETY: order and types follow kernels/attention_decode.cu. A column reads pages of its table up to its position,
        // and writes its first `n_chunks` <= max_chunks chunks.
        unsafe { self.gpu.launch(&self.kernels.attention, shape, &args) }
    }

    /// `residual += c_proj(heads)`.
    pub fn merge(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let [packed, n_rows, n_tiles, n_slices] = linear.weight.args();
        let dims = self.dims;
        check("attn.c_proj", &linear.weight, dims.n_embd, dims.n_embd);
        let args = [
            (&mut act.residual).into(),
            (&act.chunk_out).into(),
            (&act.chunk_stats).into(),
            packed,
            n_rows,
            n_tiles,
            n_slices,
            (&linear.bias).into(),
            self.step.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
            dims.max_chunks().into(),
        ];
        // SAFETY: order and types follow linear_decode_merge_f16; sizes as above.
        unsafe { self.gpu.launch(self.of(&self.kernels.merge), self.linear(&linear.weight, true), &args) }
    }

    /// `inner = activation(c_fc(ln_2(residual)))`.
    pub fn fc(&self, act: &mut Activations, norm: &Norm, linear: &Linear) -> Result<()> {
        let [packed, n_rows, n_tiles, n_slices] = linear.weight.args();
        let dims = self.dims;
        check("c_fc", &linear.weight, dims.n_inner, dims.n_embd);
        let args = [
            (&mut act.inner).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
            packed,
            n_rows,
            n_tiles,
            n_slices,
            (&linear.bias).into(),
            self.step.into(),
            dims.n_embd.into(),
            (padded(dims.n_inner as usize) as u32 / OCTET).into(),
            dims.activation.into(),
        ];
        // SAFETY: order and types follow linear_decode_fc_f16; sizes as above.
        unsafe { self.gpu.launch(self.of(&self.kernels.fc), self.linear(&linear.weight, true), &args) }
    }

    /// `residual += c_proj(inner)`.
    pub fn add(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let [packed, n_rows, n_tiles, n_slices] = linear.weight.args();
        let dims = self.dims;
        check("mlp.c_proj", &linear.weight, dims.n_embd, dims.n_inner);
        let args = [
            (&mut act.residual).into(),
            (&act.inner).into(),
            packed,
            n_rows,
            n_tiles,
            n_slices,
            (&linear.bias).into(),
            self.step.into(),
            dims.n_embd.into(),
        ];
        // SAFETY: order and types follow linear_decode_add_f16; sizes as above.
        unsafe { self.gpu.launch(self.of(&self.kernels.add), self.linear(&linear.weight, false), &args) }
    }

    /// `logits[row[t]]` from `ln_f(residual[t])` and the embeddings: `[rows, V]`.
    pub fn logits(
        &self,
        logits: &mut Buffer<f32>,
        act: &Activations,
        norm: &Norm,
        head: &Packed,
    ) -> Result<()> {
        let [packed, n_rows, n_tiles, n_slices] = head.args();
        let dims = self.dims;
        check("lm_head", head, n_rows_of(head), dims.n_embd);
        let args = [
            logits.into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
            packed,
            n_rows,
            n_tiles,
            n_slices,
            self.step.into(),
            dims.n_embd.into(),
        ];
        let mut shape = self.linear(head, true);
        // Blocks that stay for many rows normalise the input once for all of them.
        shape.grid[0] = shape.grid[0].min(BLOCKS_PER_SM * self.gpu.n_sms);
        // SAFETY: order and types follow linear_decode_logits_f16. The step's rows lie within `logits`: they were counted
        // when it was allocated.
        unsafe { self.gpu.launch(self.of(&self.kernels.logits), shape, &args) }
    }

    fn of<'k>(&self, kernels: &'k [Kernel; 3]) -> &'k Kernel {
        let i = COLUMN_COUNTS.iter().position(|&c| c == self.n_columns);
        &kernels[i.expect("a step has one of COLUMN_COUNTS columns")]
    }

    /// The launch of a product; `has_planes` where the input goes through shared memory.
    fn linear(&self, weight: &Packed, has_planes: bool) -> Shape {
        let n_slices = weight.n_slices();
        let groups = (WARPS / n_slices).max(1);
        let n_groups = (weight.n_rows as u32).div_ceil(TILE_ROWS);
        let planes = if has_planes { weight.n_tiles() * TILE_OCTETS * 32 * self.n_columns } else { 0 };
        let parts = 4 * TILE_ROWS * self.n_columns * n_slices * groups;
        Shape {
            grid: [n_groups.div_ceil(groups), 1, 1],
            block: WARP * n_slices * groups,
            shared: planes + parts,
            overlaps: true,
        }
    }
}

/// Warps of a product's block, where its slices allow.
const WARPS: u32 = 4;

/// Blocks of the logits' product that a multiprocessor holds at once.
const BLOCKS_PER_SM: u32 = 4;

fn n_rows_of(matrix: &Packed) -> u32 {
    matrix.n_rows as u32
}

fn check(name: &str, matrix: &Packed, n_rows: u32, n_cols: u32) {
    let expected = (n_rows as usize, n_cols as usize);
    assert_eq!((matrix.n_rows, matrix.n_cols), expected, "{name} has another shape than config.json says");
}

impl Kernels {
    /// Packs columns `first_k ..` of a matrix from `from`, `[n_k, n_rows]` of fp16 or, with `wide`, fp32.
    pub fn pack_transposed(
        &self,
        gpu: &Gpu,
        packed: &mut Packed,
        from: &Buffer<u8>,
        (first_k, n_k): (usize, usize),
        wide: bool,
    ) -> Result<()> {
        let width = if wide { 4 } else { 2 };
        assert!(
            n_k * packed.n_rows * width <= from.len(),
            "pack: {n_k} columns are not in {} bytes",
            from.len()
        );
        assert!(
            first_k.is_multiple_of(TILE_K as usize) && first_k + n_k <= packed.n_cols,
            "pack: columns {first_k} + {n_k}"
        );
        let n_rows = (packed.n_rows as u32).next_multiple_of(TILE_ROWS);
        let n_octets = n_k.next_multiple_of(TILE_K as usize) as u32 / OCTET;
        let grid = [n_rows.div_ceil(PACK_THREADS), n_octets, 1];
        let shape = Shape { grid, block: PACK_THREADS, shared: 0, overlaps: false };
        let n_tiles = packed.n_tiles();
        let args = [
            (&mut packed.pieces).into(),
            from.into(),
            (packed.n_rows as u32).into(),
            (first_k as u32).into(),
            (n_k as u32).into(),
            n_tiles.into(),
        ];
        // SAFETY: order and types follow kernels/pack.cu; the ranges were checked above.
        unsafe { gpu.launch(&self.pack_transposed[usize::from(wide)], shape, &args) }
    }

    /// Packs rows `first_row ..` of a matrix from `from`, `[n_rows, n_cols]` of fp16 or, with `wide`, fp32.
    pub fn pack_rows(
        &self,
        gpu: &Gpu,
        packed: &mut Packed,
        from: &Buffer<u8>,
        (first_row, n_rows): (usize, usize),
        wide: bool,
    ) -> Result<()> {
        let width = if wide { 4 } else { 2 };
        assert!(
            n_rows * packed.n_cols * width <= from.len(),
            "pack: {n_rows} rows are not in {} bytes",
            from.len()
        );
        assert!(
            first_row + n_rows <= packed.n_rows,
            "pack: rows {first_row} + {n_rows} of {}",
            packed.n_rows
        );
        let is_last = first_row + n_rows == packed.n_rows;
        let to_zero =
            if is_last { packed.n_rows.next_multiple_of(TILE_ROWS as usize) - packed.n_rows } else { 0 };
        let grid = [(n_rows + to_zero) as u32, (packed.n_tiles() * TILE_OCTETS).div_ceil(PACK_THREADS), 1];
        let shape = Shape { grid, block: PACK_THREADS, shared: 0, overlaps: false };
        let n_tiles = packed.n_tiles();
        let args = [
            (&mut packed.pieces).into(),
            from.into(),
            (first_row as u32).into(),
            (n_rows as u32).into(),
            (packed.n_cols as u32).into(),
            n_tiles.into(),
        ];
        // SAFETY: order and types follow kernels/pack.cu; the ranges were checked above.
        unsafe { gpu.launch(&self.pack_rows[usize::from(wide)], shape, &args) }
    }
}
