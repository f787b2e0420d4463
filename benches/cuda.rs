//! The CUDA backend: each decode kernel on GPT-2 124M's shapes, decode steps of 1 to 8 sequences, and prompts.
//!
//! Times are for a GPU. Where there is none, the emulator takes its place and what it counts is printed instead: bytes, sectors
//! and instructions, which are the same on any device, and no times.

#[path = "../tests/cuda/emulator.rs"]
#[allow(dead_code)]
mod emulator;
#[path = "../tests/invariance/rig.rs"]
#[allow(dead_code)]
mod rig;
#[path = "../tests/cuda/step_rig.rs"]
#[allow(dead_code)]
mod step_rig;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use emulator::Emulator;
use halfwarp::{
    Config, Weights,
    backend::{
        self, Backend,
        cpu::CpuBackend,
        cuda::{
            CudaBackend,
            kernels::{Traffic, attention_decode::attention_traffic, linear_decode as linear},
        },
    },
    batch::{Batch, Phase, Rows},
    cache::KvCache,
};
use std::{sync::Arc, time::Instant};
use step_rig::StepRig;

const SHAPE: step_rig::ModelShape = (768, 12, 3072, 50257);

/// Launches between two waits, so that launching costs nothing beside running.
const BURST: usize = 50;

fn gpt2() -> Config {
    let json = br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 12, "n_head": 12,
        "n_embd": 768, "n_positions": 1024, "vocab_size": 50257, "layer_norm_epsilon": 1e-5}"#;
    halfwarp::family::parse_config(json).expect("the config is valid")
}

/// The emulator, where there is no GPU.
fn emulator() -> Option<Emulator> {
    match backend::cuda_device(0) {
        Ok(device) if !emulator::is_loaded() => {
            println!("{device}");
            None
        }
        Ok(_) => Some(Emulator::counting()),
        Err(reason) => {
            println!("{reason}: what the emulator counts is printed, and no times");
            Some(Emulator::counting())
        }
    }
}

/// What one call of `run` asks of the device.
fn print_counters(emulator: &Emulator, what: &str, mut run: impl FnMut()) {
    emulator.counters();
    run();
    let totals = &emulator.counters()["totals"];
    let count = |of: &str| totals.pointer(of).and_then(serde_json::Value::as_u64).unwrap_or(0);
    println!(
        "{what}: {} launches, {:.3} MB of weights in {:.2} sectors a request, {:.3} MB read in all, {:.3} MB written, \
         {} warp instructions, {} multiply-adds on tensor cores",
        count("/launches"),
        count("/read_only/bytes") as f64 / 1e6,
        count("/read_only/sectors") as f64 / count("/read_only/requests").max(1) as f64,
        count("/read/bytes") as f64 / 1e6,
        count("/written/bytes") as f64 / 1e6,
        count("/warp_instructions"),
        count("/tensor_multiply_adds"),
    );
}

/// One kernel at a time, `BURST` launches as a graph.
fn kernels(c: &mut Criterion) {
    let emulator = emulator();
    let mut rig = StepRig::new(SHAPE);
    let (n_embd, n_inner) = (rig.n_embd, rig.n_inner);
    let (norm, ..) = rig.norm();
    let (qkv, ..) = rig.linear(n_embd, 3 * n_embd);
    let (attn_out, ..) = rig.linear(n_embd, n_embd);
    let (up, ..) = rig.linear(n_embd, n_inner);
    let (down, ..) = rig.linear(n_inner, n_embd);
    let (head, _) = rig.table();
    let zeros = vec![0.0; rig.pages_len()];
    let mut pages = rig.pages(&[zeros.clone(), zeros]);
    let mut logits = rig.env.gpu.zeros(8 * SHAPE.3, "a bench").expect("memory");
    let mut group = c.benchmark_group("cuda kernels");
    for n_columns in [1, 8] {
        let positions: Vec<usize> = rig.columns(n_columns).map(|(_, position)| position).collect();
        let (step, dims, n) = (rig.env.step(n_columns), rig.env.dims, positions.len());
        let act = &mut rig.act;
        let mut bench =
            |name: &str, traffic: Traffic, launch: &mut dyn FnMut() -> halfwarp::backend::Result<()>| {
                let once = |launch: &mut dyn FnMut() -> halfwarp::backend::Result<()>| {
                    launch().and_then(|()| rig.env.gpu.synchronize()).expect("a launch");
                };
                if let Some(emulator) = &emulator {
                    print_counters(emulator, &format!("{name}, {n_columns} columns"), || once(launch));
                    return;
                }
                let graph = rig.env.gpu.record(|| (0..BURST).try_for_each(|_| launch())).expect("a graph");
                group.throughput(Throughput::Bytes(traffic.n_bytes() as u64));
                group.bench_function(BenchmarkId::new(name, n_columns), |b| {
                    b.iter_custom(|n| {
                        let started = Instant::now();
                        for _ in 0..n {
                            // SAFETY: what it was recorded with is a local of `kernels`.
                            unsafe { rig.env.gpu.run(&graph).expect("a launch") };
                        }
                        rig.env.gpu.synchronize().expect("the end");
                        started.elapsed() / BURST as u32
                    });
                });
            };
        let qkv_traffic = linear::qkv_traffic(&dims, n);
        bench("qkv", qkv_traffic, &mut || step.qkv(act, &mut pages, &norm, &qkv));
        bench("attention", attention_traffic(&dims, &positions), &mut || step.attention(act, &pages, 0.125));
        let attn_out_traffic = linear::attn_out_traffic(&dims, &positions);
        bench("attn_out", attn_out_traffic, &mut || step.attn_out(act, &attn_out));
        bench("up", linear::up_traffic(&dims, n), &mut || step.up(act, &norm, &up));
        bench("down", linear::down_traffic(&dims, n), &mut || step.down(act, &down));
        let logits_traffic = linear::logits_traffic(&dims, SHAPE.3, n);
        bench("logits", logits_traffic, &mut || step.logits(&mut logits, act, &norm, &head));
    }
}

/// Whole steps and prompts of a backend whose logits were compared with the CPU's.
fn model(c: &mut Criterion) {
    let emulator = emulator();
    let weights = Arc::new(Weights::random(gpt2(), 1));
    let mut backend =
        CudaBackend::open(0, &weights, 8 * 1024, &mut |_, _| std::ops::ControlFlow::Continue(()))
            .expect("a device");
    verify(&weights, &mut backend);
    let n_bytes = weights.matrices().map(|m| m.n_bytes()).sum::<usize>() - weights.position_embd.n_bytes();
    let mut group = c.benchmark_group("cuda model");
    group.sample_size(20).throughput(Throughput::Bytes(n_bytes as u64));
    for n_sequences in [1, 2, 4, 8] {
        let mut cache = backend.new_cache(8 * 1024).expect("a cache");
        let sequences: Vec<_> = (0..n_sequences).map(|_| cache.open()).collect();
        let mut batch = Batch::new();
        let mut step = |backend: &mut CudaBackend, cache: &mut KvCache| {
            batch.clear();
            for &seq in &sequences {
                cache.truncate(seq, 0).expect("a live sequence");
                batch.push_as(Phase::Generated, seq, &[11], Rows::Last);
            }
            backend.forward(&batch, cache).expect("logits").row(0).expect("a row")[0]
        };
        match &emulator {
            Some(emulator) => print_counters(emulator, &format!("a step of {n_sequences} sequences"), || {
                step(&mut backend, &mut cache);
            }),
            None => {
                group.bench_function(BenchmarkId::new("step", n_sequences), |b| {
                    b.iter(|| step(&mut backend, &mut cache));
                });
            }
        }
    }
    for n_tokens in [16, 128, 512] {
        let mut cache = backend.new_cache(1024).expect("a cache");
        let seq = cache.open();
        let ids: Vec<u32> = (0..n_tokens).map(|i| i * 97 % 50257).collect();
        let batch = Batch::one(seq, &ids, Rows::Last);
        let mut prompt = || {
            cache.truncate(seq, 0).expect("a live sequence");
            backend.forward(&batch, &mut cache).expect("logits").row(0).expect("a row")[0]
        };
        match &emulator {
            Some(emulator) if n_tokens <= 128 => {
                print_counters(emulator, &format!("a prompt of {n_tokens} tokens"), || {
                    prompt();
                });
            }
            Some(_) => {}
            None => {
                group.throughput(Throughput::Elements(n_tokens.into()));
                group.bench_function(BenchmarkId::new("prompt", n_tokens), |b| b.iter(&mut prompt));
            }
        }
    }
}

fn verify(weights: &Arc<Weights>, backend: &mut CudaBackend) {
    let ids = [50256, 11, 262];
    let rows = |backend: &mut dyn Backend| -> Vec<f32> {
        let mut cache = backend.new_cache(1024).expect("a cache");
        let (seq, mut batch) = (cache.open(), Batch::new());
        batch.push_as(Phase::Generated, seq, &ids, Rows::Last);
        backend.forward(&batch, &mut cache).expect("logits").row(0).expect("a row").to_vec()
    };
    let expected = rows(&mut CpuBackend::new(weights.clone(), None));
    for (ours, expected) in rows(backend).iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-4, "a logit is {ours}, expected {expected}");
    }
    println!("{}, logits verified", backend.name());
}

criterion_group!(benches, kernels, model);
criterion_main!(benches);
