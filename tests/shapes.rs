//! Models of unusual shapes take the memory that their own products need.
#![cfg(target_os = "linux")]

use halfwarp::{
    Weights,
    backend::{Backend, cpu::CpuBackend},
    batch::{Batch, Rows},
    family::parse_config,
};
use std::sync::Arc;

/// Anonymous memory of this process in bytes.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of its own");
    let kibibytes: usize = line.split_whitespace().next().expect("a number").parse().expect("a number");
    kibibytes << 10
}

/// The widest MLP that a config may have, on a narrow stream: no product has both as inputs and outputs.
#[test]
fn a_wide_mlp_takes_the_memory_of_its_products() {
    let n_inner = 1 << 20;
    let json = format!(
        r#"{{"model_type": "gpt2", "vocab_size": 61, "n_positions": 64, "n_embd": 8, "n_head": 2, "n_layer": 1,
            "n_inner": {n_inner}}}"#
    );
    let weights = Arc::new(Weights::random(parse_config(json.as_bytes()).unwrap(), 1));
    let before = anonymous();
    let mut backend = CpuBackend::new(weights, Some(2));
    let mut cache = backend.new_cache(64).unwrap();
    let seq = cache.open();
    let logits = backend.forward(&Batch::one(seq, &[1, 2, 3], Rows::Last), &mut cache).unwrap();
    assert!(logits.row(0).unwrap().iter().all(|logit| logit.is_finite()));
    // Three tokens' inner values, once as they are and once packed, with the sums of a product.
    let (taken, allowed) = (anonymous().saturating_sub(before), 16 * 4 * n_inner);
    assert!(taken < allowed, "{} MiB are taken, expected under {} MiB", taken >> 20, allowed >> 20);
}
