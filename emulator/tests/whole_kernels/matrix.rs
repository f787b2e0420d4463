//! Products of matrices on tensor cores.

use crate::{
    harness::{ALL, FROM_80, Gpu, args, on, shape},
    numbers::{BF16, Bounded, Random, TINY16, U16, assert_within, dot, gelu, half},
};

/// A matrix of halves with rows of `stride`, of which `cols` are used and the others NaN.
fn padded(random: &mut Random, rows: usize, cols: usize, stride: usize) -> Vec<u16> {
    let mut m = vec![0x7fff_u16; rows * stride];
    for row in m.chunks_mut(stride) {
        row[..cols].copy_from_slice(&random.halves(cols, 1.0));
    }
    m
}

/// A result in fp16.
fn to_half(x: Bounded) -> Bounded {
    let rounded = x.rounded(U16);
    Bounded { error: rounded.error + TINY16, ..rounded }
}

fn check_gemm_f16(gpu: &mut Gpu, m: usize, n: usize, k: usize) {
    let mut random = Random((m * n * k) as u64);
    let (a_stride, w_stride) = (k.next_multiple_of(8), n.next_multiple_of(8) + 8);
    let (a, w) = (padded(&mut random, m, k, a_stride), padded(&mut random, k, n, w_stride));
    let bias = random.floats(n, 1.0);
    let (da, dw, db) = (gpu.upload(&a), gpu.upload(&w), gpu.upload(&bias));
    let y = gpu.upload(&vec![0x5555_u16; m * w_stride]);
    let launch = shape(1, 128).grid(n.div_ceil(64) as u32, m.div_ceil(64) as u32);
    let (um, un, uk, sa, sw) = (m as u32, n as u32, k as u32, a_stride as u32, w_stride as u32);
    gpu.launch("gemm_bias_gelu_f16", launch, args![y, da, dw, db, um, un, uk, sa, sw]);
    for (r, row) in gpu.read(y).chunks(w_stride).enumerate() {
        let want: Vec<Bounded> = (0..n)
            .map(|c| {
                let products = (0..k).map(|i| half(a[r * a_stride + i]) * half(w[i * w_stride + c]));
                to_half(gelu(dot(0.0, products) + f64::from(bias[c])))
            })
            .collect();
        let what = format!("row {r} of {m}x{n}x{k} on sm_{}", gpu.arch);
        assert_within(&what, row[..n].iter().map(|&h| half(h)), &want);
        assert!(row[n..].iter().all(|&h| h == 0x5555), "{what}: columns past the end are not written");
    }
}

#[test]
fn gemm_f16_with_bias_and_gelu_equals_its_reference_for_every_tail() {
    on(&ALL, "gemm_f16", |gpu| {
        for (m, n, k) in [(1, 1, 1), (17, 5, 31), (64, 64, 160), (65, 71, 97)] {
            check_gemm_f16(gpu, m, n, k);
        }
    });
}

#[test]
fn wmma_equals_its_reference_for_every_tail() {
    on(&ALL, "gemm_wmma", |gpu| {
        for (m, n, k) in [(1, 1, 1), (16, 16, 16), (33, 18, 47)] {
            let mut random = Random((m * n * k) as u64);
            let (a, w) = (random.halves(m * k, 1.0), random.halves(n * k, 1.0));
            let bias = random.floats(n, 1.0);
            let (da, dw, db) = (gpu.upload(&a), gpu.upload(&w), gpu.upload(&bias));
            let y = gpu.output::<f32>(m * n);
            let launch = shape(1, 128).grid(n.div_ceil(32) as u32, m.div_ceil(32) as u32);
            gpu.launch("gemm_wmma_f16", launch, args![y, da, dw, db, m as u32, n as u32, k as u32]);
            let want: Vec<Bounded> = (0..m * n)
                .map(|i| {
                    let (r, c) = (i / n, i % n);
                    dot(f64::from(bias[c]), (0..k).map(|j| half(a[r * k + j]) * half(w[c * k + j])))
                })
                .collect();
            assert_within(&format!("{m}x{n}x{k}"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}

#[test]
fn wmma_with_fp16_sums_equals_its_reference() {
    on(&ALL, "gemm_wmma", |gpu| {
        let (m, n, k) = (64, 24, 48);
        let mut random = Random(7);
        let (a, w) = (random.halves(m * k, 1.0), random.halves(n * k, 1.0));
        let (da, dw) = (gpu.upload(&a), gpu.upload(&w));
        let y = gpu.output::<u16>(m * n);
        let launch = shape(1, 32).grid(n as u32 / 8, m as u32 / 32);
        gpu.launch("gemm_wmma_whole_f16", launch, args![y, da, dw, n as u32, k as u32]);
        let want: Vec<Bounded> = (0..m * n)
            .map(|i| {
                let products: Vec<f64> =
                    (0..k).map(|j| half(a[i / n * k + j]) * half(w[i % n * k + j])).collect();
                let magnitude: f64 = products.iter().map(|p| p.abs()).sum();
                // Rounded to fp16 after each of three steps at least, and after each product at most.
                Bounded { value: products.iter().sum(), error: k as f64 * U16 * magnitude }
            })
            .collect();
        assert_within("fp16 sums", gpu.read(y).into_iter().map(half), &want);
    });
}

#[test]
fn tf32_products_round_their_inputs_to_ten_bits() {
    on(&FROM_80, "gemm_tf32", |gpu| {
        for (m, n, k) in [(1, 1, 1), (16, 8, 8), (19, 13, 30)] {
            let mut random = Random((m * n * k) as u64);
            let (a, b) = (random.floats(m * k, 1.0), random.floats(n * k, 1.0));
            let (da, db) = (gpu.upload(&a), gpu.upload(&b));
            let y = gpu.output::<f32>(m * n);
            let launch = shape(1, 32).grid(n.div_ceil(8) as u32, m.div_ceil(16) as u32);
            gpu.launch("gemm_tf32", launch, args![y, da, db, m as u32, n as u32, k as u32]);
            // To the nearest of 10 bits of fraction, ties away from zero: half a unit more of magnitude, then cut.
            let tf32 = |x: f32| f64::from(f32::from_bits((x.to_bits() + 0x1000) & 0xffff_e000));
            let want: Vec<Bounded> = (0..m * n)
                .map(|i| dot(0.0, (0..k).map(|j| tf32(a[i / n * k + j]) * tf32(b[i % n * k + j]))))
                .collect();
            assert_within(&format!("{m}x{n}x{k}"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}

#[test]
fn bf16_products_equal_their_reference() {
    on(&FROM_80, "gemm_tf32", |gpu| {
        for (m, n, k) in [(1, 1, 2), (16, 8, 16), (17, 23, 38)] {
            let mut random = Random((m * n * k) as u64);
            let mut matrix =
                |len| (0..len).map(|_| BF16.encode(f64::from(random.signed())) as u16).collect::<Vec<_>>();
            let (a, b) = (matrix(m * k), matrix(n * k));
            let (da, db) = (gpu.upload(&a), gpu.upload(&b));
            let y = gpu.output::<f32>(m * n);
            let launch = shape(1, 32).grid(n.div_ceil(8) as u32, m.div_ceil(16) as u32);
            gpu.launch("gemm_bf16", launch, args![y, da, db, m as u32, n as u32, k as u32]);
            let bf16 = |bits: u16| BF16.decode(u32::from(bits));
            let want: Vec<Bounded> = (0..m * n)
                .map(|i| dot(0.0, (0..k).map(|j| bf16(a[i / n * k + j]) * bf16(b[i % n * k + j]))))
                .collect();
            assert_within(&format!("{m}x{n}x{k}"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}
