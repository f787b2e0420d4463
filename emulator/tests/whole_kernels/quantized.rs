//! Weights of 8 and 4 bits.

use crate::{
    harness::{ALL, FROM_90, args, on, over, shape},
    numbers::{Bounded, E4M3, E5M2, F16, Random, U32, assert_within, dot, half},
};

#[test]
fn quantize_scales_each_row_by_its_largest() {
    on(&ALL, "int8", |gpu| {
        for (rows, cols, stride) in [(1, 1, 4), (5, 30, 32), (3, 129, 144)] {
            let mut x = Random((rows * cols) as u64).floats(rows * cols, 3.0);
            x[..cols].fill(0.0);
            let (q, scale) = (gpu.output::<i8>(rows * stride), gpu.output::<f32>(rows));
            let dx = gpu.upload(&x);
            let launch = shape(rows.div_ceil(4) as u32, 128);
            let sizes = (rows as u32, cols as u32, stride as u32);
            gpu.launch("quantize_rows_i8", launch, args![q, scale, dx, sizes.0, sizes.1, sizes.2]);
            let (q, scale) = (gpu.read(q), gpu.read(scale));
            for (r, row) in x.chunks(cols).enumerate() {
                let max = row.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                assert_eq!(scale[r], max / 127.0, "scale of row {r}");
                let at = |c: usize| if max == 0.0 { 0.0 } else { f64::from(row[c]) * 127.0 / f64::from(max) };
                let want: Vec<Bounded> = (0..stride)
                    .map(|c| match c < cols {
                        // Rounded to an integer; two roundings before it may tip a tie.
                        true => Bounded { value: at(c), error: 0.5 + 3.0 * 128.0 * U32 },
                        false => Bounded::exact(0.0),
                    })
                    .collect();
                let got = q[r * stride..][..stride].iter().map(|&q| f64::from(q));
                assert_within(&format!("row {r} of {rows}x{cols}"), got, &want);
            }
        }
    });
}

fn bytes(random: &mut Random, rows: usize, cols: usize, stride: usize) -> Vec<i8> {
    let mut m = vec![0; rows * stride];
    for row in m.chunks_mut(stride) {
        row[..cols].fill_with(|| random.u32() as i8);
    }
    m
}

fn int_dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

#[test]
fn gemv_i8_is_exact() {
    on(&ALL, "int8", |gpu| {
        for (rows, cols, stride) in [(1, 1, 16), (6, 100, 112), (9, 1030, 1040)] {
            let mut random = Random((rows * cols) as u64);
            let (w, x) = (bytes(&mut random, rows, cols, stride), bytes(&mut random, 1, cols, stride));
            let (w_scale, x_scale) = (random.floats(rows, 0.01), random.floats(1, 0.02));
            let (dw, dx) = (gpu.upload(&w), gpu.upload(&x));
            let (dws, dxs) = (gpu.upload(&w_scale), gpu.upload(&x_scale));
            let y = gpu.output::<f32>(rows);
            let launch = shape(rows.div_ceil(4) as u32, 128);
            gpu.launch("gemv_i8", launch, args![y, dw, dx, dws, dxs, rows as u32, stride as u32]);
            let want: Vec<f32> =
                (0..rows).map(|r| int_dot(&w[r * stride..], &x) as f32 * w_scale[r] * x_scale[0]).collect();
            assert_eq!(gpu.read(y), want, "{rows}x{cols}");
        }
    });
}

#[test]
fn tensor_core_products_of_bytes_are_exact() {
    on(&ALL, "int8", |gpu| {
        for (m, n, k, stride) in [(1, 1, 1, 4), (16, 8, 32, 32), (21, 11, 50, 52)] {
            let mut random = Random((m * n * k) as u64);
            let (a, b) = (bytes(&mut random, m, k, stride), bytes(&mut random, n, k, stride));
            let (da, db) = (gpu.upload(&a), gpu.upload(&b));
            let y = gpu.output::<i32>(m * n);
            let launch = shape(1, 32).grid(n.div_ceil(8) as u32, m.div_ceil(16) as u32);
            gpu.launch("gemm_i8", launch, args![y, da, db, m as u32, n as u32, stride as u32]);
            let row = |x: &[i8], r: usize| x[r * stride..][..stride].to_vec();
            let want: Vec<i32> = (0..m * n).map(|i| int_dot(&row(&a, i / n), &row(&b, i % n))).collect();
            assert_eq!(gpu.read(y), want, "{m}x{n}x{k}");
        }
    });
}

#[test]
fn weights_of_four_bits_are_packed_and_multiplied() {
    on(&ALL, "gemv_i4", |gpu| {
        for (rows, cols) in [(1, 32), (5, 96), (3, 1152)] {
            let (groups, mut random) = (cols / 32, Random((rows * cols) as u64));
            let q: Vec<i8> = (0..rows * cols).map(|_| (random.u32() % 16) as i8 - 8).collect();
            let (scale, x) = (random.halves(rows * groups, 0.1), random.halves(cols, 1.0));
            let dq = gpu.upload(&q);
            let words = gpu.output::<u32>(rows * cols / 8);
            gpu.launch("pack_i4", over(words.len, 64), args![words, dq, words.len as u32]);
            let nibble = |i: usize| (q[i] + 8) as u32;
            let pair =
                |w: usize, j: usize| (nibble(8 * w + 2 * j) | nibble(8 * w + 2 * j + 1) << 16) << (4 * j);
            let want: Vec<u32> = (0..words.len).map(|w| (0..4).map(|j| pair(w, j)).sum()).collect();
            assert_eq!(gpu.read(words), want, "packed {rows}x{cols}");

            let (ds, dx) = (gpu.upload(&scale), gpu.upload(&x));
            let y = gpu.output::<f32>(rows);
            let launch = shape(rows.div_ceil(4) as u32, 128);
            gpu.launch("gemv_i4_f16", launch, args![y, words, ds, dx, rows as u32, cols as u32]);
            let want: Vec<Bounded> = (0..rows)
                .map(|r| {
                    // Each product is rounded to fp16 before it is added.
                    let product = |k: usize| F16.round(f64::from(q[r * cols + k]) * half(x[k]));
                    dot(0.0, (0..cols).map(|k| half(scale[r * groups + k / 32]) * product(k)))
                })
                .collect();
            assert_within(&format!("{rows}x{cols}"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}

/// Inputs of every size, ties, and what does not fit.
fn awkward(n: usize) -> Vec<f32> {
    let mut random = Random(n as u64);
    let mut x: Vec<f32> =
        (0..n).map(|_| random.signed() * 2f32.powi((random.u32() % 40) as i32 - 22)).collect();
    let special =
        [0.0, -0.0, 448.0, 464.0, 465.0, -1e6, 57344.0, 61440.0, 65504.0, f32::INFINITY, 1.0625, 1.1875];
    x[..special.len()].copy_from_slice(&special);
    x
}

#[test]
fn fp8_conversions_round_to_nearest_even_and_hold_to_the_largest() {
    on(&FROM_90, "convert_fp8", |gpu| {
        let n = 150;
        let x = awkward(2 * n);
        let halves: Vec<u16> = x.iter().map(|&x| F16.encode(f64::from(x)) as u16).collect();
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let from_half: Vec<f64> = halves.iter().map(|&h| half(h)).collect();
        let (dx, dh) = (gpu.upload(&x), gpu.upload(&halves));
        for (kernel, input, values) in
            [("quantize_fp8", args![dx], exact), ("quantize_fp8_f16", args![dh], from_half)]
        {
            let (e4m3, e5m2) = (gpu.output::<u8>(2 * n), gpu.output::<u8>(2 * n));
            let input = u64::from_le_bytes(input[0].0[..].try_into().expect("a pointer"));
            gpu.launch(kernel, over(n, 64), args![e4m3, e5m2, input, n as u32]);
            for (what, got, format) in [("e4m3", e4m3, E4M3), ("e5m2", e5m2, E5M2)] {
                for (i, (g, &x)) in gpu.read(got).into_iter().zip(&values).enumerate() {
                    assert_eq!(u32::from(g), format.encode_finite(x), "{kernel}: {x} to {what}, element {i}");
                }
            }
        }
    });
}

#[test]
fn fp8_values_are_exact_in_fp16() {
    on(&FROM_90, "convert_fp8", |gpu| {
        let bits: Vec<u8> = (0..=255).collect();
        let (db, y) = (gpu.upload(&bits), gpu.output::<u16>(512));
        gpu.launch("dequantize_fp8", over(128, 64), args![y, db, 128u32]);
        for (i, &h) in gpu.read(y).iter().enumerate() {
            let format = if i < 256 { E4M3 } else { E5M2 };
            let want = format.decode(i as u32 % 256);
            let same = half(h) == want || half(h).is_nan() && want.is_nan();
            assert!(same, "byte {:#x} is {}, expected {want}", i % 256, half(h));
        }
    });
}

#[test]
fn gemv_with_fp8_weights_equals_its_reference() {
    on(&FROM_90, "convert_fp8", |gpu| {
        for (rows, cols) in [(1, 16), (6, 528)] {
            let mut random = Random((rows * cols) as u64);
            let w: Vec<u8> =
                (0..rows * cols).map(|_| E4M3.encode(f64::from(4.0 * random.signed())) as u8).collect();
            let (scale, x) = (random.floats(rows, 1.0), random.floats(cols, 1.0));
            let (dw, ds, dx) = (gpu.upload(&w), gpu.upload(&scale), gpu.upload(&x));
            let y = gpu.output::<f32>(rows);
            let launch = shape(rows.div_ceil(4) as u32, 128);
            gpu.launch("gemv_fp8", launch, args![y, dw, ds, dx, rows as u32, cols as u32]);
            let want: Vec<Bounded> = (0..rows)
                .map(|r| {
                    let weight = |k: usize| E4M3.decode(u32::from(w[r * cols + k]));
                    let sum = dot(0.0, (0..cols).map(|k| weight(k) * f64::from(x[k])));
                    let s = f64::from(scale[r]);
                    Bounded { value: s * sum.value, error: s.abs() * sum.error }.rounded(U32)
                })
                .collect();
            assert_within(&format!("{rows}x{cols}"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}
