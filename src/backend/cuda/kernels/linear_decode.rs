//! Launchers of `kernels/linear_decode.cu`: the products of a decode step.

use super::{
    super::{
        driver::{Arg, Buffer, Gpu, Kernel, Module, Shape},
        images::constants::{LINEAR_MAX_WARPS, OCTET, TILE_ROWS, WARP},
    },
    Activations, COLUMN_COUNTS, Dims, Linear, Norm, Packed, Pages, Step, Traffic, check, padded, planes_len,
};
use crate::backend::{BackendError, Result};

/// The kernels, each by [`COLUMN_COUNTS`].
#[derive(Debug)]
pub(super) struct LinearDecode {
    qkv: [Kernel; 3],
    attn_out: [Kernel; 3],
    up: [Kernel; 3],
    down: [Kernel; 3],
    logits: [Kernel; 3],
    /// Most columns whose inputs fit into a block's shared memory.
    pub max_columns: u32,
}

/// Warps of a product's block, where its slices allow.
const WARPS: u32 = 4;

/// Blocks of the logits' product that a multiprocessor holds at once.
const BLOCKS_PER_SM: u32 = 4;

impl LinearDecode {
    /// For models of shape `dims`.
    pub fn load(gpu: &Gpu, dims: &Dims, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("linear_decode")?;
        let planes = 4 * planes_len(dims.n_embd as usize) as u32;
        let needs = |columns: &u32| (planes + 4 * TILE_ROWS * LINEAR_MAX_WARPS) * columns;
        let max_columns =
            COLUMN_COUNTS.into_iter().filter(|c| needs(c) <= gpu.max_shared).max().ok_or_else(|| {
                let expected = format!("what fits into {} bytes of shared memory", gpu.max_shared);
                BackendError::CudaModel { name: "n_embd", value: dims.n_embd as usize, expected }
            })?;
        let shared = COLUMN_COUNTS.map(|columns| needs(&columns.min(max_columns)));
        macro_rules! columns {
            ($name:literal) => {
                [
                    module.kernel(concat!("linear_decode_", $name, "_f16_1"), shared[0])?,
                    module.kernel(concat!("linear_decode_", $name, "_f16_4"), shared[1])?,
                    module.kernel(concat!("linear_decode_", $name, "_f16_8"), shared[2])?,
                ]
            };
        }
        let kernels = Self {
            qkv: columns!("qkv"),
            attn_out: columns!("attn_out"),
            up: columns!("up"),
            down: columns!("down"),
            logits: columns!("logits"),
            max_columns,
        };
        modules.push(module);
        Ok(kernels)
    }
}

impl Step<'_> {
    /// `q`, and the cache's new rows, from `linear(norm(residual))`.
    pub fn qkv(&self, act: &mut Activations, pages: &mut Pages, norm: &Norm, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("qkv", &linear.weight, 3 * dims.n_embd, dims.n_embd);
        let before = [
            (&mut act.q).into(),
            (&mut pages.keys).into(),
            (&mut pages.values).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_pages.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
        ];
        let shape = self.shape(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_qkv_f16 in kernels/linear_decode.cu. The matrix has the shape that
        // was checked above, page tables hold pages of this cache, and `Activations` has room for MAX_COLUMNS columns.
        unsafe { self.product(&self.kernels.linear_decode.qkv, shape, &before, &linear.weight, &after) }
    }

    /// `residual += linear(heads)`, of the chunks that [`attention`](Self::attention) has left.
    pub fn attn_out(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("attn_out", &linear.weight, dims.n_embd, dims.n_embd);
        let before = [(&mut act.residual).into(), (&act.chunk_out).into(), (&act.chunk_stats).into()];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_head.into(),
            dims.head_dim.into(),
            dims.max_chunks().into(),
        ];
        let shape = self.shape(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_attn_out_f16; sizes as above.
        unsafe { self.product(&self.kernels.linear_decode.attn_out, shape, &before, &linear.weight, &after) }
    }

    /// `inner = activation(linear(norm(residual)))`.
    pub fn up(&self, act: &mut Activations, norm: &Norm, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("up", &linear.weight, dims.n_inner, dims.n_embd);
        let before = [
            (&mut act.inner).into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [
            (&linear.bias).into(),
            self.step.into(),
            dims.n_embd.into(),
            (padded(dims.n_inner as usize) as u32 / OCTET).into(),
            dims.activation.into(),
        ];
        let shape = self.shape(&linear.weight, true);
        // SAFETY: order and types follow linear_decode_up_f16; sizes as above.
        unsafe { self.product(&self.kernels.linear_decode.up, shape, &before, &linear.weight, &after) }
    }

    /// `residual += linear(inner)`.
    pub fn down(&self, act: &mut Activations, linear: &Linear) -> Result<()> {
        let dims = self.dims;
        check("down", &linear.weight, dims.n_embd, dims.n_inner);
        let before = [(&mut act.residual).into(), (&act.inner).into()];
        let after = [(&linear.bias).into(), self.step.into(), dims.n_embd.into()];
        let shape = self.shape(&linear.weight, false);
        // SAFETY: order and types follow linear_decode_down_f16; sizes as above.
        unsafe { self.product(&self.kernels.linear_decode.down, shape, &before, &linear.weight, &after) }
    }

    /// `logits[row[t]] = head(norm(residual[t]))`, `[rows, V]`.
    pub fn logits(
        &self,
        logits: &mut Buffer<f32>,
        act: &Activations,
        norm: &Norm,
        head: &Packed,
    ) -> Result<()> {
        let dims = self.dims;
        check("the head", head, head.n_rows as u32, dims.n_embd);
        let before = [
            logits.into(),
            (&act.residual).into(),
            (&norm.gain).into(),
            (&norm.shift).into(),
            dims.eps.into(),
        ];
        let after = [self.step.into(), dims.n_embd.into()];
        let mut shape = self.shape(head, true);
        // Blocks that stay for many rows normalise the input once for all of them.
        shape.grid[0] = shape.grid[0].min(BLOCKS_PER_SM * self.gpu.n_sms);
        // SAFETY: order and types follow linear_decode_logits_f16. The step's rows lie within `logits`: they were counted
        // when it was allocated.
        unsafe { self.product(&self.kernels.linear_decode.logits, shape, &before, head, &after) }
    }

    /// Launches the kernel for this many columns, with the matrix among its arguments.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    unsafe fn product(
        &self,
        kernels: &[Kernel; 3],
        shape: Shape,
        before: &[Arg],
        weight: &Packed,
        after: &[Arg],
    ) -> Result<()> {
        let i = COLUMN_COUNTS.iter().position(|&c| c == self.n_columns);
        let kernel = &kernels[i.expect("a step has one of COLUMN_COUNTS columns")];
        let args = [before, &weight.args(), after].concat();
        // SAFETY: the caller vouches for the arguments.
        unsafe { self.gpu.launch(kernel, shape, &args) }
    }

    /// The launch of a product; `has_planes` where the input goes through shared memory.
    fn shape(&self, weight: &Packed, has_planes: bool) -> Shape {
        let n_slices = weight.n_slices();
        let groups = (WARPS / n_slices).max(1);
        let n_groups = (weight.n_rows as u32).div_ceil(TILE_ROWS);
        let planes = if has_planes { 4 * planes_len(weight.n_cols) as u32 * self.n_columns } else { 0 };
        let parts = 4 * TILE_ROWS * self.n_columns * n_slices * groups;
        Shape {
            grid: [n_groups.div_ceil(groups), 1, 1],
            block: WARP * n_slices * groups,
            shared: planes + parts,
            overlaps: true,
        }
    }
}

/// What every product reads: the matrix with its padding, a bias of `n_biases`, the columns' positions, `[T, C]` floats.
const fn product_read(dims: &Dims, (n_rows, n_cols): (u32, u32), n_biases: u32, n_columns: usize) -> usize {
    let matrix = 2 * Packed::len(n_rows as usize, n_cols as usize);
    matrix + 4 * n_biases as usize + n_columns * (4 + 4 * dims.n_embd as usize)
}

/// A norm's gain and shift.
const fn norm_bytes(dims: &Dims) -> usize {
    2 * 4 * dims.n_embd as usize
}

/// Distinct bytes that decode's `qkv` touches, where all columns exist.
pub const fn qkv_traffic(dims: &Dims, n_columns: usize) -> Traffic {
    let (c, page) = (dims.n_embd, 4 * n_columns);
    let read = product_read(dims, (3 * c, c), 3 * c, n_columns) + norm_bytes(dims) + page;
    Traffic { read, written: n_columns * 3 * 4 * c as usize }
}

/// Distinct bytes that decode's `attn_out` touches, for columns at `positions`.
pub const fn attn_out_traffic(dims: &Dims, positions: &[usize]) -> Traffic {
    let c = dims.n_embd;
    let mut read = product_read(dims, (c, c), c, positions.len());
    let mut t = 0;
    while t < positions.len() {
        read += dims.chunk_bytes(positions[t] + 1);
        t += 1;
    }
    Traffic { read, written: positions.len() * 4 * c as usize }
}

/// Distinct bytes that decode's `up` touches, where all columns exist.
pub const fn up_traffic(dims: &Dims, n_columns: usize) -> Traffic {
    let (c, f) = (dims.n_embd, dims.n_inner);
    let read = product_read(dims, (f, c), f, n_columns) + norm_bytes(dims);
    Traffic { read, written: n_columns * 4 * f as usize }
}

/// Distinct bytes that decode's `down` touches, where all columns exist.
pub const fn down_traffic(dims: &Dims, n_columns: usize) -> Traffic {
    let (c, f) = (dims.n_embd, dims.n_inner);
    let inner = n_columns * 4 * padded(f as usize);
    Traffic { read: product_read(dims, (c, f), c, n_columns) + inner, written: n_columns * 4 * c as usize }
}

/// Distinct bytes that `logits` touches, where all columns exist and leave a row of `n_vocab`.
pub const fn logits_traffic(dims: &Dims, n_vocab: usize, n_columns: usize) -> Traffic {
    let rows = 4 * n_columns;
    let read = product_read(dims, (n_vocab as u32, dims.n_embd), 0, n_columns) + norm_bytes(dims) + rows;
    Traffic { read, written: n_columns * 4 * n_vocab }
}
