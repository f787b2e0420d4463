//! The decoder in plain loops and float64, never optimised: the twin that everything fast is compared with.
//!
//! Each function is the textbook formula for one operation, on whole arrays. [`NaiveBackend`] strings them into a
//! [`Backend`] that recomputes a sequence from its first token on every call. Checked against Hugging Face's float64
//! logits in `tests/parity/`.

use crate::{
    Config, Weights,
    backend::{Backend, Logits, Result},
    batch::{Batch, Rows},
    cache::{KvCache, PAGE_LEN},
    config::{Activation, Positions},
    weights::{Linear, Matrix, Norm},
};
use std::sync::Arc;

/// `y = (x - mean) / √(variance + eps) · weight + bias` for each row of `x`, `[T, C]`.
pub fn layernorm(x: &[f64], norm: &Norm, eps: f64) -> Vec<f64> {
    let width = norm.weight.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / width as f64;
        for c in 0..width {
            let bias = norm.bias.as_ref().map_or(0.0, |bias| bias[c] as f64);
            y.push((row[c] - mean) / (variance + eps).sqrt() * norm.weight[c] as f64 + bias);
        }
    }
    y
}

/// `y[t, o] = bias[o] + Σ_i x[t, i] weight(i, o)`, the outputs of all parts side by side, with `x`: `[T, in]`, `y`: `[T, out]`.
pub fn linear(x: &[f64], linear: &Linear) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len() / linear.n_in() * linear.n_out());
    for row in x.chunks(linear.n_in()) {
        let outputs = linear.parts.iter().flat_map(|part| (0..part.n_out()).map(move |o| (part, o)));
        for (all, (part, o)) in outputs.enumerate() {
            let mut sum = linear.bias.as_ref().map_or(0.0, |bias| bias[all] as f64);
            for i in 0..part.n_in() {
                sum += row[i] * part.get(o, i) as f64;
            }
            y.push(sum);
        }
    }
    y
}

/// `logits[t, v] = Σ_c x[t, c] weight[v, c]`, with `x`: `[T, C]`, `weight`: `[V, C]`.
pub fn logits(x: &[f64], weight: &Matrix) -> Vec<f64> {
    let width = weight.n_in();
    let mut y = Vec::with_capacity(x.len() / width * weight.n_out());
    for row in x.chunks(width) {
        for v in 0..weight.n_out() {
            y.push((0..width).map(|c| row[c] * weight.get(v, c) as f64).sum());
        }
    }
    y
}

/// The activation, element by element. Formulas: [`Activation`].
pub fn activation(x: f64, kind: Activation) -> f64 {
    match kind {
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::Relu => x.max(0.0),
    }
}

/// The error function, by its series `2/√π Σ (-1)ⁿ x²ⁿ⁺¹ / (n! (2n+1))` near zero and by the continued fraction of
/// erfc beyond 3 (Abramowitz and Stegun 7.1.5, 7.1.14).
pub fn erf(x: f64) -> f64 {
    let scale = 2.0 / std::f64::consts::PI.sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return scale * sum;
    }
    let mut fraction = 0.0;
    for n in (1..=60).rev() {
        fraction = n as f64 / 2.0 / (x.abs() + fraction);
    }
    (1.0 - (-x * x).exp() / (x.abs() + fraction) * scale / 2.0).copysign(x)
}

/// `softmax(x)`, in place.
pub fn softmax(x: &mut [f64]) {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for v in x.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    for v in x.iter_mut() {
        *v /= sum;
    }
}

/// Causal attention of every position over those up to itself: `qkv`: `[T, 3 H D]` -> `[T, H D]`.
pub fn attention(qkv: &[f64], config: &Config, layer: usize) -> Vec<f64> {
    let (width, head_dim) = (config.attn.width(), config.attn.head_dim);
    let n_tokens = qkv.len() / (3 * width);
    let scale = config.attn.scale[layer] as f64;
    let mut y = vec![0.0; n_tokens * width];
    for t in 0..n_tokens {
        for head in 0..config.attn.n_head {
            let q = &qkv[t * 3 * width + head * head_dim..][..head_dim];
            let mut scores = Vec::with_capacity(t + 1);
            for s in 0..=t {
                let k = &qkv[s * 3 * width + width + head * head_dim..][..head_dim];
                scores.push(scale * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>());
            }
            softmax(&mut scores);
            for (s, p) in scores.iter().enumerate() {
                let v = &qkv[s * 3 * width + 2 * width + head * head_dim..][..head_dim];
                for d in 0..head_dim {
                    y[t * width + head * head_dim + d] += p * v[d];
                }
            }
        }
    }
    y
}

/// Logits of every position of `tokens`: `[T]` -> `[T, V]`.
pub fn forward(weights: &Weights, tokens: &[u32]) -> Vec<f64> {
    let config = &weights.config;
    let eps = config.norm.eps as f64;
    let mut x = rows(&weights.token_embd, tokens.iter().map(|&token| token as usize));
    match config.positions {
        Positions::Learned => add(&mut x, &rows(&weights.position_embd, 0..tokens.len())),
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        let h = layernorm(&x, &layer.attn_norm, eps);
        let qkv = linear(&h, &layer.qkv);
        let h = attention(&qkv, config, i);
        add(&mut x, &linear(&h, &layer.attn_out));

        let h = layernorm(&x, &layer.mlp_norm, eps);
        let mut h = linear(&h, &layer.up);
        h.iter_mut().for_each(|v| *v = activation(*v, config.mlp.activation));
        add(&mut x, &linear(&h, &layer.down));
    }
    let h = layernorm(&x, &weights.out_norm, eps);
    logits(&h, weights.head())
}

/// Rows of a table, one after the other.
pub fn rows(table: &Matrix, ids: impl Iterator<Item = usize>) -> Vec<f64> {
    ids.flat_map(|id| (0..table.n_in()).map(move |c| table.get(id, c) as f64)).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// [`forward`] behind the seam. Its cache is the sequences' tokens; nothing else is kept between calls.
#[derive(Debug)]
pub struct NaiveBackend {
    weights: Arc<Weights>,
    logits: Vec<f32>,
}

impl NaiveBackend {
    /// A backend for `weights`.
    pub fn new(weights: Arc<Weights>) -> Self {
        Self { weights, logits: Vec::new() }
    }
}

impl Backend for NaiveBackend {
    fn name(&self) -> String {
        "CPU (naive, float64)".into()
    }

    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        Ok(KvCache::new(n_tokens.div_ceil(PAGE_LEN), self.config().n_ctx, self.config().n_vocab))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        cache.append(batch)?;
        let n_vocab = self.config().n_vocab;
        self.logits.clear();
        for entry in batch.entries().iter().filter(|e| e.rows != Rows::None) {
            let all = forward(&self.weights, cache.tokens(entry.seq)?);
            let asked = &all[all.len() - entry.n_rows() * n_vocab..];
            self.logits.extend(asked.iter().map(|&v| v as f32));
        }
        Ok(Logits::from_host(&self.logits, n_vocab))
    }
}
