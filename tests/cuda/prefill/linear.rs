//! LayerNorm, the products and the embedding against float64.

use super::{ARCHS, EPS, Rig, SPLIT, SPLIT_MIN, assert_close, random_floats};
use crate::emulator::Emulator;
use halfwarp::{cache::PAGE_LEN, weights};

/// Numbers of tokens around the sizes of instructions and blocks.
const TOKENS: [usize; 9] = [1, 7, 8, 9, 31, 33, 64, 65, 130];

/// Columns of a slice: what instructions sum, before slices are added.
const SLICE: usize = 256;

/// One output, while its products are summed in the kernels' order.
#[derive(Clone, Copy, Default)]
struct Sum {
    total: f64,
    slice: f64,
    /// The largest of a slice on the way, with the product that was added, and the largest of the total.
    largest: f64,
    largest_total: f64,
}

impl Sum {
    fn add(&mut self, product: f64) {
        self.slice += product;
        self.largest = self.largest.max(self.slice.abs() + product.abs());
    }

    fn end_slice(&mut self) {
        self.total += self.slice;
        self.slice = 0.0;
        self.largest_total = self.largest_total.max(self.total.abs());
    }

    /// What roundings amount to. A slice has at most 64 instructions, of 8 columns in two halves; each rounds its sum or, on a
    /// device, aligns its terms and truncates, which is twice that. Then slices are added, and a bias.
    fn tolerance(&self, n_slices: usize) -> f64 {
        n_slices as f64 * (64.0 * 2.0 * self.largest + self.largest_total) * EPS
            + 2.0 * self.total.abs() * EPS
    }
}

/// Each output with its tolerance.
fn product(linear: &weights::Linear, x: &[f64]) -> Vec<(f64, f64)> {
    let n_out = linear.n_out();
    let weight = &linear.parts[0];
    let mut sums = vec![Sum::default(); n_out];
    for (k, x) in x.iter().enumerate() {
        for (r, sum) in sums.iter_mut().enumerate() {
            sum.add(f64::from(weight.get(r, k)) * x);
        }
        if (k + 1) % SLICE == 0 || k + 1 == x_len(linear) {
            sums.iter_mut().for_each(Sum::end_slice);
        }
    }
    let n_slices = x_len(linear).div_ceil(SLICE);
    let with_bias = |(sum, &bias): (&Sum, &f32)| {
        let y = sum.total + f64::from(bias);
        (y, sum.tolerance(n_slices) + EPS * y.abs())
    };
    sums.iter().zip(linear.bias.as_ref().expect("GPT-2 has biases")).map(with_bias).collect()
}

/// Inputs.
fn x_len(linear: &weights::Linear) -> usize {
    linear.n_in()
}

/// Where token `t` of a sequence with this page table has head `head`'s vector.
fn cache_at(table: &[u32], n_head: usize, padded: usize, t: usize, head: usize) -> usize {
    ((table[t / PAGE_LEN] as usize * n_head + head) * PAGE_LEN + t % PAGE_LEN) * padded
}

/// All products for `n_tokens` tokens, in blocks of each size that takes as many.
fn check_products(rig: &mut Rig, n_tokens: usize) {
    let small = check_products_on(rig, n_tokens, u32::MAX);
    if n_tokens > 64 {
        let large = check_products_on(rig, n_tokens, 1);
        assert!(small == large, "T {n_tokens}: blocks of another size give other bits");
    }
}

/// The same on so many multiprocessors; returns q, the residuals and the inner values.
fn check_products_on(rig: &mut Rig, n_tokens: usize, n_sms: u32) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<f64>) {
    rig.gpu.n_sms = n_sms;
    let config = rig.weights.config.clone();
    let (c, f, head_dim) = (config.n_embd, config.mlp.n_inner, config.attn.head_dim);
    // Tokens fill pages in an order of their own.
    let table: Vec<u32> = (0..n_tokens.div_ceil(PAGE_LEN) as u32).rev().collect();
    rig.plan(&[(&vec![1; n_tokens], 0, &table)]);
    let what = |name, t, r| move || format!("{name}, T {n_tokens}, C {c}, token {t}, output {r}");
    let h = rig.write_halves(false, &random_floats(n_tokens as u64, n_tokens * c, 3.0), c);
    let x = rig.write_halves(true, &random_floats(7, n_tokens * f, 3.0), f);
    let residual = random_floats(8, n_tokens * c, 20.0);

    let (run, act, pages, model) = rig.prompt();
    run.qkv(act, pages, &model.layers[0].qkv).unwrap();
    run.gpu.write(&mut act.residual, 0, &residual).unwrap();
    run.down(act, &model.layers[0].down).unwrap();
    let (q, added) = (rig.read(&rig.act.q, n_tokens * c), rig.read(&rig.act.residual, n_tokens * c));
    let (keys, values) = (
        rig.read(&rig.pages.keys, rig.pages.keys.len()),
        rig.read(&rig.pages.values, rig.pages.values.len()),
    );
    let (run, act, _, model) = rig.prompt();
    run.gpu.write(&mut act.residual, 0, &residual).unwrap();
    run.attn_out(act, &model.layers[0].attn_out).unwrap();
    run.up(act, &model.layers[0].up).unwrap();
    let projected = rig.read(&rig.act.residual, n_tokens * c);
    let inner = rig.read_halves(&rig.act.inner, n_tokens, f);

    let layer = &rig.weights.layers[0];
    for t in 0..n_tokens {
        let h = &h[t * c..][..c];
        for (r, (y, tolerance)) in product(&layer.qkv, h).into_iter().enumerate() {
            let at = cache_at(&table, config.attn.n_head, rig.dims.padded_dim(), t, r % c / head_dim);
            let ours = match r / c {
                0 => q[t * c + r],
                1 => keys[at + r % head_dim],
                _ => values[at + r % head_dim],
            };
            assert_close(ours.into(), y, tolerance, what("qkv", t, r));
        }
        for (name, linear, x, ours) in
            [("attn_out", &layer.attn_out, h, &projected), ("down", &layer.down, &x[t * f..][..f], &added)]
        {
            for (r, (y, tolerance)) in product(linear, x).into_iter().enumerate() {
                let y = y + f64::from(residual[t * c + r]);
                let tolerance = tolerance + EPS * y.abs();
                assert_close(ours[t * c + r].into(), y, tolerance, what(name, t, r));
            }
        }
        for (r, (y, tolerance)) in product(&layer.up, h).into_iter().enumerate() {
            let y = y.max(0.0);
            let tolerance = tolerance + SPLIT * y + SPLIT_MIN;
            assert_close(inner[t * f + r], y, tolerance, what("up", t, r));
        }
    }
    (q, added, projected, inner)
}

/// Widths below, at and between whole tiles, an odd inner width, heads of odd and even widths.
#[test]
fn products_match_their_twin() {
    for arch in ARCHS {
        let emulator = Emulator::checked(arch);
        for (n_head, head_dim, n_inner) in [(8, 3, 97), (4, 16, 256), (3, 24, 131)] {
            let mut rig = Rig::new(n_head, head_dim, n_inner, "relu", 5);
            for n_tokens in TOKENS {
                check_products(&mut rig, n_tokens);
            }
            drop(rig);
            emulator.assert_clean();
        }
        // Three slices; fourteen, of which each warp of the narrow product has two; as many as there are.
        for (n_head, head_dim, n_inner, tokens) in
            [(12, 64, 200, [9, 65]), (2, 32, 3530, [17, 70]), (1, 16, 8192, [20, 2])]
        {
            let mut rig = Rig::new(n_head, head_dim, n_inner, "relu", 3);
            for n_tokens in tokens {
                check_products(&mut rig, n_tokens);
            }
            drop(rig);
            emulator.assert_clean();
        }
    }
}

/// On a device, tensor cores align the terms of a sum and truncate it, as the emulator does with jitter.
#[test]
fn products_that_truncate_match_their_twin() {
    let emulator = Emulator::new(r#"{"arch": 80, "check": true, "quiet": true, "jitter": 1}"#);
    for (n_head, head_dim, n_inner) in [(3, 24, 131), (12, 64, 1031)] {
        let mut rig = Rig::new(n_head, head_dim, n_inner, "relu", 3);
        check_products(&mut rig, 33);
        drop(rig);
        emulator.assert_clean();
    }
}

#[test]
fn layernorm_matches_its_twin() {
    for arch in ARCHS {
        let emulator = Emulator::checked(arch);
        for (n_head, head_dim) in [(8, 3), (4, 16), (3, 24), (12, 64)] {
            let mut rig = Rig::new(n_head, head_dim, 64, "relu", 1);
            let c = n_head * head_dim;
            for n_tokens in [1, 4, 7, 33] {
                rig.plan(&[(&vec![0; n_tokens], 0, &[0, 0])]);
                // A mean of 50 times the spread: E[x^2] - mean^2 would show.
                let x: Vec<f32> =
                    random_floats(c as u64, n_tokens * c, 1.0).iter().map(|x| x + 50.0).collect();
                let (run, act, _, model) = rig.prompt();
                run.gpu.write(&mut act.residual, 0, &x).unwrap();
                run.layernorm(act, &model.layers[0].attn_norm).unwrap();
                let h = rig.read_halves(&rig.act.h, n_tokens, c);
                let norm = &rig.weights.layers[0].attn_norm;
                for (t, x) in x.chunks(c).enumerate() {
                    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / c as f64;
                    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / c as f64;
                    let scale = 1.0 / (variance + f64::from(rig.weights.config.norm.eps)).sqrt();
                    for (i, &x) in x.iter().enumerate() {
                        let y = (f64::from(x) - mean) * scale;
                        let y = y * f64::from(norm.weight[i])
                            + f64::from(norm.bias.as_ref().expect("GPT-2 has biases")[i]);
                        // The mean is a sum in a tree of c / 32 + 5 levels; the variance is of the same kind; then a few
                        // operations; then two halves.
                        let levels = (c.div_ceil(32) + 10) as f64;
                        let tolerance = levels * EPS * 51.0 * scale + (levels + 8.0) * EPS * y.abs();
                        let tolerance = tolerance + SPLIT * y.abs() + SPLIT_MIN;
                        assert_close(h[t * c + i], y, tolerance, || format!("C {c}, row {t}, column {i}"));
                    }
                }
            }
            drop(rig);
            emulator.assert_clean();
        }
    }
}

#[test]
fn embedding_is_exact() {
    let emulator = Emulator::checked(90);
    let mut rig = Rig::new(3, 24, 64, "relu", 20);
    let tokens = crate::rig::Random(4).tokens(300).iter().map(|t| t % 67).collect::<Vec<u32>>();
    let tables: [Vec<u32>; 2] = [(0..10).collect(), (10..20).collect()];
    rig.plan(&[(&tokens[..200], 100, &tables[0]), (&tokens[200..], 0, &tables[1])]);
    let x = rig.read(&rig.act.residual, 300 * 72);
    let (tokens_table, positions) = (&rig.weights.token_embd, &rig.weights.position_embd);
    for (i, &x) in x.iter().enumerate() {
        let (t, c) = (i / 72, i % 72);
        let position = if t < 200 { 100 + t } else { t - 200 };
        assert_eq!(
            x,
            tokens_table.get(tokens[t] as usize, c) + positions.get(position, c),
            "token {t}, column {c}"
        );
    }
    drop(rig);
    emulator.assert_clean();
}
