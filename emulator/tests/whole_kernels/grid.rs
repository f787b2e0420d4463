//! Kernels whose blocks or launches depend on each other, and those that hand their copies to the copy engine.

use crate::{
    harness::{ALL, FROM_90, args, on, shape},
    numbers::{Bounded, Random, U32, assert_within, dot, gelu},
};

/// `dot` of numbers that have errors themselves.
fn dot_bounded(w: &[f32], x: &[Bounded]) -> Bounded {
    let exact = dot(0.0, w.iter().zip(x).map(|(&w, x)| f64::from(w) * x.value));
    let inherited: f64 = w.iter().zip(x).map(|(&w, x)| f64::from(w).abs() * x.error).sum();
    Bounded { error: 1.01 * (exact.error + inherited), ..exact }
}

#[test]
fn persistent_mlp_with_its_own_grid_barrier_equals_its_reference() {
    on(&ALL, "persistent_mlp", |gpu| {
        for (blocks, layers, n_embd, n_hidden) in [(1, 1, 5, 9), (4, 2, 48, 100), (7, 3, 33, 65)] {
            let mut random = Random(n_hidden as u64);
            let scale = 1.0 / (n_embd as f32).sqrt();
            let x = random.floats(n_embd, 1.0);
            let (w1, b1) =
                (random.floats(layers * n_hidden * n_embd, scale), random.floats(layers * n_hidden, 0.5));
            let (w2, b2) =
                (random.floats(layers * n_hidden * n_embd, scale), random.floats(layers * n_embd, 0.5));
            let mut want: Vec<Bounded> = x.iter().map(|&x| Bounded::exact(f64::from(x))).collect();
            for layer in 0..layers {
                let row = |w: &[f32], r: usize, n: usize| w[r * n..(r + 1) * n].to_vec();
                let hidden: Vec<Bounded> = (layer * n_hidden..(layer + 1) * n_hidden)
                    .map(|r| gelu(dot_bounded(&row(&w1, r, n_embd), &want) + f64::from(b1[r])))
                    .collect();
                want = (0..n_embd)
                    .map(|i| {
                        let r = layer * n_embd + i;
                        let sum = dot_bounded(&row(&w2, r, n_hidden), &hidden) + f64::from(b2[r]);
                        let total =
                            Bounded { value: sum.value + want[i].value, error: sum.error + want[i].error };
                        total.rounded(U32)
                    })
                    .collect();
            }
            let (dx, hidden, arrived) = (gpu.upload(&x), gpu.scratch::<f32>(n_hidden), gpu.upload(&[0u32]));
            let (dw1, db1) = (gpu.upload(&w1), gpu.upload(&b1));
            let (dw2, db2) = (gpu.upload(&w2), gpu.upload(&b2));
            let sizes = (layers as u32, n_embd as u32, n_hidden as u32);
            let arguments = args![dx, hidden, dw1, db1, dw2, db2, arrived, sizes.0, sizes.1, sizes.2];
            gpu.launch("persistent_mlp_f32", shape(blocks, 128).cooperative(), arguments);
            assert_eq!(gpu.read(arrived), [2 * layers as u32 * blocks], "arrivals at the barrier");
            let got = gpu.read(dx).into_iter().map(f64::from);
            assert_within(&format!("{blocks} blocks, {layers} layers of {n_embd}"), got, &want);
        }
    });
}

#[test]
fn a_softmax_of_the_grid_with_cooperative_groups_equals_its_reference() {
    on(&ALL, "grid_sync", |gpu| {
        for (blocks, n) in [(1, 1), (3, 1000), (7, 500), (8, 4096)] {
            let x = Random(n as u64).floats(n, 5.0);
            let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(n));
            let arguments = args![y, dx, gpu.scratch::<f32>(blocks), gpu.scratch::<f32>(blocks), n as u32];
            // A second time in place: the barrier is fit for the next launch.
            gpu.launch("softmax_grid_f32", shape(blocks as u32, 128).cooperative(), arguments);
            let largest = x.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            // A difference, its product with log2(e) and ex2 within 2 units in the last place, for arguments down to -10 log2(e).
            let exponential = |x: f32| (f64::from(x) - f64::from(largest)).exp();
            let sum: f64 = x.iter().map(|&x| exponential(x)).sum();
            let relative = (2.0 * (15.0 * 2.0 + 4.0) + n as f64 / 100.0 + 20.0) * U32;
            let bounded = |x: &f32| {
                let value = exponential(*x) / sum;
                Bounded { value, error: relative * value }
            };
            let want: Vec<Bounded> = x.iter().map(bounded).collect();
            assert_within(&format!("{n}, {blocks} blocks"), gpu.read(y).into_iter().map(f64::from), &want);
        }
    });
}

#[test]
fn cooperative_groups_trap_in_a_launch_that_is_not_cooperative() {
    on(&ALL, "grid_sync", |gpu| {
        let (x, scratch) = (gpu.upload(&[1.0f32]), gpu.scratch::<f32>(1));
        let fault = gpu.try_launch("softmax_grid_f32", shape(1, 128), args![x, x, scratch, scratch, 1u32]);
        assert!(fault.is_err_and(|f| f.to_string().contains("trap")), "there is no barrier to wait at");
    });
}

#[test]
fn dependent_launches_give_what_one_after_the_other_gives() {
    on(&ALL, "dependent_launch", |gpu| {
        for (rows, cols) in [(1, 1), (3, 130), (5, 768)] {
            let eps = 1e-6f32;
            let mut random = Random((rows * cols) as u64);
            let (x, w) = (random.floats(rows * cols, 2.0), random.floats(cols, 1.0));
            let (dx, dw) = (gpu.upload(&x), gpu.upload(&w));
            let (y, z) = (gpu.output::<f32>(rows * cols), gpu.output::<f32>(rows * cols));
            let launch = shape(rows as u32, 128);
            gpu.launch("rms_norm_then_launch_f32", launch, args![y, dx, cols as u32, eps]);
            gpu.launch("scale_after_wait_f32", launch.shared(4 * cols), args![z, y, dw, cols as u32]);
            let want: Vec<Bounded> = (0..rows * cols)
                .map(|i| {
                    let row = &x[i / cols * cols..][..cols];
                    let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                    let scale = 1.0 / (squares / cols as f64 + f64::from(eps)).sqrt();
                    // A sum of squares of `cols` roundings under a root; rsqrt within 2 units in the last place.
                    let relative = (0.5 * (cols as f64 + 3.0) + 6.0) * U32;
                    let value = f64::from(x[i]) * scale * f64::from(w[i % cols]);
                    Bounded { value, error: relative * value.abs() }
                })
                .collect();
            assert_within(&format!("{rows}x{cols}"), gpu.read(z).into_iter().map(f64::from), &want);
        }
    });
}

#[test]
fn bulk_copies_bring_and_take_every_tail() {
    on(&FROM_90, "bulk_copy", |gpu| {
        for (n, blocks) in [(1, 1), (4, 2), (515, 1), (2048, 1), (6001, 2)] {
            let x = Random(n as u64).floats(n, 1.0);
            let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(n));
            gpu.launch("scale_bulk_f32", shape(blocks, 128), args![y, dx, n as u32, 1.7f32, -0.3f32]);
            let want: Vec<f32> = x.iter().map(|x| x.mul_add(1.7, -0.3)).collect();
            assert_eq!(gpu.read(y), want, "{n} elements, {blocks} blocks");
        }
    });
}
