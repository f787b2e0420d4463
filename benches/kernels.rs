//! The CPU backend's operations on GPT-2 124M's shapes, on one thread, each verified against its plain twin first:
//! bytes a second where reading is the work, floating-point operations a second (as elements) where arithmetic is.
//! `linear_decode` walks over many matrices, so that none comes from a cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halfwarp::{
    Weights,
    backend::{
        cpu::{
            attention::{Span, padded},
            linear::Then,
            ops::{AttentionShape, Ops, Pages},
            simd::Isa,
        },
        naive,
    },
    cache::PAGE_LEN,
    config::Activation,
};

const WIDTH: usize = 768;

/// Layers of GPT-2's width with a small vocabulary.
fn weights(n_layer: usize) -> Weights {
    let json = format!(
        r#"{{"model_type": "gpt2", "vocab_size": 4096, "n_positions": 1024, "n_embd": {WIDTH}, "n_head": 12,
            "n_layer": {n_layer}, "layer_norm_epsilon": 1e-5}}"#
    );
    Weights::random(halfwarp::family::parse_config(json.as_bytes()).expect("the config is valid"), 1)
}

fn input(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1999) as f32 / 1000.0 - 1.0).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v as f64).collect()
}

fn verify(ours: &[f32], exact: &[f64]) {
    for (a, b) in ours.iter().zip(exact) {
        assert!((*a as f64 - b).abs() < 1e-3, "{a}, expected {b}");
    }
}

fn linear(c: &mut Criterion) {
    let weights = weights(36);
    let mut ops = Ops::new(Isa::best(), 1);
    let mut group = c.benchmark_group("linear_decode");
    let n_bytes: usize = weights.layers.iter().map(|h| h.up.parts[0].n_bytes() * 2).sum();
    group.sample_size(20).throughput(Throughput::Bytes(n_bytes as u64));
    for n_tokens in [1, 4, 12] {
        let (x, mut y, mut z) =
            (input(n_tokens * WIDTH), vec![0.0; n_tokens * 4 * WIDTH], vec![0.0; n_tokens * WIDTH]);
        ops.linear(&mut y, &x, &weights.layers[0].up, Then::Store);
        verify(&y, &naive::linear(&wide(&x), &weights.layers[0].up));
        group.bench_function(BenchmarkId::new("tokens", n_tokens), |b| {
            b.iter(|| {
                for layer in &weights.layers {
                    ops.linear(&mut y, &x, &layer.up, Then::Store);
                    ops.linear(&mut z, &y, &layer.down, Then::Store);
                }
            })
        });
    }
    group.finish();
    let mut group = c.benchmark_group("linear_prefill");
    group.sample_size(20);
    for n_tokens in [24, 512] {
        let (x, mut y) = (input(n_tokens * WIDTH), vec![0.0; n_tokens * 4 * WIDTH]);
        let gelu = Then::Activate(Activation::GeluTanh);
        group.throughput(Throughput::Elements((n_tokens * WIDTH * 4 * WIDTH * 2) as u64));
        group.bench_function(BenchmarkId::new("tokens", n_tokens), |b| {
            b.iter(|| ops.linear(&mut y, &x, &weights.layers[0].up, gelu))
        });
    }
    group.finish();
}

fn attention(c: &mut Criterion) {
    let config = weights(1).config;
    let head_dim = config.attn.head_dim;
    let shape = AttentionShape { width: WIDTH, head_dim, scale: config.attn.scale[0], n_ctx: 1024 };
    let mut ops = Ops::new(Isa::best(), 1);
    let pages: Vec<u32> = (0..32).collect();
    let mut keys = vec![0.0; 32 * WIDTH * PAGE_LEN];
    let mut values = vec![0.0; 32 * 12 * padded(head_dim) * PAGE_LEN];
    let qkv = input(1024 * 3 * WIDTH);
    let mut attend = |position: usize, n_tokens: usize, y: &mut [f32]| {
        let span = Span { first: 0, n_tokens, position, pages: &pages };
        let pages = Pages { keys: &mut keys, values: &mut values };
        ops.attention(
            y,
            &qkv[position * 3 * WIDTH..][..n_tokens * 3 * WIDTH],
            pages,
            std::iter::once(span),
            shape,
        );
    };
    let mut y = vec![0.0; 1024 * WIDTH];
    attend(0, 1024, &mut y);
    verify(&y[..40 * WIDTH], &naive::attention(&wide(&qkv[..40 * 3 * WIDTH]), &config, 0));
    let mut group = c.benchmark_group("attention");
    group.throughput(Throughput::Bytes((2 * 1024 * WIDTH * 4) as u64));
    group.bench_function("decode at position 1023", |b| b.iter(|| attend(1023, 1, &mut y[..WIDTH])));
    group.throughput(Throughput::Elements((512 * 513 / 2 * WIDTH * 4) as u64));
    group.bench_function("prefill of 512 tokens", |b| b.iter(|| attend(0, 512, &mut y[..512 * WIDTH])));
    group.finish();
}

fn rows(c: &mut Criterion) {
    let weights = weights(1);
    let mut ops = Ops::new(Isa::best(), 1);
    let (x, mut y) = (input(512 * WIDTH), vec![0.0; 512 * WIDTH]);
    ops.layernorm(&mut y, &x, &weights.out_norm, 1e-5);
    verify(&y, &naive::layernorm(&wide(&x), &weights.out_norm, 1e-5));
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Bytes((2 * 4 * x.len()) as u64));
    group.bench_function("layernorm of 512 tokens", |b| {
        b.iter(|| ops.layernorm(&mut y, &x, &weights.out_norm, 1e-5))
    });
    for n_rows in [1, 64] {
        let (x, mut y) = (&x[..n_rows * WIDTH], vec![0.0; n_rows * 4096]);
        ops.logits(&mut y, x, &weights.token_embd);
        verify(&y[..4096], &naive::logits(&wide(&x[..WIDTH]), &weights.token_embd));
        group.throughput(Throughput::Elements((n_rows * 4096 * WIDTH * 2) as u64));
        group.bench_function(BenchmarkId::new("logits of 4096 tokens, rows", n_rows), |b| {
            b.iter(|| ops.logits(&mut y, x, &weights.token_embd))
        });
    }
    group.finish();
}

criterion_group!(benches, linear, attention, rows);
criterion_main!(benches);
