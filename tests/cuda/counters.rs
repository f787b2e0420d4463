//! What a decode step asks of the memory, counted: the limits that make it fast.

use crate::emulator::{self, Emulator};
use halfwarp::{
    Config, Weights,
    backend::{Backend, cuda::CudaBackend},
    batch::{Batch, Phase, Rows},
};
use serde_json::Value;

/// The four GPT-2 models: name, n_head, n_embd. Two layers of each: the others are the same.
const SIZES: [(&str, usize, usize); 4] =
    [("gpt2", 12, 768), ("gpt2-medium", 16, 1024), ("gpt2-large", 20, 1280), ("gpt2-xl", 25, 1600)];
const N_LAYER: usize = 2;
const N_VOCAB: usize = 50257;

fn config(n_head: usize, n_embd: usize) -> Config {
    let json = serde_json::json!({"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": N_LAYER,
        "n_head": n_head, "n_embd": n_embd, "n_positions": 1024, "vocab_size": N_VOCAB, "layer_norm_epsilon": 1e-5});
    halfwarp::family::parse_config(json.to_string().as_bytes()).unwrap()
}

/// The launches of one decode step for `n_columns` sequences at position 0.
fn step(emulator: &Emulator, weights: &Weights, n_columns: usize) -> Vec<Value> {
    let mut backend =
        CudaBackend::open(0, weights, 1024, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    let mut cache = backend.new_cache(1024).unwrap();
    let mut batch = Batch::new();
    for i in 0..n_columns {
        let seq = cache.open();
        batch.push_as(Phase::Generated, seq, &[i as u32], Rows::Last);
    }
    emulator.counters();
    backend.forward(&batch, &mut cache).unwrap().row(0).unwrap();
    emulator.counters()["launches"].as_array().unwrap().clone()
}

fn sum(launches: &[Value], of: &str) -> u64 {
    launches.iter().map(|launch| launch.pointer(of).and_then(Value::as_u64).unwrap()).sum()
}

#[test]
fn a_step_reads_every_weight_once_in_full_requests_of_512_bytes() {
    if emulator::is_real() {
        println!("skipped: only the emulator counts");
        return;
    }
    let emulator = Emulator::counting();
    for (name, n_head, n_embd) in SIZES {
        let weights = Weights::random(config(n_head, n_embd), 3);
        let per_layer = 12 * n_embd * n_embd;
        let least = 2 * (N_LAYER * per_layer + N_VOCAB * n_embd) as u64;
        for n_columns in [1, 8] {
            let launches = step(&emulator, &weights, n_columns);
            let what = format!("{name}, {n_columns} columns");
            assert!(launches.len() <= 5 * N_LAYER + 3, "{what}: {} launches", launches.len());
            // Weights are what is read through the read-only path.
            let read = sum(&launches, "/read_only/bytes");
            assert!(read >= least && read as f64 <= 1.01 * least as f64, "{what}: {read} bytes, of {least}");
            assert_eq!(read, sum(&launches, "/read_only/distinct_bytes"), "{what}: each byte is read once");
            let requests = sum(&launches, "/read_only/requests");
            assert_eq!(sum(&launches, "/read_only/sectors"), 16 * requests, "{what}: sectors of a request");
            assert_eq!(read, 512 * requests, "{what}: 16 bytes a lane");
            assert_eq!(sum(&launches, "/atomic/requests"), 0, "{what}: atomics");
            for launch in &launches {
                // No bank conflicts in loops. Attention's touch no shared memory: its pages meet there once.
                let limit = if launch["kernel"] == "attention_decode_f32" { 1.1 } else { 1.0 };
                let [waves, ideal] =
                    ["wavefronts", "ideal_wavefronts"].map(|of| launch["shared"][of].as_f64().unwrap());
                assert!(
                    waves <= limit * ideal,
                    "{what}, {}: {waves} wavefronts, of {ideal}",
                    launch["kernel"]
                );
            }
            println!("{what}: {:.4} of the least weight bytes", read as f64 / least as f64);
        }
    }
}
