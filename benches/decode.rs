//! One forward call for one new token each of 1 to 16 sequences: bytes of weights a second. Compare with what
//! `halfwarp::backend::cpu::bandwidth::read_bandwidth` measures, printed first.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halfwarp::{
    backend::{
        Backend,
        cpu::bandwidth::{MEMORY_BYTES, read_bandwidth},
    },
    batch::{Batch, Rows},
};

fn decode(c: &mut Criterion) {
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!(
        "{n_threads} threads read {:.1} GB/s",
        read_bandwidth(n_threads, MEMORY_BYTES, 5).expect("memory") / 1e9
    );
    let (weights, mut backend) = common::verified_backend();
    let n_bytes = weights.matrices().map(|m| m.n_bytes()).sum::<usize>() - weights.position_embd.n_bytes();
    let mut group = c.benchmark_group("decode");
    group.sample_size(20).throughput(Throughput::Bytes(n_bytes as u64));
    for n_sequences in [1, 2, 4, 8, 16] {
        let mut cache = backend.new_cache(64 * n_sequences).expect("a cache");
        let sequences: Vec<_> = (0..n_sequences).map(|_| cache.open()).collect();
        let mut batch = Batch::new();
        group.bench_function(BenchmarkId::new("sequences", n_sequences), |b| {
            b.iter(|| {
                for &seq in &sequences {
                    // Stays at the start of the context, where the weights are nearly all that is read.
                    cache.truncate(seq, 15).expect("a live sequence");
                }
                batch.clear();
                sequences.iter().for_each(|&seq| batch.push(seq, &[11], Rows::Last));
                backend.forward(&batch, &mut cache).expect("logits").n_rows()
            })
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
