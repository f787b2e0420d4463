//! Asynchronous copies of every size, and hints to the caches.

use crate::{
    harness::{FROM_80, args, on, over, shape},
    numbers::Random,
};

#[test]
fn asynchronous_copies_of_every_size_fill_up_with_zeros() {
    on(&FROM_80, "zoo_copy", |gpu| {
        let x: Vec<u8> = (0..64 * 16).map(|i| (i % 251 + 1) as u8).collect();
        let (dx, y) = (gpu.upload(&x), gpu.output::<u8>(6 * x.len()));
        gpu.launch("copy_sizes", shape(1, 64), args![y, dx]);
        let taken: [fn(usize) -> usize; 6] = [|_| 4, |_| 8, |_| 16, |i| i % 5, |i| i % 9, |i| i % 17];
        let want: Vec<u8> = taken
            .iter()
            .flat_map(|bytes| (0..x.len()).map(|at| if at % 16 < bytes(at / 16) { x[at] } else { 0 }))
            .collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn asynchronous_copies_arrive_at_a_barrier() {
    on(&FROM_80, "zoo_copy", |gpu| {
        for n in [64, 320] {
            let x = Random(1).words(4 * n);
            let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(4 * n));
            gpu.launch("copy_with_barrier", shape(1, 64), args![y, dx, n as u32]);
            let want: Vec<u32> = (0..4 * n).map(|w| x[4 * ((w / 4) ^ 63) + w % 4]).collect();
            assert_eq!(gpu.read(y), want, "{n} pieces");
        }
    });
}

#[test]
fn policies_and_prefetches_change_no_value() {
    on(&FROM_80, "zoo_copy", |gpu| {
        let n = 70;
        let x = Random(2).floats(2 * n, 1.0);
        let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(2 * n));
        gpu.launch("cache_policies", over(n, 32), args![y, dx, n as u32]);
        assert_eq!(gpu.read(y), x);
    });
}
