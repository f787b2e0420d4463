//! Prefill: each kernel against a plain twin in float64, and whole models against themselves.

mod attention;
mod linear;
mod models;

use halfwarp::{
    Weights,
    backend::cuda::{
        driver::{Buffer, Gpu},
        kernels::{Dims, Kernels, MAX_TOKENS, Pages, Plan, Prompt, PromptActivations},
        model::Model,
    },
    cache::PAGE_LEN,
};

/// Architectures whose code differs, and the newest.
const ARCHS: [u32; 4] = [75, 80, 90, 120];

/// Half a unit in the last place of 1: what one rounding of fp32 is off by, relatively.
const EPS: f64 = 1.0 / (1 << 24) as f64;

/// What a float in two halves is off by: relatively, and at least.
const SPLIT: f64 = 1.0 / (1 << 22) as f64;
const SPLIT_MIN: f64 = 1.0 / (1 << 25) as f64;

/// A device with a model of one layer, and room for a pass.
struct Rig {
    gpu: Gpu,
    dims: Dims,
    kernels: Kernels,
    weights: Weights,
    model: Model,
    act: PromptActivations,
    pages: Pages,
    plan: Plan,
    on_device: Buffer<u32>,
}

impl Rig {
    /// Of `n_head` heads of `head_dim`, an inner width of `n_inner`, and `n_pages` pages, which hold NaN except where a head's
    /// vectors are padded.
    fn new(n_head: usize, head_dim: usize, n_inner: usize, activation: &str, n_pages: usize) -> Self {
        let n_embd = n_head * head_dim;
        let json = format!(
            r#"{{"model_type": "gpt2", "activation_function": "{activation}", "n_layer": 1, "n_head": {n_head}, "n_embd": {n_embd},
                "n_inner": {n_inner}, "n_positions": 640, "vocab_size": 67, "layer_norm_epsilon": 1e-5}}"#
        );
        let weights = Weights::random(halfwarp::family::parse_config(json.as_bytes()).unwrap(), 3);
        let config = &weights.config;
        let gpu = Gpu::open(0).unwrap();
        gpu.bind().unwrap();
        let dims = Dims::new(config).unwrap();
        let kernels = Kernels::load(&gpu, &dims).unwrap();
        let model =
            Model::upload(&gpu, &kernels, &weights, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
        let act = PromptActivations::new(&gpu, &dims).unwrap();
        let padded = dims.padded_dim();
        let nan: Vec<f32> = (0..n_pages * n_head * PAGE_LEN * padded)
            .map(|i| if i % padded < head_dim { f32::NAN } else { 0.0 })
            .collect();
        let pages =
            Pages { keys: gpu.upload(&nan, "keys").unwrap(), values: gpu.upload(&nan, "values").unwrap() };
        let on_device = gpu.zeros(dims.plan_len(), "the plan").unwrap();
        let plan = Plan::new(&dims);
        Self { gpu, dims, kernels, weights, model, act, pages, plan, on_device }
    }

    /// Plans spans of (tokens, position of the first, page table), and embeds them, as a pass begins: launches after that may
    /// start early.
    fn plan(&mut self, spans: &[(&[u32], usize, &[u32])]) {
        self.plan.clear();
        for &(tokens, position, pages) in spans {
            assert_eq!(self.plan.push(tokens, position, pages), tokens.len());
        }
        self.gpu.write(&mut self.on_device, 0, self.plan.words()).unwrap();
        let (run, act, _, model) = self.prompt();
        run.embed(act, &model.token_embd, &model.position_embd).unwrap();
    }

    fn prompt(&mut self) -> (Prompt<'_>, &mut PromptActivations, &mut Pages, &Model) {
        let Self { gpu, dims, kernels, model, act, pages, plan, on_device, .. } = self;
        (Prompt { gpu, kernels, dims, plan, on_device }, act, pages, model)
    }

    fn read(&self, from: &Buffer<f32>, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        self.gpu.read(from, 0, &mut values).unwrap();
        values
    }

    /// Rows of floats in two halves, `[T, width]`; the padding must be zero.
    fn read_halves(&self, from: &Buffer<u16>, n_tokens: usize, width: usize) -> Vec<f64> {
        let padded = from.len() / 2 / MAX_TOKENS;
        let mut halves = vec![0; from.len()];
        self.gpu.read(from, 0, &mut halves).unwrap();
        let half = |i: usize| half::f16::from_bits(halves[i]).to_f64();
        let mut rows = Vec::new();
        for t in 0..n_tokens {
            rows.extend((0..width).map(|c| half(t * padded + c) + half((MAX_TOKENS + t) * padded + c)));
            let padding = (width..padded).flat_map(|c| [t * padded + c, (MAX_TOKENS + t) * padded + c]);
            assert!(padding.into_iter().all(|i| halves[i] == 0), "padding of row {t}");
        }
        rows
    }

    /// Writes rows of floats in two halves, and returns what they hold exactly.
    fn write_halves(&mut self, inner: bool, rows: &[f32], width: usize) -> Vec<f64> {
        let to = if inner { &mut self.act.inner } else { &mut self.act.h };
        let padded = to.len() / 2 / MAX_TOKENS;
        let mut halves = vec![0; to.len()];
        let mut exact = Vec::new();
        for (i, &x) in rows.iter().enumerate() {
            let at = i / width * padded + i % width;
            let high = half::f16::from_f32(x);
            let low = half::f16::from_f32(x - high.to_f32());
            (halves[at], halves[MAX_TOKENS * padded + at]) = (high.to_bits(), low.to_bits());
            exact.push(high.to_f64() + low.to_f64());
        }
        self.gpu.write(to, 0, &halves).unwrap();
        exact
    }
}

/// Uniform in -range .. range.
fn random_floats(seed: u64, len: usize, range: f32) -> Vec<f32> {
    let mut random = crate::rig::Random(seed);
    (0..len).map(|_| (random.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0) * range).collect()
}

/// NaN is never close.
#[track_caller]
fn assert_close(ours: f64, expected: f64, tolerance: f64, what: impl Fn() -> String) {
    let off = (ours - expected).abs();
    assert!(off <= tolerance, "{}: {ours:e}, expected {expected:e}, off by {off:e} > {tolerance:e}", what());
}
