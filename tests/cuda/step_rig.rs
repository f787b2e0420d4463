//! Activations, weights and a step for the decode kernels, on both sides: for their twins and their benches.

use crate::rig::Random;
use half::f16;
use halfwarp::backend::cuda::{
    driver::{Buffer, Gpu},
    images::constants::{MAX_COLUMNS, NO_COLUMN, STEP_PAGES, STEP_POSITIONS, STEP_ROWS, STEP_TOKENS},
    kernels::{Activations, Dims, Kernels, Linear, Norm, Packed, Pages, Step, planes_len, step_len},
};

pub const N_CTX: usize = 320;
pub const EPS: f32 = 1e-5;
const PAGE: usize = 32;

/// n_embd, n_head, n_inner, V.
pub type ModelShape = (usize, usize, usize, usize);

/// A matrix in float64, row by row of outputs.
pub struct Exactly {
    values: Vec<f64>,
    n_cols: usize,
}

impl Exactly {
    pub fn row(&self, r: usize) -> &[f64] {
        &self.values[r * self.n_cols..][..self.n_cols]
    }
}

/// What a launch needs beside activations and weights.
pub struct Env {
    pub gpu: Gpu,
    pub kernels: Kernels,
    pub dims: Dims,
    step: Buffer<u32>,
}

pub struct StepRig {
    pub env: Env,
    pub act: Activations,
    positions: Vec<Option<usize>>,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_inner: usize,
    pub n_vocab: usize,
    random: Random,
}

impl Env {
    /// A step of `n_columns`, over the whole context.
    pub fn step(&self, n_columns: u32) -> Step<'_> {
        let Self { gpu, kernels, dims, step } = self;
        Step { gpu, kernels, dims, step, n_columns, n_chunks: dims.max_chunks() }
    }
}

impl StepRig {
    pub fn new(shape: ModelShape) -> Self {
        Self::of(Gpu::open(0).unwrap(), shape)
    }

    /// The same on a device that is open.
    pub fn of(gpu: Gpu, (n_embd, n_head, n_inner, n_vocab): ModelShape) -> Self {
        let json = serde_json::json!({"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1,
            "n_embd": n_embd, "n_head": n_head, "n_inner": n_inner, "vocab_size": n_vocab, "n_positions": N_CTX,
            "layer_norm_epsilon": EPS});
        let config = halfwarp::family::parse_config(json.to_string().as_bytes()).unwrap();
        let dims = Dims::new(&config).unwrap();
        let kernels = Kernels::load(&gpu, &dims).unwrap();
        let columns = MAX_COLUMNS as usize;
        let chunks = columns * n_head * dims.max_chunks() as usize;
        let mut random = Random(n_embd as u64 + n_vocab as u64);
        // Not zero: what a kernel should write and does not, shows.
        let mut floats = |len: usize| {
            let values: Vec<f32> = (0..len).map(|_| uniform(&mut random)).collect();
            gpu.upload(&values, "a test").unwrap()
        };
        let act = Activations {
            residual: floats(columns * n_embd),
            q: floats(columns * n_embd),
            chunk_out: floats(chunks * (n_embd / n_head)),
            chunk_stats: floats(chunks * 2),
            inner: gpu.zeros(columns * planes_len(n_inner), "a test").unwrap(),
        };
        // Positions of the columns: the edges of pages and chunks, one column missing, one without logits.
        let positions = [0, 31, 32, 127, 128, 255, 300].map(Some);
        let positions: Vec<_> =
            positions.into_iter().take(3).chain([None]).chain(positions.into_iter().skip(3)).collect();
        let mut words = vec![0; step_len(dims.n_pages())];
        for (t, position) in positions.iter().enumerate() {
            words[STEP_TOKENS as usize + t] = (t * 7 % n_vocab) as u32;
            words[STEP_POSITIONS as usize + t] = position.map_or(NO_COLUMN, |p| p as u32);
            words[STEP_ROWS as usize + t] =
                if t == 1 || position.is_none() { NO_COLUMN } else { row_of(t) as u32 };
            for page in 0..dims.n_pages() {
                words[STEP_PAGES as usize + t * dims.n_pages() + page] = page_of(t, page) as u32;
            }
        }
        let step = gpu.upload(&words, "a test").unwrap();
        Self {
            env: Env { gpu, kernels, dims, step },
            act,
            positions,
            n_embd,
            n_head,
            n_inner,
            n_vocab,
            random,
        }
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| uniform(&mut self.random)).collect()
    }

    pub fn halves(&mut self, len: usize) -> Vec<f16> {
        (0..len).map(|_| f16::from_f32(uniform(&mut self.random))).collect()
    }

    /// A product's weights and bias, on both sides.
    pub fn linear(&mut self, n_in: usize, n_out: usize) -> (Linear, Exactly, Vec<f32>) {
        let (weight, bias) = (self.halves(n_in * n_out), self.floats(n_out));
        let pieces = self.env.gpu.alloc(Packed::len(n_out, n_in), "a test").unwrap();
        let mut packed = Packed { pieces, n_rows: n_out, n_cols: n_in };
        let raw = self.env.gpu.upload::<u8>(bytemuck::cast_slice(&weight), "a test").unwrap();
        self.env.kernels.pack_transposed(&self.env.gpu, &mut packed, &raw, (0, n_in), false).unwrap();
        // Decode kernels read weights before they wait for the kernels in front of them.
        self.env.gpu.synchronize().unwrap();
        let linear = Linear { weight: packed, bias: self.env.gpu.upload(&bias, "a test").unwrap() };
        let rows = (0..n_out).flat_map(|r| (0..n_in).map(move |k| k * n_out + r)).map(|i| weight[i].to_f64());
        (linear, Exactly { values: rows.collect(), n_cols: n_in }, bias)
    }

    pub fn norm(&mut self) -> (Norm, Vec<f32>, Vec<f32>) {
        let (gain, shift) = (self.floats(self.n_embd), self.floats(self.n_embd));
        let norm = Norm {
            gain: self.env.gpu.upload(&gain, "a test").unwrap(),
            shift: self.env.gpu.upload(&shift, "a test").unwrap(),
        };
        (norm, gain, shift)
    }

    pub fn read(&self, buffer: &Buffer<f32>) -> Vec<f32> {
        let mut values = vec![0.0; buffer.len()];
        self.env.gpu.read(buffer, 0, &mut values).unwrap();
        values
    }

    /// The columns of a step of `n_columns` that exist, with their positions.
    pub fn columns(&self, n_columns: u32) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.positions.iter().take(n_columns as usize).enumerate().filter_map(|(t, p)| p.map(|p| (t, p)))
    }

    /// A layer's pages for all columns, with these keys and values.
    pub fn pages(&self, sides: &[Vec<f32>; 2]) -> Pages {
        let [keys, values] = sides.each_ref().map(|side| self.env.gpu.upload(side, "a test").unwrap());
        Pages { keys, values }
    }

    /// Floats of a layer's keys.
    pub fn pages_len(&self) -> usize {
        MAX_COLUMNS as usize * self.env.dims.n_pages() * self.n_head * PAGE * self.env.dims.padded_dim()
    }

    /// Embeddings, `[V, C]`, on both sides.
    pub fn table(&mut self) -> (Packed, Exactly) {
        let (v, c) = (self.n_vocab, self.n_embd);
        let table = self.halves(v * c);
        let pieces = self.env.gpu.alloc(Packed::len(v, c), "a test").unwrap();
        let mut packed = Packed { pieces, n_rows: v, n_cols: c };
        // In two parts, as a large table is uploaded.
        for part in [0..v / 2, v / 2..v].into_iter().filter(|p| !p.is_empty()) {
            let bytes = bytemuck::cast_slice(&table[part.start * c..part.end * c]);
            let raw = self.env.gpu.upload::<u8>(bytes, "a test").unwrap();
            self.env
                .kernels
                .pack_rows(&self.env.gpu, &mut packed, &raw, (part.start, part.len()), false)
                .unwrap();
            self.env.gpu.synchronize().unwrap();
        }
        (packed, Exactly { values: table.iter().map(|v| v.to_f64()).collect(), n_cols: c })
    }
}

/// In -1 ..= 1.
fn uniform(random: &mut Random) -> f32 {
    random.below(20001) as f32 / 10000.0 - 1.0
}

/// Columns leave their logits in another order.
pub fn row_of(t: usize) -> usize {
    (t * 5 + 2) % 8
}

/// A page of column `t`: no two share one.
pub fn page_of(t: usize, page: usize) -> usize {
    page * 8 + (t + page) % 8
}
