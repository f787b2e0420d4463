//! Each operation of the CPU backend against its plain twin in float64, over shapes chosen to hurt, with every
//! instruction set of this machine, on one thread and on three.

use half::{bf16, f16};
use halfwarp::{
    backend::{
        cpu::{
            attention::{self, Span},
            linear::Then,
            ops::{AttentionShape, Ops, Pages},
            simd::Isa,
        },
        naive,
    },
    cache::PAGE_LEN,
    config::Activation,
    family::Layout,
    weights::{Linear, Matrix, Norm, StoredType},
};

/// Every instruction set, on one thread and on three.
fn all_ops() -> Vec<Ops> {
    Isa::available().into_iter().flat_map(|isa| [Ops::new(isa, 1), Ops::new(isa, 3)]).collect()
}

/// Numbers in -1..1, the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }

    fn matrix(&mut self, stored: StoredType, layout: Layout, n_out: usize, n_in: usize) -> Matrix {
        let values = self.vector(n_out * n_in).into_iter();
        match stored {
            StoredType::F32 => Matrix::from_f32(layout, n_out, n_in, values.collect()),
            StoredType::F16 => Matrix::from_f16(layout, n_out, n_in, values.map(f16::from_f32).collect()),
            StoredType::Bf16 => Matrix::from_bf16(layout, n_out, n_in, values.map(bf16::from_f32).collect()),
        }
    }

    /// Embeddings, or the matrix of the logits.
    fn table(&mut self, stored: StoredType, n_rows: usize, n_cols: usize) -> Matrix {
        self.matrix(stored, Layout::OutIn, n_rows, n_cols)
    }

    fn linear(&mut self, stored: StoredType, layout: Layout, n_in: usize, n_out: usize) -> Linear {
        let parts = vec![self.matrix(stored, layout, n_out, n_in)];
        Linear { parts, bias: Some(self.vector(n_out)) }
    }
}

const STORED: [StoredType; 3] = [StoredType::F16, StoredType::Bf16, StoredType::F32];

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v as f64).collect()
}

/// Asserts that `ours` is within `tolerance` of `exact`, and no element NaN.
#[track_caller]
fn assert_close(ours: &[f32], exact: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(exact).enumerate() {
        let error = (*a as f64 - b).abs();
        assert!(
            error <= tolerance,
            "{what}: element {i} is {a}, expected {b}, off by {error:e} > {tolerance:e}"
        );
    }
}

/// What a sum of `n` products of numbers in -1..1 may be off by in fp32: each of n roundings moves a partial sum, which
/// is about √n, by half a unit; in the worst case all the same way.
fn sum_tolerance(n: usize) -> f64 {
    n as f64 * (n as f64).sqrt() * f32::EPSILON as f64
}

const EPS: f32 = 1e-5;

#[test]
fn linear_matches_its_twin() {
    let shapes = [(8, 24), (64, 192), (120, 37), (768, 80), (1600, 33), (3072, 48), (17, 768)];
    let mut random = Random(1);
    for (n_in, n_out) in shapes {
        for (stored, layout) in STORED.into_iter().flat_map(|s| [(s, Layout::InOut), (s, Layout::OutIn)]) {
            let linear = random.linear(stored, layout, n_in, n_out);
            for n_tokens in [1, 2, 3, 7, 11, 12, 13, 31, 33] {
                let x = random.vector(n_tokens * n_in);
                let exact = naive::linear(&wide(&x), &linear);
                let before = random.vector(n_tokens * n_out);
                let added: Vec<f64> = exact.iter().zip(&before).map(|(a, &b)| a + b as f64).collect();
                for mut ops in all_ops() {
                    let what = format!(
                        "{}, [{n_tokens}, {n_in}] x [{n_in}, {n_out}], {stored:?} {layout:?}",
                        ops.isa()
                    );
                    let mut y = vec![f32::NAN; n_tokens * n_out];
                    ops.linear(&mut y, &x, &linear, Then::Store);
                    assert_close(&y, &exact, sum_tolerance(n_in), &what);
                    let mut y = before.clone();
                    ops.linear(&mut y, &x, &linear, Then::Add);
                    assert_close(&y, &added, sum_tolerance(n_in + 1), &what);
                }
            }
        }
    }
}

#[test]
fn linear_applies_every_activation() {
    let mut random = Random(2);
    let linear = random.linear(StoredType::F16, Layout::InOut, 64, 50);
    for kind in [Activation::GeluTanh, Activation::GeluErf, Activation::Relu] {
        for n_tokens in [1, 5, 14] {
            let x = random.vector(n_tokens * 64);
            let exact: Vec<f64> =
                naive::linear(&wide(&x), &linear).into_iter().map(|v| naive::activation(v, kind)).collect();
            for mut ops in all_ops() {
                let mut y = vec![f32::NAN; n_tokens * 50];
                ops.linear(&mut y, &x, &linear, Then::Activate(kind));
                // No activation is steeper than 1.13; its own error is 4e-7 of values that stay below 25.
                let tolerance = 1.13 * sum_tolerance(64) + 25.0 * 4e-7;
                assert_close(&y, &exact, tolerance, &format!("{}, {kind:?}", ops.isa()));
            }
        }
    }
}

#[test]
fn a_row_of_a_linear_has_the_same_bits_in_any_batch() {
    let mut random = Random(3);
    let shapes = [(120, 360), (768, 100), (37, 17)];
    for ((n_in, n_out), layout) in shapes.into_iter().flat_map(|s| [(s, Layout::InOut), (s, Layout::OutIn)]) {
        let linear = random.linear(StoredType::F16, layout, n_in, n_out);
        let x = random.vector(40 * n_in);
        for isa in Isa::available() {
            let mut one = Vec::new();
            for row in x.chunks(n_in) {
                let mut y = vec![0.0; n_out];
                Ops::new(isa, 1).linear(&mut y, row, &linear, Then::Store);
                one.extend(y);
            }
            for n_tokens in (2..=13).chain([24, 25, 40]) {
                let mut y = vec![0.0; n_tokens * n_out];
                Ops::new(isa, 3).linear(&mut y, &x[..n_tokens * n_in], &linear, Then::Store);
                let same = y.iter().zip(&one).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{isa}: {n_tokens} tokens, [{n_in}, {n_out}] {layout:?}");
            }
        }
    }
}

/// `matrix` in another layout, and in parts of `n_out` outputs each.
fn relaid(matrix: &Matrix, layout: Layout, n_out: usize) -> Vec<Matrix> {
    let outputs: Vec<usize> = (0..matrix.n_out()).collect();
    let part = |outputs: &[usize]| {
        let mut values = vec![0.0; outputs.len() * matrix.n_in()];
        for (o, &output) in outputs.iter().enumerate() {
            for i in 0..matrix.n_in() {
                let at = match layout {
                    Layout::InOut => i * outputs.len() + o,
                    Layout::OutIn => o * matrix.n_in() + i,
                };
                values[at] = matrix.get(output, i);
            }
        }
        Matrix::from_f32(layout, outputs.len(), matrix.n_in(), values)
    };
    outputs.chunks(n_out).map(part).collect()
}

#[test]
fn a_linear_has_the_same_bits_in_every_layout_and_in_parts() {
    let mut random = Random(9);
    for (n_in, n_out) in [(120, 360), (768, 100), (37, 17), (300, 96)] {
        let whole = random.linear(StoredType::F16, Layout::InOut, n_in, n_out);
        for n_tokens in [1, 2, 12, 13, 40] {
            let x = random.vector(n_tokens * n_in);
            for mut ops in all_ops() {
                let mut run = |linear: &Linear| {
                    let mut y = vec![f32::NAN; n_tokens * n_out];
                    ops.linear(&mut y, &x, linear, Then::Activate(Activation::GeluTanh));
                    y.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
                };
                let expected = run(&whole);
                for layout in [Layout::InOut, Layout::OutIn] {
                    for part in [n_out, n_out.div_ceil(2), n_out.div_ceil(3), 7] {
                        let parts = relaid(&whole.parts[0], layout, part);
                        let found = run(&Linear { parts, bias: whole.bias.clone() });
                        assert!(
                            found == expected,
                            "[{n_in}, {n_out}], {n_tokens} tokens, {layout:?}, parts of {part}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn logits_match_their_twin() {
    let mut random = Random(4);
    for (width, n_vocab) in [(8, 5), (64, 257), (120, 1013), (768, 321), (64, 50257)] {
        let stored = if width == 120 { StoredType::F32 } else { StoredType::F16 };
        let weight = random.table(stored, n_vocab, width);
        for n_rows in [1, 2, 3, 4, 5, 6, 7, 8, 13, 18] {
            if n_vocab > 10_000 && n_rows > 2 {
                continue;
            }
            let x = random.vector(n_rows * width);
            let exact = naive::logits(&wide(&x), &weight);
            for mut ops in all_ops() {
                let mut y = vec![f32::NAN; n_rows * n_vocab];
                ops.logits(&mut y, &x, &weight);
                assert_close(
                    &y,
                    &exact,
                    sum_tolerance(width),
                    &format!("{}, [{n_rows}, {width}]", ops.isa()),
                );
            }
        }
    }
}

#[test]
fn a_row_of_logits_has_the_same_bits_in_any_batch() {
    let mut random = Random(5);
    let weight = random.table(StoredType::Bf16, 1013, 120);
    let x = random.vector(21 * 120);
    for isa in Isa::available() {
        let mut all = vec![0.0; 21 * 1013];
        Ops::new(isa, 3).logits(&mut all, &x, &weight);
        for (x, all) in x.chunks(120).zip(all.chunks(1013)) {
            let mut y = vec![0.0; 1013];
            Ops::new(isa, 1).logits(&mut y, x, &weight);
            assert!(y.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}");
        }
    }
}

#[test]
fn layernorm_matches_its_twin() {
    let mut random = Random(6);
    for width in [8, 64, 120, 768, 1600, 1601] {
        let bias = (width != 120).then(|| random.vector(width));
        let norm = Norm { weight: random.vector(width), bias };
        for n_tokens in [1, 2, 13, 33] {
            // A mean of 100 with a spread of 0.6: the one-pass formula would keep three digits.
            let x: Vec<f32> = random.vector(n_tokens * width).iter().map(|v| v + 100.0).collect();
            let exact = naive::layernorm(&wide(&x), &norm, EPS as f64);
            for mut ops in all_ops() {
                let mut y = vec![f32::NAN; n_tokens * width];
                ops.layernorm(&mut y, &x, &norm, EPS);
                // The mean is off by a few units of 100 (8e-6 each), which the division by 0.6 enlarges.
                assert_close(
                    &y,
                    &exact,
                    8.0 * 100.0 * f32::EPSILON as f64 / 0.5,
                    &format!("{}, C {width}", ops.isa()),
                );
            }
        }
    }
}

#[test]
fn embed_adds_a_row_of_each_matrix() {
    let mut random = Random(7);
    for (of_tokens, of_positions) in STORED.into_iter().flat_map(|a| STORED.map(|b| (a, b))) {
        let (tokens, positions) = (random.table(of_tokens, 9, 37), random.table(of_positions, 5, 37));
        for mut ops in all_ops() {
            let mut y = vec![f32::NAN; 3 * 37];
            ops.embed(&mut y, &[8, 0, 3], &tokens);
            ops.add_positions(&mut y, &[4, 0, 1], &positions);
            for (y, (token, position)) in y.chunks(37).zip([(8, 4), (0, 0), (3, 1)]) {
                for c in 0..37 {
                    let sum = tokens.get(token, c) + positions.get(position, c);
                    assert_eq!(y[c].to_bits(), sum.to_bits(), "{}", ops.isa());
                }
            }
        }
    }
}

/// Runs attention over `chunks` of one sequence, whose pages are scattered among others that hold NaN.
fn attend(ops: &mut Ops, qkv: &[f32], shape: AttentionShape, chunks: &[usize]) -> Vec<f32> {
    let width = shape.width;
    let n_pages = 2 * (qkv.len() / (3 * width)).div_ceil(PAGE_LEN) + 1;
    let pages: Vec<u32> = (0..n_pages as u32).rev().step_by(2).collect();
    let n_head = width / shape.head_dim;
    let mut keys = vec![f32::NAN; n_pages * width * PAGE_LEN];
    let mut values = vec![f32::NAN; n_pages * n_head * attention::padded(shape.head_dim) * PAGE_LEN];
    let (mut y, mut position) = (Vec::new(), 0);
    for &n_tokens in chunks {
        let mut part = vec![f32::NAN; n_tokens * width];
        let span = Span { first: 0, n_tokens, position, pages: &pages };
        let pages = Pages { keys: &mut keys, values: &mut values };
        let qkv = &qkv[position * 3 * width..][..n_tokens * 3 * width];
        ops.attention(&mut part, qkv, pages, std::iter::once(span), shape);
        y.extend(part);
        position += n_tokens;
    }
    y
}

#[test]
fn attention_matches_its_twin_and_reads_no_row_past_the_query() {
    let mut random = Random(8);
    for (n_head, head_dim) in [(1, 8), (5, 24), (2, 64), (3, 80)] {
        let width = n_head * head_dim;
        for n_tokens in [1, 2, 7, 8, 9, 31, 32, 33, 65, 100] {
            let qkv = random.vector(n_tokens * 3 * width);
            let config = shape_config(width, n_head);
            let exact = naive::attention(&wide(&qkv), &config, 0);
            let shape = AttentionShape { width, head_dim, scale: config.attn.scale[0], n_ctx: 100 };
            for mut ops in all_ops() {
                let y = attend(&mut ops, &qkv, shape, &[n_tokens]);
                // Scores are off by a sum over d, so weights by as much in relation; values are below 1. The sum over
                // positions adds the roundings of a mean.
                let tolerance = 2.0 * sum_tolerance(head_dim) + 2.0 * n_tokens as f64 * f32::EPSILON as f64;
                assert_close(&y, &exact, tolerance, &format!("{}, T {n_tokens}, D {head_dim}", ops.isa()));
            }
        }
    }
}

#[test]
fn attention_has_the_same_bits_however_the_prompt_is_cut() {
    let mut random = Random(9);
    let (width, head_dim, n_tokens) = (120, 24, 100);
    let qkv = random.vector(n_tokens * 3 * width);
    let shape = AttentionShape { width, head_dim, scale: 0.2, n_ctx: 100 };
    for isa in Isa::available() {
        let whole = attend(&mut Ops::new(isa, 1), &qkv, shape, &[n_tokens]);
        for chunks in [&[1; 100][..], &[7; 14], &[32, 32, 36], &[1, 99], &[99, 1], &[31, 1, 1, 33, 34]] {
            let y = attend(&mut Ops::new(isa, 3), &qkv, shape, chunks);
            let same = y.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{isa}: chunks {chunks:?}");
        }
    }
}

/// A config of which attention reads the width and the heads.
fn shape_config(n_embd: usize, n_head: usize) -> halfwarp::Config {
    let json = format!(
        r#"{{"model_type": "gpt2", "vocab_size": 10, "n_positions": 100, "n_embd": {n_embd}, "n_head": {n_head},
            "n_layer": 1, "layer_norm_epsilon": 1e-5}}"#
    );
    halfwarp::family::parse_config(json.as_bytes()).unwrap()
}
