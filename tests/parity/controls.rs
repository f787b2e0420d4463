//! Bugs on purpose: each must turn the gate red, or the gate is too weak to mean anything.
//!
//! Most are seeded in the weights or the config and run on the fast backend. Those inside attention and in the logits'
//! type run on a copy of the plain forward pass, [`forward`], which without a bug is within the gate.

use crate::{
    all_logits, gate,
    golden::{self, Distance, Golden, NAMES},
};
use half::f16;
use halfwarp::{
    Weights,
    backend::{cpu::CpuBackend, naive},
    config::Activation,
    family::Layout,
    weights::Matrix,
};
use std::sync::Arc;

/// Asserts that the gate refuses the fast backend on every model's weights after `seed`; `seed` says whether it applies.
#[track_caller]
fn refused_in_weights(seed: impl Fn(&mut Weights) -> bool) {
    let mut n_applied = 0;
    for name in NAMES {
        let mut weights = golden::weights(name);
        if !seed(&mut weights) {
            continue;
        }
        n_applied += 1;
        let golden = Golden::open(name);
        let mut backend = CpuBackend::new(Arc::new(weights), Some(2));
        let distance = Distance::new(&golden, &all_logits(&mut backend, &golden.ids));
        assert!(!distance.within(&gate(name)), "{name}: the bug passes with {distance:?}");
    }
    assert!(n_applied > 0, "the bug applies to no model");
}

/// A matrix with its elements moved by `f(elements, rows, cols)`, rows and columns as they are stored.
fn changed(matrix: &Matrix, f: impl FnOnce(Vec<f32>, usize, usize) -> Vec<f32>) -> Matrix {
    let (rows, cols) = match matrix.layout() {
        Layout::InOut => (matrix.n_in(), matrix.n_out()),
        Layout::OutIn => (matrix.n_out(), matrix.n_in()),
    };
    let values = (0..rows * cols).map(|i| matrix.elements().get(i)).collect();
    Matrix::from_f32(matrix.layout(), matrix.n_out(), matrix.n_in(), f(values, rows, cols))
}

#[test]
fn erf_for_tanh_in_gelu_is_refused() {
    refused_in_weights(|w| {
        w.config.mlp.activation = Activation::GeluErf;
        true
    });
}

#[test]
fn another_layernorm_epsilon_is_refused() {
    refused_in_weights(|w| {
        w.config.norm.eps = 1e-6;
        true
    });
}

#[test]
fn positions_shifted_by_one_are_refused() {
    refused_in_weights(|w| {
        w.position_embd = changed(&w.position_embd, |mut values, _, cols| {
            values.rotate_left(cols);
            values
        });
        true
    });
}

#[test]
fn unscaled_attention_is_refused() {
    refused_in_weights(|w| {
        w.config.attn.scale.fill(1.0);
        true
    });
}

#[test]
fn any_dropped_bias_is_refused() {
    type Bias = fn(&mut Weights) -> &mut Option<Vec<f32>>;
    let biases: [Bias; 7] = [
        |w| &mut w.layers[0].attn_norm.bias,
        |w| &mut w.layers[0].qkv.bias,
        |w| &mut w.layers[0].attn_out.bias,
        |w| &mut w.layers[1].mlp_norm.bias,
        |w| &mut w.layers[1].up.bias,
        |w| &mut w.layers[1].down.bias,
        |w| &mut w.out_norm.bias,
    ];
    for bias in biases {
        refused_in_weights(|w| {
            // A bias of zeros can be dropped: some of the models have those.
            bias(w).take().is_some_and(|bias| bias.iter().any(|&b| b != 0.0))
        });
    }
}

#[test]
fn a_transposed_weight_is_refused() {
    refused_in_weights(|w| {
        let weight = &mut w.layers[0].attn_out.parts[0];
        *weight = changed(weight, |values, rows, cols| {
            (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
        });
        true
    });
}

#[test]
fn a_skipped_last_tile_is_refused() {
    refused_in_weights(|w| {
        let n_in = w.config.n_embd;
        let weight = &mut w.layers[0].up.parts[0];
        *weight = changed(weight, |mut values, _, cols| {
            values[(n_in - n_in % 32) * cols..].fill(0.0);
            values
        });
        n_in % 32 != 0
    });
}

/// A bug inside the forward pass.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Each query also sees the position after its own.
    MaskOffByOne,
    /// Softmax's weights are rounded to fp16.
    SoftmaxF16,
    /// Logits are rounded to fp16.
    LogitsF16,
    /// One position's key and value in one layer are its neighbour's.
    StaleRow,
}

/// [`naive::forward`] with a bug: `[T]` -> `[T, V]`.
fn forward(weights: &Weights, tokens: &[u32], bug: Bug) -> Vec<f32> {
    let config = &weights.config;
    let (width, eps) = (config.n_embd, config.norm.eps as f64);
    let add = |x: &mut [f64], y: Vec<f64>| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    let mut x = naive::rows(&weights.token_embd, tokens.iter().map(|&token| token as usize));
    add(&mut x, naive::rows(&weights.position_embd, 0..tokens.len()));
    for (i, layer) in weights.layers.iter().enumerate() {
        let h = naive::layernorm(&x, &layer.attn_norm, eps);
        let mut qkv = naive::linear(&h, &layer.qkv);
        if bug == Bug::StaleRow && i == 0 {
            let row = 3 * width;
            qkv.copy_within(5 * row + width..6 * row, 6 * row + width);
        }
        add(&mut x, naive::linear(&attention(&qkv, weights, i, bug), &layer.attn_out));
        let h = naive::layernorm(&x, &layer.mlp_norm, eps);
        let mut h = naive::linear(&h, &layer.up);
        h.iter_mut().for_each(|v| *v = naive::activation(*v, config.mlp.activation));
        add(&mut x, naive::linear(&h, &layer.down));
    }
    let h = naive::layernorm(&x, &weights.out_norm, eps);
    let logits = naive::logits(&h, weights.head());
    let round = |v: f64| if bug == Bug::LogitsF16 { f16::from_f64(v).to_f32() } else { v as f32 };
    logits.into_iter().map(round).collect()
}

/// [`naive::attention`] with a bug.
fn attention(qkv: &[f64], weights: &Weights, layer: usize, bug: Bug) -> Vec<f64> {
    let config = &weights.config;
    let (width, head_dim, scale) = (config.n_embd, config.attn.head_dim, config.attn.scale[layer] as f64);
    let n_tokens = qkv.len() / (3 * width);
    let part = |t, which, head| &qkv[(3 * t + which) * width + head * head_dim..][..head_dim];
    let mut y = vec![0.0; n_tokens * width];
    for t in 0..n_tokens {
        let n_seen = if bug == Bug::MaskOffByOne { (t + 2).min(n_tokens) } else { t + 1 };
        for head in 0..config.attn.n_head {
            let dot = |s| part(t, 0, head).iter().zip(part(s, 1, head)).map(|(q, k)| q * k).sum::<f64>();
            let mut p: Vec<f64> = (0..n_seen).map(|s| scale * dot(s)).collect();
            naive::softmax(&mut p);
            if bug == Bug::SoftmaxF16 {
                p.iter_mut().for_each(|p| *p = f16::from_f64(*p).to_f64());
            }
            for (s, p) in p.into_iter().enumerate() {
                let y = &mut y[t * width + head * head_dim..][..head_dim];
                y.iter_mut().zip(part(s, 2, head)).for_each(|(y, v)| *y += p * v);
            }
        }
    }
    y
}

#[test]
fn bugs_inside_the_forward_pass_are_refused() {
    for name in NAMES {
        let (golden, weights) = (Golden::open(name), golden::weights(name));
        for bug in [Bug::None, Bug::MaskOffByOne, Bug::SoftmaxF16, Bug::LogitsF16, Bug::StaleRow] {
            let distance = Distance::new(&golden, &forward(&weights, &golden.ids, bug));
            assert_eq!(distance.within(&gate(name)), bug == Bug::None, "{name}, {bug:?}: {distance:?}");
        }
    }
}
