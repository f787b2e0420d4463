//! Each decode kernel against a plain twin in float64, over shapes that hurt.
//!
//! Tolerances: a sum of n products in fp32, in whatever order, is off by at most n * 2^-24 times the sum of their
//! magnitudes; the twins return that sum beside the value.

use crate::{
    emulator::Emulator,
    step_rig::{EPS, N_CTX, StepRig, page_of, row_of},
};
use halfwarp::backend::cuda::kernels::COLUMN_COUNTS;

const PAGE: usize = 32;

/// n_embd, n_head, n_inner, V: whole and ragged tiles, several slices, heads of 8 to 128.
const SHAPES: [(usize, usize, usize, usize); 6] = [
    (64, 4, 256, 33),
    (72, 3, 200, 517),
    (8, 1, 8, 1),
    (768, 12, 3072, 130),
    (1600, 25, 520, 67),
    (256, 2, 1096, 259),
];

/// A value, and the sum of magnitudes that it came from.
#[derive(Clone, Copy)]
struct Exact {
    value: f64,
    size: f64,
}

/// LayerNorm of a column of the residual stream.
fn normed(rig: &StepRig, residual: &[f32], gain: &[f32], shift: &[f32], t: usize) -> Vec<f64> {
    let x: Vec<f64> = residual[t * rig.n_embd..][..rig.n_embd].iter().map(|&v| v.into()).collect();
    let n = rig.n_embd as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + f64::from(EPS)).sqrt();
    x.iter()
        .zip(gain)
        .zip(shift)
        .map(|((v, &g), &s)| (v - mean) * scale * f64::from(g) + f64::from(s))
        .collect()
}

/// `y = x · row`.
fn product(x: &[f64], row: &[f64]) -> Exact {
    let terms = x.iter().zip(row).map(|(x, w)| x * w);
    terms.fold(Exact { value: 0.0, size: 0.0 }, |sum, term| Exact {
        value: sum.value + term,
        size: sum.size + term.abs(),
    })
}

/// `n` is the number of terms, and what else rounds.
#[track_caller]
fn assert_near(ours: f32, exact: Exact, n: usize, what: std::fmt::Arguments) {
    let tolerance = (n + 16) as f64 * 0.5f64.powi(24) * (exact.size + 1.0);
    let error = (f64::from(ours) - exact.value).abs();
    assert!(
        error <= tolerance,
        "{what}: {ours} is off by {error:e} from {}, tolerance {tolerance:e}",
        exact.value
    );
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// Runs `test` for every shape, on devices of both kinds of code.
fn on_every_shape(test: impl Fn(&mut StepRig, &str)) {
    let emulator = Emulator::checked(75);
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let arch = [75, 80, 90, 120][i % 4];
        emulator.reset(&format!(r#"{{"arch": {arch}, "seed": {i}, "check": true}}"#));
        let mut rig = StepRig::new(shape);
        test(&mut rig, &format!("{shape:?} on sm_{arch}"));
        drop(rig);
        emulator.assert_clean();
    }
}

#[test]
fn embed() {
    on_every_shape(|rig, what| {
        let (c, v) = (rig.n_embd, rig.n_vocab);
        let ((token_embd, table), positions) = (rig.table(), rig.halves(N_CTX * c));
        let position_embd = rig.env.gpu.upload::<u16>(bytemuck::cast_slice(&positions), "a test").unwrap();
        for n_columns in COLUMN_COUNTS {
            let step = rig.env.step(n_columns);
            step.embed(&mut rig.act, &token_embd, &position_embd).unwrap();
            let x = rig.read(&rig.act.residual);
            for (t, p) in rig.columns(n_columns) {
                let token = t * 7 % v;
                for i in 0..c {
                    let expected = table.row(token)[i] as f32 + positions[p * c + i].to_f32();
                    assert_eq!(x[t * c + i], expected, "{what}: column {t}, {i}");
                }
            }
        }
    });
}

#[test]
fn qkv() {
    on_every_shape(|rig, what| {
        let (c, d, padded) = (rig.n_embd, rig.n_embd / rig.n_head, rig.env.dims.padded_dim());
        let (norm, gain, shift) = rig.norm();
        let (linear, weight, bias) = rig.linear(c, 3 * c);
        let zeros = vec![0.0; rig.pages_len()];
        let mut pages = rig.pages(&[zeros.clone(), zeros]);
        for n_columns in COLUMN_COUNTS {
            let step = rig.env.step(n_columns);
            step.qkv(&mut rig.act, &mut pages, &norm, &linear).unwrap();
            let residual = rig.read(&rig.act.residual);
            let (q, keys, values) = (rig.read(&rig.act.q), rig.read(&pages.keys), rig.read(&pages.values));
            for (t, p) in rig.columns(n_columns) {
                let x = normed(rig, &residual, &gain, &shift, t);
                for r in 0..3 * c {
                    let (part, i) = (r / c, r % c);
                    let row = (page_of(t, p / PAGE) * rig.n_head + i / d) * PAGE + p % PAGE;
                    let ours = match part {
                        0 => q[t * c + i],
                        1 => keys[row * padded + i % d],
                        _ => values[row * padded + i % d],
                    };
                    let mut exact = product(&x, weight.row(r));
                    exact.value += f64::from(bias[r]);
                    // LayerNorm's own rounding is like a few more terms.
                    assert_near(ours, exact, 2 * c, format_args!("{what}: column {t}, row {r}"));
                }
            }
        }
    });
}

#[test]
fn attention_and_attn_out() {
    on_every_shape(|rig, what| {
        let (c, d, h, padded) = (rig.n_embd, rig.n_embd / rig.n_head, rig.n_head, rig.env.dims.padded_dim());
        let (linear, weight, bias) = rig.linear(c, c);
        let len = rig.pages_len();
        // Rows that no column may read are NaN, and so are those after each column's position.
        let mut sides = [vec![f32::NAN; len], vec![f32::NAN; len]];
        for (t, p) in rig.columns(8).collect::<Vec<_>>() {
            for s in 0..=p {
                for head in 0..h {
                    let row = ((page_of(t, s / PAGE) * h + head) * PAGE + s % PAGE) * padded;
                    for side in &mut sides {
                        side[row..][..padded].fill(0.0);
                        let fresh = rig.floats(d);
                        side[row..][..d].copy_from_slice(&fresh);
                    }
                }
            }
        }
        let pages = rig.pages(&sides);
        let [keys, values] = &sides;
        let scale = 1.0 / (d as f32).sqrt();
        for n_columns in COLUMN_COUNTS {
            let step = rig.env.step(n_columns);
            let (q, before) = (rig.read(&rig.act.q), rig.read(&rig.act.residual));
            step.attention(&mut rig.act, &pages, scale).unwrap();
            step.attn_out(&mut rig.act, &linear).unwrap();
            let after = rig.read(&rig.act.residual);
            for (t, p) in rig.columns(n_columns) {
                let row =
                    |s: usize, head: usize| ((page_of(t, s / PAGE) * h + head) * PAGE + s % PAGE) * padded;
                let mut x = vec![0.0; c];
                for head in 0..h {
                    let score = |s: usize| {
                        let k = &keys[row(s, head)..][..d];
                        let dot =
                            k.iter().zip(&q[t * c + head * d..]).map(|(&a, &b)| f64::from(a) * f64::from(b));
                        dot.sum::<f64>() * f64::from(scale)
                    };
                    let scores: Vec<f64> = (0..=p).map(score).collect();
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                    let all: f64 = weights.iter().sum();
                    for i in 0..d {
                        let mix = (0..=p).map(|s| weights[s] * f64::from(values[row(s, head) + i]));
                        x[head * d + i] = mix.sum::<f64>() / all;
                    }
                }
                for r in 0..c {
                    let mut exact = product(&x, weight.row(r));
                    exact.value += f64::from(bias[r]) + f64::from(before[t * c + r]);
                    // The heads' values are sums of p + 1 terms and scores of d, at most 1 in size.
                    let what = format_args!("{what}: column {t}, row {r}");
                    assert_near(
                        after[t * c + r],
                        Exact { size: exact.size + c as f64, ..exact },
                        c + p + d,
                        what,
                    );
                }
            }
        }
    });
}

#[test]
fn up_and_down() {
    on_every_shape(|rig, what| {
        let (c, f) = (rig.n_embd, rig.n_inner);
        let (norm, gain, shift) = rig.norm();
        let (up, up_weight, up_bias) = rig.linear(c, f);
        let (down, down_weight, down_bias) = rig.linear(f, c);
        for n_columns in COLUMN_COUNTS {
            let step = rig.env.step(n_columns);
            let before = rig.read(&rig.act.residual);
            step.up(&mut rig.act, &norm, &up).unwrap();
            step.down(&mut rig.act, &down).unwrap();
            let after = rig.read(&rig.act.residual);
            for (t, _) in rig.columns(n_columns) {
                let x = normed(rig, &before, &gain, &shift, t);
                let inner: Vec<Exact> = (0..f)
                    .map(|r| {
                        let sum = product(&x, up_weight.row(r));
                        Exact { value: gelu(sum.value + f64::from(up_bias[r])), size: sum.size }
                    })
                    .collect();
                let values: Vec<f64> = inner.iter().map(|e| e.value).collect();
                let size = inner.iter().map(|e| e.size + 1.0).sum::<f64>();
                for r in 0..c {
                    let mut exact = product(&values, down_weight.row(r));
                    exact.value += f64::from(down_bias[r]) + f64::from(before[t * c + r]);
                    // Each inner value carries an error of its own sum, of c terms.
                    let exact = Exact { size: exact.size + size, ..exact };
                    assert_near(
                        after[t * c + r],
                        exact,
                        f.max(2 * c),
                        format_args!("{what}: column {t}, row {r}"),
                    );
                }
            }
        }
    });
}

#[test]
fn logits() {
    on_every_shape(|rig, what| {
        let (c, v) = (rig.n_embd, rig.n_vocab);
        let (norm, gain, shift) = rig.norm();
        let (head, table) = rig.table();
        let mut y = rig.env.gpu.zeros(8 * v, "a test").unwrap();
        for n_columns in COLUMN_COUNTS {
            let step = rig.env.step(n_columns);
            step.logits(&mut y, &rig.act, &norm, &head).unwrap();
            let (residual, ours) = (rig.read(&rig.act.residual), rig.read(&y));
            for (t, _) in rig.columns(n_columns).filter(|&(t, _)| t != 1) {
                let x = normed(rig, &residual, &gain, &shift, t);
                for r in 0..v {
                    let exact = product(&x, table.row(r));
                    assert_near(
                        ours[row_of(t) * v + r],
                        exact,
                        2 * c,
                        format_args!("{what}: column {t}, row {r}"),
                    );
                }
            }
        }
    });
}
