//! Kernels over lists: choosing, sorting, drawing and summing.

use crate::{
    harness::{ALL, Gpu, args, on, over, shape},
    numbers::Random,
};

/// Logits with equal ones, both zeros, infinities and, at index 3 if it is long enough, NaN.
fn logits(n: usize) -> Vec<f32> {
    let mut random = Random(n as u64);
    let mut x: Vec<f32> = (0..n).map(|_| (8.0 * random.signed()).round() / 4.0).collect();
    let special = [(3, f32::NAN), (5, -0.0), (6, 0.0), (7, f32::NEG_INFINITY)];
    special.iter().filter(|&&(i, _)| i < n).for_each(|&(i, v)| x[i] = v);
    x
}

/// An order of floats as the kernels have it: NaN below everything, -0 below 0.
fn ordered(x: f32) -> i64 {
    let bits = i64::from(x.to_bits() as i32);
    match x.is_nan() {
        true => i64::MIN,
        false => bits ^ (bits >> 63 & 0x7fff_ffff),
    }
}

#[test]
fn argmax_takes_the_least_index_of_equals() {
    on(&ALL, "sampling", |gpu| {
        for n in [1, 31, 257, 5000] {
            let x = logits(n);
            let want = (0..n).max_by_key(|&i| (ordered(x[i]), -(i as i64))).expect("logits");
            for blocks in [1, 3] {
                let (best, dx) = (gpu.upload(&[0u64]), gpu.upload(&x));
                gpu.launch("argmax_f32", shape(blocks, 256), args![best, dx, n as u32]);
                assert_eq!(u32::MAX - gpu.read(best)[0] as u32, want as u32, "of {n}, {blocks} blocks");
            }
        }
    });
}

/// Indices of the `k` largest by falling value, equals by rising index.
fn largest(x: &[f32], k: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..x.len() as u32).collect();
    order.sort_by_key(|&i| (-i128::from(ordered(x[i as usize])), i));
    order.truncate(k);
    order
}

#[test]
fn topk_then_sort_gives_the_largest_in_order() {
    on(&ALL, "sampling", |gpu| {
        for (n, k) in [(1, 1), (40, 40), (300, 17), (2000, 100)] {
            let x = logits(n);
            let dx = gpu.upload(&x);
            let (values, indices) = (gpu.output::<f32>(k), gpu.output::<u32>(k));
            gpu.launch("topk_f32", shape(1, 256), args![values, indices, dx, n as u32, k as u32]);
            let mut want = largest(&x, k);
            want.sort_unstable();
            let got = gpu.read(indices);
            assert_eq!(got, want, "indices of the {k} largest of {n}");
            let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
            let chosen: Vec<f32> = got.iter().map(|&i| x[i as usize]).collect();
            assert_eq!(bits(&gpu.read(values)), bits(&chosen), "values of the {k} largest of {n}");
        }
    });
}

#[test]
fn bitonic_sort_orders_by_value_then_index() {
    on(&ALL, "sort", |gpu| {
        for n in [1, 2, 3, 255, 600] {
            // Without NaN, and without the two zeros, which the kernel takes for equal.
            let x: Vec<f32> =
                logits(n).iter().map(|&x| if x.is_nan() || x == 0.0 { 0.125 } else { x }).collect();
            let (values, indices) = (gpu.upload(&x), gpu.upload(&(0..n as u32).collect::<Vec<_>>()));
            gpu.launch("bitonic_sort_f32", shape(1, 256), args![values, indices, n as u32]);
            let want = largest(&x, n);
            assert_eq!(gpu.read(indices), want, "{n} pairs");
            assert_eq!(gpu.read(values), want.iter().map(|&i| x[i as usize]).collect::<Vec<_>>());
        }
    });
}

#[test]
fn warp_sort_sorts_every_32_numbers() {
    on(&ALL, "sort", |gpu| {
        let mut x = Random(1).words(32 * 5);
        let numbers = gpu.upload(&x);
        gpu.launch("warp_sort_u32", over(x.len(), 64), args![numbers, x.len() as u32]);
        x.chunks_mut(32).for_each(|c| c.sort_unstable());
        assert_eq!(gpu.read(numbers), x);
    });
}

/// Philox-4x32-10, with 64-bit products.
fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (p, q) = (0xD251_1F53 * u64::from(c[0]), 0xCD9E_8D57 * u64::from(c[2]));
        c = [(q >> 32) as u32 ^ c[1] ^ key[0], q as u32, (p >> 32) as u32 ^ c[3] ^ key[1], p as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

#[test]
fn philox_gives_the_published_numbers() {
    // Known answers of the authors' Random123: counter and key all zeros, all ones.
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    on(&ALL, "sampling", |gpu| {
        let (n, seed) = (203, 0x0123_4567_89ab_cdef_u64);
        let out = gpu.output::<u32>(n);
        gpu.launch("philox_u32", over(n.div_ceil(4), 32), args![out, seed, n as u32]);
        let key = [seed as u32, (seed >> 32) as u32];
        let want: Vec<u32> = (0..n as u32).map(|i| philox([i / 4, 0, 0, 0], key)[i as usize % 4]).collect();
        assert_eq!(gpu.read(out), want);
    });
}

/// The token that a draw in double precision chooses; `None` where rounding may decide otherwise.
fn draw(values: &[f32], p: f32, temperature: f32, u: f32) -> Option<usize> {
    let weight = |v: f32| (f64::from(v - values[0]) / f64::from(temperature)).exp();
    let cumulative: Vec<f64> = values
        .iter()
        .scan(0.0, |sum, &v| {
            *sum += weight(v);
            Some(*sum)
        })
        .collect();
    let total = cumulative[values.len() - 1];
    // Sums of fp32 exponentials, each within some 40 units in the last place.
    let unsure = total * 1e-5;
    let reach = |goal: f64| {
        let close = cumulative.iter().any(|c| (c - goal).abs() < unsure);
        let index = cumulative.iter().position(|&c| c >= goal).unwrap_or(values.len() - 1);
        (!close || values.len() == 1).then_some(index)
    };
    let last = if p == 1.0 { values.len() - 1 } else { reach(f64::from(p) * total)? };
    reach(f64::from(u) * cumulative[last])
}

fn check_topp(gpu: &mut Gpu, k: usize, p: f32, temperature: f32) -> usize {
    let mut random = Random(k as u64);
    let mut values = random.floats(k, 6.0);
    values.sort_by(|a, b| b.total_cmp(a));
    let indices: Vec<u32> = (0..k as u32).map(|i| 1000 + 7 * i).collect();
    let (dv, di) = (gpu.upload(&values), gpu.upload(&indices));
    let (token, uniform) = (gpu.output::<u32>(1), gpu.output::<f32>(1));
    let mut checked = 0;
    for position in 0..12u32 {
        let seed = 0xfeed_5eed_0000_0001_u64;
        let arguments = args![token, uniform, dv, di, k as u32, p, temperature, seed, position];
        gpu.launch("topp_sample_f32", shape(1, 32), arguments);
        let random = philox([position, 0, 0, 0], [seed as u32, (seed >> 32) as u32])[0];
        let u = (random >> 8) as f32 / (1 << 24) as f32;
        assert_eq!(gpu.read(uniform), [u], "the number drawn at {position}");
        if let Some(index) = draw(&values, p, temperature, u) {
            assert_eq!(gpu.read(token), [indices[index]], "k {k}, p {p}, u {u}");
            checked += 1;
        }
    }
    checked
}

#[test]
fn topp_draws_the_token_that_the_reference_draws() {
    on(&ALL, "sampling", |gpu| {
        for (k, p, temperature) in [(1, 0.5, 1.0), (5, 1.0, 0.7), (33, 0.9, 1.0), (200, 0.95, 2.0)] {
            let checked = check_topp(gpu, k, p, temperature);
            assert!(checked >= 6, "only {checked} of 12 draws were far enough from rounding, k {k}");
        }
    });
}

#[test]
fn scan_with_look_back_is_exact() {
    on(&ALL, "scan", |gpu| {
        for n in [1, 511, 512, 513, 4000] {
            let x = Random(n as u64).words(n);
            let tiles = n.div_ceil(512);
            let y = gpu.upload(&x);
            let (ticket, states) = (gpu.upload(&[0u32]), gpu.upload(&vec![0u64; tiles]));
            gpu.launch("inclusive_scan_u32", shape(tiles as u32, 128), args![y, y, ticket, states, n as u32]);
            let mut sum = 0u32;
            let want: Vec<u32> = x
                .iter()
                .map(|v| {
                    sum = sum.wrapping_add(*v);
                    sum
                })
                .collect();
            assert_eq!(gpu.read(y), want, "{n} numbers");
        }
    });
}
