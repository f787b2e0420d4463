//! The operations of the forward pass, each shared out among the threads: one safe call per operation, which checks
//! its operands' sizes.
//!
//! Called by [`super::CpuBackend`] and the benches. Results depend neither on the number of threads nor on how many
//! rows share a call. Tested against [`super::naive`] in `tests/kernels.rs`.

use super::{
    attention::{self, Head, Span},
    linear::{BLOCK, Join, MAX_STREAMED, Operands, Part, Stream, Then, TileShape, Tiles, pack},
    pool::Pool,
    rows,
    simd::{Isa, LANES},
    tile::{Cut, Striped},
};
use crate::{
    Config,
    cache::PAGE_LEN,
    weights::{Elements, LayerNorm, Linear, Matrix},
};
use std::sync::{Mutex, PoisonError};

/// Instructions, threads, and the memory that an operation needs while it runs.
#[derive(Debug)]
pub struct Ops {
    isa: Isa,
    pool: Pool,
    /// One for each thread.
    scratch: Vec<Mutex<Vec<Vector>>>,
    /// Packed activations, or the sums of blocks.
    packed: Vec<Vector>,
}

/// Sixteen floats that share a cache line.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Vector([f32; LANES]);

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
    /// C.
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
    pub fn reserve(&mut self, config: &Config, n_tokens: usize) {
        let (n_in, n_out) = (config.n_embd.max(config.n_inner), config.n_inner.max(3 * config.n_embd));
        let (tokens, cols) = self.isa.run(TileShape);
        let own = (2 * MAX_STREAMED * n_out.next_multiple_of(LANES))
            .max(n_in * cols)
            .max(attention::scratch_len(config.head_dim(), config.n_ctx));
        for scratch in &self.scratch {
            room(&mut scratch.lock().unwrap_or_else(PoisonError::into_inner), own);
        }
        let parts = n_in.div_ceil(BLOCK) * n_out.next_multiple_of(LANES);
        room(&mut self.packed, parts.max(n_tokens.next_multiple_of(tokens) * n_in));
    }

    /// The instructions.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// `y[t] = wte[tokens[t]] + wpe[positions[t]]`, with `y`: `[T, C]`.
    pub fn embed(&mut self, y: &mut [f32], tokens: &[u32], positions: &[usize], wte: &Matrix, wpe: &Matrix) {
        let (width, isa) = (wte.cols(), self.isa);
        assert_eq!(y.len(), tokens.len() * width, "embed: y is [T, C]");
        for ((y, &token), &position) in y.chunks_mut(width).zip(tokens).zip(positions) {
            let (token, position) = (token as usize * width, position * width);
            macro_rules! run {
                ($token:ident, $position:ident) => {
                    isa.run(rows::Embed {
                        y,
                        token: &$token[token..][..width],
                        position: &$position[position..][..width],
                    })
                };
            }
            match (wte.elements(), wpe.elements()) {
                (Elements::F16(token), Elements::F16(position)) => run!(token, position),
                (Elements::F16(token), Elements::F32(position)) => run!(token, position),
                (Elements::F32(token), Elements::F16(position)) => run!(token, position),
                (Elements::F32(token), Elements::F32(position)) => run!(token, position),
            }
        }
    }

    /// `y[t] = layernorm(x[t])`, with `x`, `y`: `[T, C]`.
    pub fn layernorm(&mut self, y: &mut [f32], x: &[f32], norm: &LayerNorm, eps: f32) {
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
        let (n_in, n_out) = (linear.weight.rows(), linear.weight.cols());
        let n_tokens = x.len() / n_in;
        assert_eq!(
            (x.len(), y.len()),
            (n_tokens * n_in, n_tokens * n_out),
            "linear: x is [T, in], y [T, out]"
        );
        match linear.weight.elements() {
            Elements::F16(w) => self.product(y, Operands { x, w, bias: &linear.bias, n_in, n_out, then }),
            Elements::F32(w) => self.product(y, Operands { x, w, bias: &linear.bias, n_in, n_out, then }),
        }
    }

    fn product<E: super::simd::Element>(&mut self, y: &mut [f32], of: Operands<E>) {
        // Up to here reading the weights once more costs less than packing them.
        const MAX_PASSES: usize = 2;
        let n_tokens = of.x.len() / of.n_in;
        let n_passes = n_tokens.div_ceil(MAX_STREAMED);
        let (n_blocks, n_threads) = (of.n_blocks(), self.pool.n_threads());
        if n_tokens == 1 && (n_blocks.is_multiple_of(n_threads) || n_blocks >= 4 * n_threads) {
            return self.blocks(y, of);
        }
        if n_passes > MAX_PASSES {
            return self.tiles(y, of);
        }
        let len = n_tokens.div_ceil(n_passes.max(1)).max(1);
        for (x, y) in of.x.chunks(len * of.n_in).zip(y.chunks_mut(len * of.n_out)) {
            self.stream(y, Operands { x, ..of });
        }
    }

    /// For one token, where the threads' shares of the blocks are even.
    fn blocks<E: super::simd::Element>(&mut self, y: &mut [f32], of: Operands<E>) {
        let width = of.n_out.next_multiple_of(LANES);
        let isa = self.isa;
        let parts = room(&mut self.packed, of.n_blocks() * width);
        self.pool.stripes([Striped::new(parts, width, Cut::Rows(1))], |[sums], block, _| {
            isa.run(Part { of, block, sums });
        });
        let cols = of.n_out.div_ceil(self.pool.n_threads()).next_multiple_of(4 * LANES);
        self.pool.stripes([Striped::new(y, of.n_out, Cut::Cols(cols))], |[y], _, _| {
            isa.run(Join { of, parts, y });
        });
    }

    fn stream<E: super::simd::Element>(&mut self, y: &mut [f32], of: Operands<E>) {
        /// Sums of a task: with their totals half of a first-level cache.
        const MAX_SUMS: usize = 2048;
        let n_tokens = of.x.len() / of.n_in;
        let share = of.n_out.div_ceil(self.pool.n_threads()).next_multiple_of(4 * LANES);
        let cols = share.min(MAX_SUMS / n_tokens / LANES * LANES);
        let (isa, scratch) = (self.isa, &self.scratch);
        self.pool.stripes([Striped::new(y, of.n_out, Cut::Cols(cols))], |[y], _, thread| {
            let n_sums = 2 * n_tokens * y.cols().len().next_multiple_of(LANES);
            with_scratch(scratch, thread, n_sums, |sums| isa.run(Stream { of, y, sums }));
        });
    }

    fn tiles<E: super::simd::Element>(&mut self, y: &mut [f32], of: Operands<E>) {
        let (tokens, cols) = self.isa.run(TileShape);
        let n_tokens = of.x.len() / of.n_in;
        let (isa, scratch) = (self.isa, &self.scratch);
        let packed = room(&mut self.packed, n_tokens.next_multiple_of(tokens) * of.n_in);
        let tile_len = tokens * of.n_in;
        self.pool.stripes([Striped::new(packed, tile_len, Cut::Rows(1))], |[mut packed], i, _| {
            let x = &of.x[i * tile_len..];
            pack(packed.row_mut(0), &x[..tile_len.min(x.len())], of.n_in, tokens);
        });
        let of = Operands { x: packed, ..of };
        self.pool.stripes([Striped::new(y, of.n_out, Cut::Cols(cols))], |[y], _, thread| {
            with_scratch(scratch, thread, of.n_in * cols, |panel| isa.run(Tiles { of, y, panel }));
        });
    }

    /// Appends the keys and values in `qkv` to `pages` and attends: `qkv`: `[T, 3C]` -> `y`: `[T, C]`.
    pub fn attention<'s>(
        &mut self,
        y: &mut [f32],
        qkv: &[f32],
        pages: Pages,
        spans: impl Iterator<Item = Span<'s>> + Clone + Sync,
        shape: AttentionShape,
    ) {
        let AttentionShape { width, head_dim, scale, n_ctx } = shape;
        assert_eq!(qkv.len(), 3 * y.len(), "attention: qkv is [T, 3C], y [T, C]");
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
        const ROWS: usize = 256;
        let (isa, width) = (self.isa, weight.cols());
        if y.is_empty() {
            return;
        }
        self.pool.stripes([Striped::new(y, weight.rows(), Cut::Cols(ROWS))], |[y], _, _| {
            match weight.elements() {
                Elements::F16(w) => isa.run(rows::Logits { y, x, w, width }),
                Elements::F32(w) => isa.run(rows::Logits { y, x, w, width }),
            }
        });
    }
}

/// Calls `f` with `len` floats of the thread's own, which hold anything.
fn with_scratch(scratch: &[Mutex<Vec<Vector>>], thread: usize, len: usize, f: impl FnOnce(&mut [f32])) {
    let mut own = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
    f(room(&mut own, len));
}

/// The first `len` floats of `values`, which hold anything; it is replaced by a longer one where it is too short.
fn room(values: &mut Vec<Vector>, len: usize) -> &mut [f32] {
    let n_vectors = len.div_ceil(LANES);
    if values.len() < n_vectors {
        *values = bytemuck::zeroed_vec(n_vectors);
    }
    &mut bytemuck::cast_slice_mut(values)[..len]
}
