//! GPT-2 124M with random weights, verified before it is timed.

#![allow(dead_code)]

use halfwarp::{
    Config, Weights,
    backend::{Backend, cpu::CpuBackend, naive},
    batch::{Batch, Rows},
};
use std::sync::Arc;

/// config.json of GPT-2 124M.
const GPT2: &[u8] =
    br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 12, "n_head": 12,
    "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5}"#;

pub fn gpt2() -> Config {
    halfwarp::family::parse_config(GPT2).expect("the config is valid")
}

/// Token ids that look like no pattern.
pub fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i * 9973 % 50257).collect()
}

/// A backend whose logits were compared with the plain twin's.
pub fn verified_backend() -> (Arc<Weights>, CpuBackend) {
    let weights = Arc::new(Weights::random(gpt2(), 1));
    let mut backend = CpuBackend::new(weights.clone(), None);
    let mut cache = backend.new_cache(1024).expect("a cache");
    let ids = ids(2);
    let exact = naive::forward(&weights, &ids);
    let batch = Batch::one(cache.open(), &ids, Rows::Last);
    let logits = backend.forward(&batch, &mut cache).expect("logits");
    let row = logits.row(0).expect("a row");
    for (a, b) in row.iter().zip(&exact[weights.config.n_vocab..]) {
        assert!((*a as f64 - b).abs() < 1e-4, "a logit is {a}, expected {b}");
    }
    println!("{}, logits verified", backend.name());
    (weights, backend)
}
