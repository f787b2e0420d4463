//! Atomic operations, of many threads on the same numbers.

use crate::{
    harness::{ALL, args, on, over, shape},
    numbers::{BF16, Random, half},
};

#[test]
fn atomics_of_32_bits_lose_nothing() {
    on(&ALL, "zoo_atomics", |gpu| {
        let n = 200;
        let x = Random(1).words(n);
        let start = [7, 7, 7, 7, u32::MAX, 0, u32::MAX, 0, 5, 990, 10, 3];
        let (dx, y) = (gpu.upload(&x), gpu.upload(&start));
        gpu.launch("atomics_32", over(n, 64), args![y, dx, n as u32]);
        let fold = |i: usize, f: fn(u32, u32) -> u32| x.iter().copied().fold(start[i], f);
        let want = [
            fold(0, u32::wrapping_add),
            fold(1, u32::wrapping_sub),
            fold(2, |a, b| (a as i32).min(b as i32) as u32),
            fold(3, |a, b| (a as i32).max(b as i32) as u32),
            fold(4, u32::min),
            fold(5, u32::max),
            fold(6, |a, b| a & b),
            fold(7, |a, b| a | b),
            fold(8, |a, b| a ^ b),
            fold(9, |a, _| if a >= 999 { 0 } else { a + 1 }),
            fold(10, |a, _| if a == 0 || a > 999 { 999 } else { a - 1 }),
            fold(11, u32::wrapping_add),
        ];
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn atomics_of_64_bits_lose_nothing() {
    on(&ALL, "zoo_atomics", |gpu| {
        let n = 200;
        let mut random = Random(2);
        let x: Vec<u64> = (0..n).map(|_| random.u64()).collect();
        let start = [1u64, 5, 5, u64::MAX, 0, u64::MAX, 0, 9];
        let (dx, y) = (gpu.upload(&x), gpu.upload(&start));
        gpu.launch("atomics_64", over(n, 64), args![y, dx, n as u32]);
        let operations: [fn(u64, u64) -> u64; 8] = [
            u64::wrapping_add,
            |a, b| (a as i64).min(b as i64) as u64,
            |a, b| (a as i64).max(b as i64) as u64,
            u64::min,
            u64::max,
            |a, b| a & b,
            |a, b| a | b,
            |a, b| a ^ b,
        ];
        let want: Vec<u64> =
            operations.iter().zip(start).map(|(f, s)| x.iter().copied().fold(s, f)).collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn atomic_sums_of_floats_are_exact_where_every_order_is() {
    on(&ALL, "zoo_atomics", |gpu| {
        let n = 100;
        let x: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0 + (i % 2) as f32).collect();
        let sum: f32 = x.iter().sum();
        let (dx, f32s, f64s) = (gpu.upload(&x), gpu.upload(&[0.5f32]), gpu.upload(&[0.25f64]));
        let (halves, bf16s) = (gpu.upload(&[0u16; 2]), gpu.upload(&[0u16; 2]));
        gpu.launch("atomics_float", over(n, 64), args![f32s, f64s, halves, bf16s, dx, n as u32]);
        assert_eq!(gpu.read(f32s), [sum + 0.5]);
        assert_eq!(gpu.read(f64s), [f64::from(sum) + 0.25]);
        let want = vec![f64::from(sum), n as f64];
        assert_eq!(gpu.read(halves).into_iter().map(half).collect::<Vec<_>>(), want);
        let bf16 = |b: u16| BF16.decode(u32::from(b));
        assert_eq!(gpu.read(bf16s).into_iter().map(bf16).collect::<Vec<_>>(), want);
    });
}

#[test]
fn atomics_give_each_old_value_once() {
    on(&ALL, "zoo_atomics", |gpu| {
        let n = 90usize;
        let (tickets, counters) = (gpu.output::<u32>(3 * n), gpu.upload(&[0u32; 3]));
        gpu.launch("atomics_returned", over(n, 32), args![tickets, counters, n as u32]);
        let (tickets, counters) = (gpu.read(tickets), gpu.read(counters));
        let sorted = |r: usize, last: Option<u32>| {
            let mut t = tickets[r * n..(r + 1) * n].to_vec();
            t.extend(last);
            t.sort_unstable();
            t
        };
        let count = n as u32;
        assert_eq!(sorted(0, None), (0..count).collect::<Vec<_>>(), "additions");
        assert_eq!(sorted(1, Some(counters[1])), (0..=count).collect::<Vec<_>>(), "exchanges");
        assert_eq!(sorted(2, None), (0..count).map(|i| 2 * i).collect::<Vec<_>>(), "compare-and-swaps");
        assert_eq!((counters[0], counters[2]), (count, 2 * count));
    });
}

#[test]
fn wide_and_narrow_exchanges_do_not_tear_or_touch_their_neighbours() {
    on(&ALL, "zoo_atomics", |gpu| {
        let n = 70u32;
        let (pairs, last) = (gpu.upload(&[0u64]), gpu.upload(&[u64::MAX]));
        let shorts = gpu.upload(&[0xabcd_u16, 0]);
        gpu.launch("atomics_wide", over(n as usize, 32), args![pairs, last, shorts, n]);
        let both = u64::from(n) << 32 | u64::from(n);
        assert_eq!((gpu.read(pairs), gpu.read(shorts)), (vec![both], vec![0xabcd, n as u16]));
        let last = gpu.read(last)[0];
        assert_eq!(last >> 32, last & 0xffff_ffff, "one thread's value");
        assert!(last >> 32 < u64::from(n));
    });
}

#[test]
fn histograms_count_every_byte() {
    on(&ALL, "zoo_atomics", |gpu| {
        let x: Vec<u8> = Random(5).words(3000).iter().map(|&w| (w >> 24) as u8 & 0x7f).collect();
        let (dx, counts) = (gpu.upload(&x), gpu.upload(&[0u32; 256]));
        gpu.launch("histogram_u8", shape(3, 96), args![counts, dx, x.len() as u32]);
        let mut want = [0; 256];
        x.iter().for_each(|&b| want[usize::from(b)] += 1);
        assert_eq!(gpu.read(counts), want);
    });
}

#[test]
fn atomics_in_shared_memory_lose_nothing() {
    on(&ALL, "zoo_atomics", |gpu| {
        let x: Vec<u32> = Random(6).words(500).iter().map(|w| w % 1000).collect();
        let n = x.len() as u32;
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(8));
        gpu.launch("atomics_shared", shape(1, 96), args![y, dx, n]);
        let sum: u32 = x.iter().sum();
        let max = x.iter().copied().fold(0, u32::max);
        let want = [
            sum,
            max.wrapping_neg(),
            max,
            x.iter().fold(u32::MAX, |a, v| a & (v | 0xffff_f000)),
            x.iter().fold(0, |a, v| a | v),
            x.iter().fold(0, |a, v| a ^ v),
            (sum as f32).to_bits(),
            2 * n,
        ];
        assert_eq!(gpu.read(y), want);
    });
}
