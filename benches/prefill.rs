//! One forward call for a whole prompt: tokens a second, and the share of arithmetic in it.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halfwarp::{
    backend::Backend,
    batch::{Batch, Rows},
};

fn prefill(c: &mut Criterion) {
    let (weights, mut backend) = common::verified_backend();
    let of_layers = weights.tensors().filter(|(slot, _)| slot.layer.is_some() && slot.n_in.is_some());
    let n_weights: usize = of_layers.map(|(slot, _)| slot.len()).sum();
    println!("a token takes {:.3} GFLOP in the layers' matrices", 2.0 * n_weights as f64 / 1e9);
    let mut cache = backend.new_cache(1024).expect("a cache");
    let mut group = c.benchmark_group("prefill");
    group.sample_size(10);
    for n_tokens in [32, 64, 128, 512, 1024] {
        let ids = common::ids(n_tokens);
        group.throughput(Throughput::Elements(n_tokens as u64));
        group.bench_function(BenchmarkId::new("tokens", n_tokens), |b| {
            b.iter(|| {
                let seq = cache.open();
                let n_rows =
                    backend.forward(&Batch::one(seq, &ids, Rows::Last), &mut cache).expect("logits").n_rows();
                cache.release(seq).expect("a live sequence");
                n_rows
            })
        });
    }
}

criterion_group!(benches, prefill);
criterion_main!(benches);
