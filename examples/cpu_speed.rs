//! Times the CPU backend on a model folder, or on a random GPT-2 124M: `cargo run --release --example cpu_speed -- [FOLDER]`.
//!
//! Prints, one line a repetition, the rates of a 512-token prompt and of 128 tokens after it, as tokens and as weight
//! bytes a second, beside the rate at which the same threads merely read memory.

use halfwarp::{
    Config, Weights,
    backend::{
        Backend,
        cpu::{CpuBackend, bandwidth::read_bandwidth, simd::Isa},
    },
    batch::{Batch, Rows},
};
use std::{sync::Arc, time::Instant};

fn main() -> halfwarp::Result<()> {
    let arg = |name: &str| std::env::args().find_map(|a| a.strip_prefix(name).map(str::to_string));
    let number = |name: &str, default| arg(name).map_or(default, |v| v.parse().expect("a number"));
    let folder = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let (n_threads, n_times) = (number("--threads=", 2), number("--times=", 5));
    let (n_prompt, n_decode) = (number("--prompt=", 512), number("--decode=", 128));
    let start = Instant::now();
    let weights = Arc::new(match &folder {
        Some(folder) => Weights::open(folder.as_ref())?,
        None => Weights::random(Config::from_json(GPT2)?, 1),
    });
    println!("weights {:.2} s", start.elapsed().as_secs_f64());
    let isa = Isa::available().into_iter().find(|i| arg("--isa=").is_none_or(|a| a == i.to_string()));
    let start = Instant::now();
    let mut backend =
        CpuBackend::with_isa(weights.clone(), Some(n_threads), isa.expect("an instruction set"));
    let mut cache = backend.new_cache(1024)?;
    println!("{} made in {:.3} s", backend.name(), start.elapsed().as_secs_f64());
    let n_bytes: usize = weights.matrices().map(|m| m.n_bytes()).sum::<usize>() - weights.wpe.n_bytes();
    for _ in 0..n_times {
        let bandwidth = read_bandwidth(n_threads, 3);
        let seq = cache.open();
        let ids: Vec<u32> = (0..n_prompt as u32).map(|i| i * 97 % 50257).collect();
        let start = Instant::now();
        backend.forward(&Batch::one(seq, &ids, Rows::Last), &mut cache)?;
        let prompt = n_prompt as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut id = 1;
        for _ in 0..n_decode {
            let logits = backend.forward(&Batch::one(seq, &[id], Rows::Last), &mut cache)?;
            let row = logits.row(0)?;
            id = (0..row.len()).fold(0, |a, b| if row[b] > row[a] { b } else { a }) as u32;
        }
        let decode = n_decode as f64 / start.elapsed().as_secs_f64();
        let rate = decode * n_bytes as f64;
        println!(
            "pp{n_prompt} {prompt:.1} tok/s   tg{n_decode} {decode:.1} tok/s   weights {:.1} of {:.1} GB/s ({:.0} %)",
            rate / 1e9,
            bandwidth / 1e9,
            100.0 * rate / bandwidth
        );
        cache.release(seq)?;
    }
    Ok(())
}

/// config.json of GPT-2 124M.
const GPT2: &[u8] =
    br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 12, "n_head": 12,
    "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5}"#;
