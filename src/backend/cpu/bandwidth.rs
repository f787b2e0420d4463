//! How fast this machine's threads read memory: the bound of decoding, which reads every weight once a token.

use super::{
    pool::Pool,
    simd::{Isa, Kernel, LANES, Simd},
};
use crate::memory;
use std::{io, time::Instant};

/// More bytes than caches hold.
pub const MEMORY_BYTES: usize = 256 << 20;

/// Most bytes a thread takes at a time.
const CHUNK: usize = 1 << 20;

/// Bytes a second that `n_threads` threads read together, each in order: the best of `n_times` walks over `n_bytes`, at least a page
/// for each thread, in huge pages where the system has them.
pub fn read_bandwidth(n_threads: usize, n_bytes: usize, n_times: usize) -> io::Result<f64> {
    const PAGE: usize = 4096;
    let chunk = (n_bytes / n_threads.max(1) / PAGE * PAGE).clamp(PAGE, CHUNK);
    let n_chunks = (n_bytes / chunk).max(n_threads);
    let n_bytes = n_chunks * chunk;
    let mut memory = memory::zeroed(n_bytes)?;
    let values: &mut [f32] = bytemuck::cast_slice_mut(&mut memory);
    values.fill(1.0);
    let values = &*values;
    let (mut pool, isa) = (Pool::new(n_threads), Isa::best());
    let mut best = f64::INFINITY;
    for _ in 0..n_times {
        let start = Instant::now();
        pool.run(n_chunks, &|i, _| {
            let chunk = &values[i * chunk / 4..][..chunk / 4];
            assert_eq!(isa.run(Sum(chunk)), chunk.len() as f32, "a chunk of ones adds up");
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(n_bytes as f64 / best)
}

/// The sum of the values, in eight chains.
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        const N: usize = 8;
        let mut sums = [s.splat(0.0); N];
        for v in self.0.as_chunks::<LANES>().0.as_chunks::<N>().0 {
            for i in 0..N {
                sums[i] = s.add(sums[i], s.load(&v[i]));
            }
        }
        let mut sum = 0.0;
        for v in sums {
            sum += s.sum(v);
        }
        sum
    }
}
