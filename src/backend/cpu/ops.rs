//! The operations of the forward pass, each shared out among the threads: one safe call per operation, which checks
//! its operands' sizes.
//!
//! Called by [`super::CpuBackend`] and the benches. Results depend neither on the number of threads nor on how many
//! rows share a call. Tested against [`naive`](crate::backend::naive) in `tests/kernels.rs`.

use super::{
    attention::{self, Head, Span},
    linear::{BLOCK, CACHE_LINE, Join, Operands, Outputs, Part, Stream, Then, TileShape, Tiles, pack},
    logits::{self, Logits},
    pool::Pool,
    rows,
    simd::{Element, Isa, LANES},
    tile::{Cut, Striped},
    zeros,
};
use crate::{
    Config,
    backend::Result,
    cache::PAGE_LEN,
    family::Layout,
    weights::{Linear, Matrix, Norm, with_elements},
};
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Sums that a task of several tokens keeps at most, beside as many totals: with them a quarter of a second-level cache.
const MAX_SUMS: usize = 1 << 15;

/// Instructions, threads, and the memory that an operation needs while it runs.
#[derive(Debug)]
pub struct Ops {
    isa: Isa,
    pool: Pool,
    /// One for each thread.
    scratch: Vec<Mutex<Vec<f32>>>,
    /// Packed activations, or the sums of blocks.
    packed: Vec<f32>,
}

/// One layer's part of the KV cache.
#[derive(Debug)]
pub struct Pages<'a> {
    /// `[pages, H, D, PAGE_LEN]`.
    pub keys: &'a mut [f32],
    /// `[pages, H, PAGE_LEN, padded D]`: see [`attention::padded`].
    pub values: &'a mut [f32],
}

/// The shape of one layer's attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// `H D`.
    pub width: usize,
    /// D.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Most positions of a sequence.
    pub n_ctx: usize,
}

impl Ops {
    /// Operations on `n_threads` threads with the instructions of `isa`.
    pub fn new(isa: Isa, n_threads: usize) -> Self {
        let pool = Pool::new(n_threads);
        let scratch = (0..pool.n_threads()).map(|_| Mutex::default()).collect();
        Self { isa, pool, scratch, packed: Vec::new() }
    }

    /// Makes all the room that the operations of a model of shape `config` need for `n_tokens` at once, so that none is
    /// made later. The system gives the memory when it is first used.
    pub fn reserve(&mut self, config: &Config, n_tokens: usize) -> Result<()> {
        let (_, cols) = self.isa.run(TileShape);
        let own = tiles_scratch(1, MAX_SUMS.max(n_tokens * cols), cols)
            .max(attention::scratch_len(config.attn.head_dim, config.n_ctx));
        for scratch in &self.scratch {
            grow(&mut scratch.lock().unwrap_or_else(PoisonError::into_inner), own)?;
        }
        let (c, hd, f) = (config.n_embd, config.attn.width(), config.mlp.n_inner);
        let packed = [(c, 3 * hd), (hd, c), (c, f), (f, c)].map(|(n_in, n_out)| {
            let parts = n_in.div_ceil(BLOCK) * n_out.next_multiple_of(LANES);
            parts.max(n_tokens * n_in.next_multiple_of(BLOCK))
        });
        grow(&mut self.packed, packed.into_iter().max().unwrap_or(0))
    }

    /// The instructions.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// `y[t] = table[ids[t]]`, with `y`: `[T, C]`.
    pub fn embed(&mut self, y: &mut [f32], ids: &[u32], table: &Matrix) {
        let (width, isa) = (table.n_in(), self.isa);
        assert_eq!(y.len(), ids.len() * width, "embed: y is [T, C]");
        for (y, &id) in y.chunks_mut(width).zip(ids) {
            let row = id as usize * width;
            with_elements!(table.elements(), w => isa.run(rows::Copy { y, row: &w[row..][..width] }));
        }
    }

    /// `y[t] += table[positions[t]]`, with `y`: `[T, C]`.
    pub fn add_positions(&mut self, y: &mut [f32], positions: &[usize], table: &Matrix) {
        let (width, isa) = (table.n_in(), self.isa);
        assert_eq!(y.len(), positions.len() * width, "add_positions: y is [T, C]");
        for (y, &position) in y.chunks_mut(width).zip(positions) {
            let row = position * width;
            with_elements!(table.elements(), w => isa.run(rows::Add { y, row: &w[row..][..width] }));
        }
    }

    /// `y[t] = layernorm(x[t])`, with `x`, `y`: `[T, C]`.
    pub fn layernorm(&mut self, y: &mut [f32], x: &[f32], norm: &Norm, eps: f32) {
        const ROWS: usize = 8;
        let (width, isa) = (norm.weight.len(), self.isa);
        assert_eq!(x.len(), y.len(), "layernorm: x and y are [T, C]");
        self.pool.stripes([Striped::new(y, width, Cut::Rows(ROWS))], |[mut y], i, _| {
            for r in 0..y.n_rows() {
                let x = &x[(i * ROWS + r) * width..][..width];
                isa.run(rows::LayerNorm { y: y.row_mut(r), x, norm, eps });
            }
        });
    }

    /// `y = then(x · weight + bias)`, with `x`: `[T, in]`, `y`: `[T, out]`.
    pub fn linear(&mut self, y: &mut [f32], x: &[f32], linear: &Linear, then: Then) {
        let (n_in, n_out) = (linear.n_in(), linear.n_out());
        let n_tokens = x.len() / n_in;
        assert_eq!(
            (x.len(), y.len()),
            (n_tokens * n_in, n_tokens * n_out),
            "linear: x is [T, in], y [T, out]"
        );
        let mut first = 0;
        for part in &linear.parts {
            let cols = first..first + part.n_out();
            let bias = linear.bias.as_ref().map(|bias| &bias[cols.clone()]);
            let (layout, n_out) = (part.layout(), part.n_out());
            first = cols.end;
            let y = Output { y, stride: linear.n_out(), cols };
            with_elements!(part.elements(), w => self.product(y, Operands { x, w, layout, bias, n_in, n_out, then }));
        }
    }

    fn product<E: Element>(&mut self, y: Output, of: Operands<E>) {
        let (n_blocks, n_threads) = (of.n_blocks(), self.pool.n_threads());
        let is_even = n_blocks.is_multiple_of(n_threads) || n_blocks >= 4 * n_threads;
        match (of.n_tokens(), of.layout) {
            (0, _) => {}
            (1, Layout::OutIn) => self.outputs(y, of),
            (1, Layout::InOut) if is_even => self.blocks(y, of),
            (1, Layout::InOut) => self.stream(y, of),
            _ => self.tiles(y, of),
        }
    }

    /// For one token and weights `[out, in]`.
    fn outputs<E: Element>(&mut self, y: Output, of: Operands<E>) {
        let cols = of.n_out.div_ceil(self.pool.n_threads()).next_multiple_of(LANES);
        let isa = self.isa;
        self.pool.stripes([y.cut(cols)], |[y], _, _| isa.run(Outputs { of, y }));
    }

    /// For one token, where the threads' shares of the blocks are even.
    fn blocks<E: Element>(&mut self, y: Output, of: Operands<E>) {
        let width = of.n_out.next_multiple_of(LANES);
        let isa = self.isa;
        let parts = room(&mut self.packed, of.n_blocks() * width);
        self.pool.stripes([Striped::new(parts, width, Cut::Rows(1))], |[sums], block, _| {
            isa.run(Part { of, block, sums });
        });
        let cols = of.n_out.div_ceil(self.pool.n_threads()).next_multiple_of(4 * LANES);
        self.pool.stripes([y.cut(cols)], |[y], _, _| isa.run(Join { of, parts, y }));
    }

    fn stream<E: Element>(&mut self, y: Output, of: Operands<E>) {
        // With their totals half of a first-level cache.
        const MAX_COLS: usize = 2048;
        let cols = of.n_out.div_ceil(self.pool.n_threads()).next_multiple_of(4 * LANES).min(MAX_COLS);
        let (isa, scratch) = (self.isa, &self.scratch);
        self.pool.stripes([y.cut(cols)], |[y], _, thread| {
            let n_sums = 2 * y.cols().len().next_multiple_of(LANES);
            with_scratch(scratch, thread, n_sums, |sums| isa.run(Stream { of, y, sums }));
        });
    }

    fn tiles<E: Element>(&mut self, y: Output, of: Operands<E>) {
        let (most, cols) = self.isa.run(TileShape);
        let n_tokens = of.n_tokens();
        let (isa, scratch) = (self.isa, &self.scratch);
        let packed = room(&mut self.packed, of.n_blocks() * BLOCK * n_tokens);
        self.pool
            .stripes([Striped::new(packed, BLOCK * n_tokens, Cut::Rows(1))], |[mut packed], block, _| {
                pack(packed.row_mut(0), of.x, of.n_in, of.block(block), most)
            });
        let packed = &*packed;
        // One stripe a thread, because long runs are read fastest; more where their sums would be too many.
        let (n_tiles, most_tiles) = (of.n_out.div_ceil(cols), (MAX_SUMS / (n_tokens * cols)).max(1));
        let n_stripes = n_tiles.div_ceil(most_tiles).next_multiple_of(self.pool.n_threads());
        let width = n_tiles.div_ceil(n_stripes) * cols;
        self.pool.stripes([y.cut(width)], |[y], _, thread| {
            with_scratch(scratch, thread, tiles_scratch(n_tokens, width, cols), |room| {
                let (panel, sums) = room.split_at_mut(BLOCK * cols);
                isa.run(Tiles { of, packed, y, panel, sums });
            });
        });
    }

    /// Appends the keys and values in `qkv` to `pages` and attends: `qkv`: `[T, 3 H D]` -> `y`: `[T, H D]`.
    pub fn attention<'s>(
        &mut self,
        y: &mut [f32],
        qkv: &[f32],
        pages: Pages,
        spans: impl Iterator<Item = Span<'s>> + Clone + Sync,
        shape: AttentionShape,
    ) {
        let AttentionShape { width, head_dim, scale, n_ctx } = shape;
        assert_eq!(qkv.len(), 3 * y.len(), "attention: qkv is [T, 3 H D], y [T, H D]");
        let (isa, scratch) = (self.isa, &self.scratch);
        let n_head = width / head_dim;
        let (key_len, value_len) = (head_dim * PAGE_LEN, attention::padded(head_dim) * PAGE_LEN);
        let matrices = [
            Striped::new(y, width, Cut::Cols(head_dim)),
            Striped::new(pages.keys, n_head * key_len, Cut::Cols(key_len)),
            Striped::new(pages.values, n_head * value_len, Cut::Cols(value_len)),
        ];
        self.pool.stripes(matrices, |[y, keys, values], _, thread| {
            with_scratch(scratch, thread, attention::scratch_len(head_dim, n_ctx), |scratch| {
                let spans = spans.clone();
                isa.run(Head { qkv, width, head_dim, scale, spans, y, keys, values, scratch });
            });
        });
    }

    /// `y[r, v] = Σ_c x[r, c] weight[v, c]`, with `x`: `[R, C]`, `weight`: `[V, C]`.
    pub fn logits(&mut self, y: &mut [f32], x: &[f32], weight: &Matrix) {
        /// Rows of the matrix that a task takes.
        const ROWS: usize = 252;
        let (isa, width) = (self.isa, weight.n_in());
        if y.is_empty() {
            return;
        }
        let x =
            logits::pack(room(&mut self.packed, x.len() / width * width.next_multiple_of(LANES)), x, width);
        self.pool.stripes([Striped::new(y, weight.n_out(), Cut::Cols(ROWS))], |[y], _, _| {
            with_elements!(weight.elements(), w => isa.run(Logits { y, x, w, width }));
        });
    }
}

/// Where a product goes: some columns of `y`, `[T, stride]`.
struct Output<'a> {
    y: &'a mut [f32],
    stride: usize,
    cols: Range<usize>,
}

impl<'a> Output<'a> {
    /// Stripes of `width` columns.
    fn cut(self, width: usize) -> Striped<'a> {
        Striped::columns(self.y, self.stride, self.cols, Cut::Cols(width))
    }
}

/// Floats that a task needs for a stripe of `width` columns in tiles of `cols`.
fn tiles_scratch(n_tokens: usize, width: usize, cols: usize) -> usize {
    BLOCK * cols + 2 * n_tokens * width.next_multiple_of(cols)
}

/// Calls `f` with `len` floats of the thread's own, which hold anything.
fn with_scratch(scratch: &[Mutex<Vec<f32>>], thread: usize, len: usize, f: impl FnOnce(&mut [f32])) {
    let mut own = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
    f(room(&mut own, len));
}

/// `len` floats of `values` from the start of a cache line on, which hold anything; it is replaced by a longer one where it is too
/// short.
fn room(values: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if values.len() < len + LANES {
        *values = vec![0.0; len + LANES];
    }
    let start = values.as_ptr().align_offset(CACHE_LINE);
    &mut values[start..][..len]
}

/// Makes [`room`] for `len` floats.
fn grow(values: &mut Vec<f32>, len: usize) -> Result<()> {
    if values.len() < len + LANES {
        *values = zeros("the operations of a forward call", len + LANES)?;
    }
    Ok(())
}
