//! Attention, of one token and of a prompt.

use crate::{
    harness::{ALL, Gpu, args, on, shape},
    numbers::{Bounded, Random, TINY16, U16, U32, assert_within, half},
};

const HEAD_DIM: usize = 64;
/// Keys that a block of the decode kernels takes.
const CHUNK: usize = 64;

/// `softmax(scale * <q, k_t>)` times `v` over these rows of keys and values. Weights have a relative error of `weight_error`; fp16 results.
fn attend(q: &[u16], keys: &[&[u16]], values: &[&[u16]], scale: f64, weight_error: f64) -> Vec<Bounded> {
    let products = |k: &[u16]| q.iter().zip(k).map(|(&a, &b)| half(a) * half(b)).collect::<Vec<_>>();
    let scores: Vec<f64> = keys.iter().map(|k| scale * products(k).iter().sum::<f64>()).collect();
    // A score is off by its fp32 roundings, and so is, relatively, its exponential.
    let magnitude = keys.iter().map(|k| products(k).iter().map(|p| p.abs()).sum::<f64>()).fold(0.0, f64::max);
    let relative = weight_error + (HEAD_DIM + 3) as f64 * U32 * scale * magnitude;
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    (0..q.len())
        .map(|d| {
            let terms = weights.iter().zip(values).map(|(w, v)| w / total * half(v[d]));
            let (value, magnitude) = terms.fold((0.0, 0.0), |(v, m), t: f64| (v + t, m + t.abs()));
            // Numerator and denominator are off, each by the weights' error and a rounding for every term.
            let error = 2.0 * (relative + (weights.len() + 4) as f64 * U32) * magnitude;
            let result = Bounded { value, error }.rounded(U16);
            Bounded { error: result.error + TINY16, ..result }
        })
        .collect()
}

/// The relative error of a weight after `merges` rescalings: `__expf` of numbers above -20 is within 2 + 1.173 * 20 units in the last
/// place, and each rescaling multiplies and adds.
fn expf_error(merges: usize) -> f64 {
    merges as f64 * (2.0 * 26.0 + 3.0) * U32
}

struct Decode {
    heads: usize,
    tokens: usize,
    q: Vec<u16>,
    k: Vec<u16>,
    v: Vec<u16>,
}

impl Decode {
    fn new(heads: usize, tokens: usize) -> Decode {
        let mut random = Random((heads * tokens) as u64);
        let q = random.halves(heads * HEAD_DIM, 1.0);
        let cache = tokens * heads * HEAD_DIM;
        Decode { heads, tokens, q, k: random.halves(cache, 1.0), v: random.halves(cache, 1.0) }
    }

    fn want(&self, scale: f32) -> Vec<Bounded> {
        let at = |x: usize| x * HEAD_DIM..(x + 1) * HEAD_DIM;
        let head = |h: usize| {
            let rows =
                |c| -> Vec<&[u16]> { (0..self.tokens).map(|t| slice(c, t * self.heads + h)).collect() };
            let merges = CHUNK / 16 + 2 + 3 + 1;
            attend(&self.q[at(h)], &rows(&self.k), &rows(&self.v), f64::from(scale), expf_error(merges))
        };
        (0..self.heads).flat_map(head).collect()
    }
}

fn slice(cache: &[u16], row: usize) -> &[u16] {
    &cache[row * HEAD_DIM..(row + 1) * HEAD_DIM]
}

fn check_decode(gpu: &mut Gpu, heads: usize, tokens: usize) {
    let d = Decode::new(heads, tokens);
    let scale = 0.125f32;
    let want = d.want(scale);
    let chunks = tokens.div_ceil(CHUNK);
    let (q, k, v) = (gpu.upload(&d.q), gpu.upload(&d.k), gpu.upload(&d.v));
    let partial = gpu.scratch::<f32>(heads * chunks * HEAD_DIM);
    let stats = gpu.scratch::<f32>(heads * chunks * 2);
    let grid = shape(1, 128).grid(chunks as u32, heads as u32);
    gpu.launch("attention_decode_split_f16", grid, args![partial, stats, q, k, v, tokens as u32, scale]);
    let out = gpu.output::<u16>(heads * HEAD_DIM);
    let combine = shape(heads as u32, HEAD_DIM as u32);
    gpu.launch("attention_decode_combine_f16", combine, args![out, partial, stats, chunks as u32]);
    let split = gpu.read(out);
    assert_within(&format!("{heads} heads, {tokens} tokens"), split.iter().map(|&h| half(h)), &want);

    let finished = gpu.upload(&vec![0u32; heads]);
    for run in 0..2 {
        let out = gpu.output::<u16>(heads * HEAD_DIM);
        let partial = gpu.scratch::<f32>(heads * chunks * HEAD_DIM);
        let stats = gpu.scratch::<f32>(heads * chunks * 2);
        let arguments = args![out, partial, stats, finished, q, k, v, tokens as u32, scale];
        gpu.launch("attention_decode_fused_f16", grid, arguments);
        assert_eq!(
            gpu.read(out),
            split,
            "launch {run} of the fused kernel has the same bits as the two kernels"
        );
        assert_eq!(gpu.read(finished), vec![0; heads], "tickets after launch {run}");
    }
}

#[test]
fn decode_attention_split_and_fused_equals_its_reference() {
    on(&ALL, "attention_decode", |gpu| {
        for (heads, tokens) in [(1, 1), (2, 15), (3, 64), (2, 65), (2, 200)] {
            check_decode(gpu, heads, tokens);
        }
    });
}

fn check_prefill(gpu: &mut Gpu, heads: usize, tokens: usize) {
    let mut random = Random((heads * tokens) as u64);
    let n = heads * tokens * HEAD_DIM;
    let (q, k, v) = (random.halves(n, 1.0), random.halves(n, 1.0), random.halves(n, 1.0));
    let scale = 0.125f32;
    let (dq, dk, dv) = (gpu.upload(&q), gpu.upload(&k), gpu.upload(&v));
    let out = gpu.output::<u16>(n);
    let launch = shape(1, 128).grid(tokens.div_ceil(64) as u32, heads as u32);
    gpu.launch("attention_prefill_f16", launch, args![out, dq, dk, dv, tokens as u32, scale]);
    let got = gpu.read(out);
    for row in 0..heads * tokens {
        let first = row / tokens * tokens;
        let rows = |x| -> Vec<&[u16]> { (first..=row).map(|r| slice(x, r)).collect() };
        // A weight is rounded to fp16, and rescaled once a tile; exp2f is within 2 units in the last place.
        let weight_error = U16 + (tokens.div_ceil(64) + 1) as f64 * 8.0 * U32;
        let mut want = attend(slice(&q, row), &rows(&k), &rows(&v), f64::from(scale), weight_error);
        // Weights below the normal fp16 numbers are off by TINY16 against a greatest weight of 1.
        want.iter_mut().for_each(|w| w.error += TINY16 * tokens as f64);
        let what = format!("row {row} of {heads} heads, {tokens} tokens, sm_{}", gpu.arch);
        assert_within(&what, slice(&got, row).iter().map(|&h| half(h)), &want);
    }
}

#[test]
fn prefill_attention_is_causal_and_equals_its_reference() {
    on(&ALL, "attention_prefill", |gpu| {
        for (heads, tokens) in [(1, 1), (2, 17), (1, 64), (1, 65), (1, 150)] {
            check_prefill(gpu, heads, tokens);
        }
    });
}
