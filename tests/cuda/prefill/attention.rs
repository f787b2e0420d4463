//! Attention against float64, over caches whose unused rows hold NaN.

use super::{ARCHS, EPS, Rig, SPLIT, SPLIT_MIN, assert_close, random_floats};
use crate::emulator::Emulator;
use halfwarp::cache::PAGE_LEN;

/// A sequence: tokens in the cache, and new ones.
type Span = (usize, usize);

/// Pages of sequences of these lengths, in no order.
fn tables(spans: &[Span]) -> Vec<Vec<u32>> {
    let n_pages = |&(n_cached, n_tokens): &Span| (n_cached + n_tokens).div_ceil(PAGE_LEN);
    let total: usize = spans.iter().map(n_pages).sum();
    // 7 has no divisor in common with the number that follows, so this visits each page once.
    let n = (total..).find(|n| n % 7 != 0).unwrap();
    let mut pages = (0..n).map(|i| (i * 7 % n) as u32);
    spans.iter().map(|span| pages.by_ref().take(n_pages(span)).collect()).collect()
}

/// One head's softmax over `scores`, and the mix of `values` of width `d`.
fn mix(scores: &[f64], value: impl Fn(usize) -> Vec<f64>, d: usize) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; d];
    for (s, w) in weights.iter().enumerate() {
        out.iter_mut().zip(value(s)).for_each(|(out, v)| *out += w / sum * v);
    }
    out
}

fn check(n_head: usize, head_dim: usize, spans: &[Span]) {
    let tables = tables(spans);
    let n_pages = 1 + *tables.iter().flatten().max().unwrap() as usize;
    let mut rig = Rig::new(n_head, head_dim, 64, "relu", n_pages);
    let padded = rig.dims.padded_dim();
    let c = n_head * head_dim;
    let tokens = vec![0; spans.iter().map(|s| s.1).max().unwrap()];
    let planned: Vec<_> = spans.iter().zip(&tables).map(|(s, t)| (&tokens[..s.1], s.0, &t[..])).collect();
    rig.plan(&planned);

    let n_tokens: usize = spans.iter().map(|s| s.1).sum();
    let q = random_floats(1, n_tokens * c, 2.0);
    let mut keys = rig.read(&rig.pages.keys, rig.pages.keys.len());
    let mut values = keys.clone();
    let random = [random_floats(2, keys.len(), 2.0), random_floats(3, keys.len(), 2.0)];
    let at = |table: &[u32], s: usize, head: usize| {
        ((table[s / PAGE_LEN] as usize * n_head + head) * PAGE_LEN + s % PAGE_LEN) * padded
    };
    for (&(n_cached, n_new), table) in spans.iter().zip(&tables) {
        for (s, head) in (0..n_cached + n_new).flat_map(|s| (0..n_head).map(move |head| (s, head))) {
            let row = at(table, s, head)..at(table, s, head) + head_dim;
            keys[row.clone()].copy_from_slice(&random[0][row.clone()]);
            values[row.clone()].copy_from_slice(&random[1][row]);
        }
    }
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (run, act, pages, _) = rig.prompt();
    run.gpu.write(&mut act.q, 0, &q).unwrap();
    run.gpu.write(&mut pages.keys, 0, &keys).unwrap();
    run.gpu.write(&mut pages.values, 0, &values).unwrap();
    run.attention(act, pages, scale).unwrap();
    let ours = rig.read_halves(&rig.act.h, n_tokens, c);

    let mut first = 0;
    for (&(n_cached, n_new), table) in spans.iter().zip(&tables) {
        for (t, head) in (0..n_new).flat_map(|t| (0..n_head).map(move |head| (t, head))) {
            let q = &q[(first + t) * c + head * head_dim..][..head_dim];
            let vector = |all: &[f32], s: usize| -> Vec<f64> {
                all[at(table, s, head)..][..head_dim].iter().map(|&x| x.into()).collect()
            };
            let mut size = 0.0f64; // of the largest score's sum of |q k|
            let scores: Vec<f64> = (0..=n_cached + t)
                .map(|s| {
                    let products = q.iter().zip(vector(&keys, s)).map(|(&q, k)| f64::from(q) * k);
                    size = size.max(products.clone().map(f64::abs).sum());
                    products.sum::<f64>() * f64::from(scale)
                })
                .collect();
            let expected = mix(&scores, |s| vector(&values, s), head_dim);
            // A score is off by what three terms of two halves leave out and by three truncating instructions for each 8 columns;
            // a weight, relatively, by twice that, and by what exp2f, its argument's rounding and its halves are off by; the
            // pages' sums by their number. All of it counts at most as the largest value, which is 2.
            let score = size * f64::from(scale) * (3.0 * SPLIT + (6 * head_dim.div_ceil(8)) as f64 * EPS);
            let largest = scores.iter().fold(0.0f64, |max, s| max.max(s.abs())) * 2.0;
            let n_pages = (n_cached + t).div_ceil(PAGE_LEN) as f64;
            let weight = 2.0 * score + (largest + 8.0) * 2.0 * EPS + 3.0 * SPLIT + SPLIT_MIN * 32.0;
            let tolerance = 2.0 * (weight + (n_pages * 4.0 + 48.0) * EPS);
            for (d, &y) in expected.iter().enumerate() {
                let x = ours[(first + t) * c + head * head_dim + d];
                let what =
                    || format!("H {n_head}, D {head_dim}, {spans:?}, token {t}, head {head}, column {d}");
                assert_close(x, y, tolerance, what);
            }
        }
        first += n_new;
    }
}

/// Spans around the sizes of pages and tiles, alone and together, at the start and after cached tokens.
#[test]
fn attention_matches_its_twin() {
    for arch in ARCHS {
        let emulator = Emulator::checked(arch);
        check(3, 24, &[(0, 1)]);
        check(2, 64, &[(0, 130)]);
        check(1, 16, &[(31, 1), (0, 33), (32, 31), (1, 64), (95, 65)]);
        check(8, 3, &[(40, 9), (0, 7)]);
        check(1, 80, &[(60, 70), (0, 1)]);
        check(1, 128, &[(5, 66), (64, 8)]);
        emulator.assert_clean();
    }
}

/// As `products_that_truncate_match_their_twin`.
#[test]
fn attention_that_truncates_matches_its_twin() {
    let emulator = Emulator::new(r#"{"arch": 80, "check": true, "quiet": true, "jitter": 2}"#);
    check(2, 64, &[(250, 20)]);
    emulator.assert_clean();
}
