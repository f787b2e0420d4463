//! Kernels over vectors and rows: sums, matrix times vector, normalisation.

use crate::{
    harness::{ALL, Gpu, args, on, over, shape},
    numbers::{Bounded, Random, U32, assert_within, dot, gelu, half},
};

#[test]
fn vector_add_is_exact_for_every_tail() {
    on(&ALL, "vector_add", |gpu| {
        for n in [1, 3, 4, 5, 127, 128, 1000] {
            let mut random = Random(n as u64);
            let (a, b) = (random.floats(n, 1e3), random.floats(n, 1.0));
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let (da, db) = (gpu.upload(&a), gpu.upload(&b));
            let y = gpu.output::<f32>(n);
            gpu.launch("vector_add_f32", shape(2, 96), args![y, da, db, n as u32]);
            assert_eq!(gpu.read(y), want, "{n} elements, one at a time");
            let y = gpu.output::<f32>(n);
            gpu.launch("vector_add_f32x4", over(n.div_ceil(4), 32), args![y, da, db, n as u32]);
            assert_eq!(gpu.read(y), want, "{n} elements, four at a time");
        }
    });
}

#[test]
fn gemv_f16_with_bias_gelu_and_residual_equals_its_reference() {
    on(&ALL, "gemv_f16", |gpu| {
        for (rows, cols, stride) in [(1, 1, 8), (5, 7, 8), (4, 64, 64), (33, 257, 264), (18, 768, 776)] {
            let mut random = Random((rows * cols) as u64);
            // What pads the rows is never used: NaN.
            let mut w = vec![0x7fff_u16; rows * stride];
            for row in w.chunks_mut(stride) {
                row[..cols].copy_from_slice(&random.halves(cols, 1.0));
            }
            let (x, bias) = (random.floats(cols, 1.0), random.floats(rows, 1.0));
            let residual = random.floats(rows, 2.0);
            let want: Vec<Bounded> = (0..rows)
                .map(|r| {
                    let products = (0..cols).map(|k| half(w[r * stride + k]) * f64::from(x[k]));
                    gelu(dot(0.0, products) + f64::from(bias[r])) + f64::from(residual[r])
                })
                .collect();
            for (kernel, rows_a_block) in [("gemv_f16_r1", 4), ("gemv_f16_r4", 16)] {
                let launch = shape(rows.div_ceil(rows_a_block) as u32, 128).shared(16 * cols.div_ceil(4));
                let (dw, dx, db) = (gpu.upload(&w), gpu.upload(&x), gpu.upload(&bias));
                let y = gpu.upload(&residual);
                let sizes = (rows as u32, cols as u32, stride as u32);
                gpu.launch(kernel, launch, args![y, dw, dx, db, y, sizes.0, sizes.1, sizes.2]);
                let got = gpu.read(y).into_iter().map(f64::from);
                assert_within(&format!("{kernel} {rows}x{cols} on sm_{}", gpu.arch), got, &want);
            }
        }
    });
}

/// The reference and its bound: a mean and a variance of fp32 sums, and `rsqrt` within 2 units in the last place.
fn layernorm(row: &[f32], w: &[f32], b: &[f32], eps: f64) -> Vec<Bounded> {
    let n = row.len() as f64;
    let magnitude = row.iter().fold(0.0, |m, &x| f64::max(m, f64::from(x).abs()));
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let rstd = 1.0 / (variance + eps).sqrt();
    let mean_error = (n + 1.0) * U32 * magnitude;
    // Relative, of the sum of squares: its terms are off by twice the centre's error, and it rounds n times.
    let spread = 2.0 * (mean_error + U32 * magnitude) * variance.sqrt() / (variance + eps);
    let rstd_error = rstd * (0.5 * (spread + (n + 3.0) * U32) + 4.0 * U32);
    let at = |c: usize| {
        let centred = f64::from(row[c]) - mean;
        let (w, b) = (f64::from(w[c]), f64::from(b[c]));
        let error = (mean_error + U32 * magnitude) * rstd + (centred.abs() + mean_error) * rstd_error;
        let product = Bounded { value: centred * rstd * w, error: error * w.abs() }.rounded(2.0 * U32);
        product + b
    };
    (0..row.len()).map(at).collect()
}

fn check_layernorm(gpu: &mut Gpu, rows: usize, cols: usize) {
    let eps = 1e-5f32;
    let mut random = Random((rows + cols) as u64);
    // An offset of 10 standard deviations: E[x^2] - mean^2 would lose most of its digits.
    let x: Vec<f32> = random.floats(rows * cols, 1.0).iter().map(|x| x + 6.0).collect();
    let (w, b) = (random.floats(cols, 1.0), random.floats(cols, 1.0));
    let want: Vec<Bounded> = x.chunks(cols).flat_map(|row| layernorm(row, &w, &b, f64::from(eps))).collect();
    let (dx, dw, db) = (gpu.upload(&x), gpu.upload(&w), gpu.upload(&b));
    for threads in [32, 96, 256] {
        let y = gpu.output::<f32>(rows * cols);
        gpu.launch(
            "layernorm_block_f32",
            shape(rows as u32, threads),
            args![y, dx, dw, db, cols as u32, eps],
        );
        let got = gpu.read(y).into_iter().map(f64::from);
        assert_within(&format!("a block of {threads} a row, {rows}x{cols}"), got, &want);
        let y = gpu.output::<f32>(rows * cols);
        let launch = over(32 * rows, threads);
        gpu.launch("layernorm_cg_f32", launch, args![y, dx, dw, db, rows as u32, cols as u32, eps]);
        let got = gpu.read(y).into_iter().map(f64::from);
        assert_within(&format!("a warp a row, {rows}x{cols}"), got, &want);
    }
}

#[test]
fn layernorm_by_blocks_and_by_cooperative_groups_equals_its_reference() {
    on(&ALL, "layernorm", |gpu| {
        for (rows, cols) in [(1, 1), (3, 31), (2, 33), (7, 64), (2, 768)] {
            check_layernorm(gpu, rows, cols);
        }
    });
}
