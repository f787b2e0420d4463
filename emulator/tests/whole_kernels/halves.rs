//! Arithmetic of fp16 and bf16, exact against double precision rounded once.

use crate::{
    harness::{ALL, args, on, over},
    numbers::{BF16, Bounded, F16, Format, Random, TINY16, U16, assert_within, half},
};

/// Bits of numbers of every size, subnormals, infinities and NaN of a 16-bit format.
fn awkward(random: &mut Random, n: usize) -> Vec<u16> {
    (0..n).map(|_| random.u32() as u16).collect()
}

/// Bits of numbers between about 2^-7 and 2^7 with short fractions, so that many results are ties.
fn moderate(random: &mut Random, n: usize, format: Format) -> Vec<u16> {
    let mut number = || f64::from((random.signed() * 64.0).round()) / 2f64.powi((random.u32() % 8) as i32);
    (0..n).map(|_| format.encode(number()) as u16).collect()
}

/// `a * x + b` rounded once: the product of two numbers with 11 bits is exact in double precision, and where the sum is
/// not, the fp16 result is infinite or decided by far more bits than the sum loses.
fn fma(format: Format, a: u16, x: u16, b: u16) -> f64 {
    let d = |bits| format.decode(u32::from(bits));
    format.round(d(a) * d(x) + d(b))
}

fn assert_same(what: &str, format: Format, got: &[u16], want: impl Fn(usize) -> f64) {
    for (i, &bits) in got.iter().enumerate() {
        let (g, w) = (format.decode(u32::from(bits)), want(i));
        assert!(g == w || g.is_nan() && w.is_nan(), "{what}: element {i} is {g} ({bits:#06x}), expected {w}");
    }
}

#[test]
fn fp16_fused_products_round_once() {
    on(&ALL, "elementwise_half", |gpu| {
        let n = 500;
        let mut random = Random(3);
        for numbers in [awkward, |r: &mut Random, n: usize| moderate(r, n, F16)] {
            let (a, x, b) =
                (numbers(&mut random, 2 * n), numbers(&mut random, 2 * n), numbers(&mut random, 2 * n));
            let (da, dx, db) = (gpu.upload(&a), gpu.upload(&x), gpu.upload(&b));
            let y = gpu.output::<u16>(8 * n);
            gpu.launch("fma_f16x2", over(n, 128), args![y, da, dx, db, n as u32]);
            let y = gpu.read(y);
            let once = |i: usize| fma(F16, a[i], x[i], b[i]);
            let relu = |i: usize| if once(i) < 0.0 { 0.0 } else { once(i) };
            let saturated = |i: usize| if once(i).is_nan() { 0.0 } else { once(i).clamp(0.0, 1.0) };
            let twice = |i: usize| F16.round(F16.round(half(a[i]) * half(x[i])) + half(b[i]));
            assert_same("fma", F16, &y[..2 * n], once);
            assert_same("fma.relu", F16, &y[2 * n..4 * n], relu);
            assert_same("fma.sat", F16, &y[4 * n..6 * n], saturated);
            assert_same("mul, add", F16, &y[6 * n..], twice);
        }
    });
}

#[test]
fn bf16_fused_products_round_once() {
    on(&ALL, "elementwise_half", |gpu| {
        let n = 500;
        let mut random = Random(4);
        let mut numbers = || moderate(&mut random, 2 * n, BF16);
        let (a, x, b) = (numbers(), numbers(), numbers());
        let (da, dx, db) = (gpu.upload(&a), gpu.upload(&x), gpu.upload(&b));
        let y = gpu.output::<u16>(4 * n);
        gpu.launch("fma_bf16x2", over(n, 128), args![y, da, dx, db, n as u32]);
        let y = gpu.read(y);
        // Before sm_80 the sum is rounded to fp32 first: of these numbers it is exact there.
        let once = |i: usize| fma(BF16, a[i], x[i], b[i]);
        assert_same("fma", BF16, &y[..2 * n], once);
        assert_same("fma.relu", BF16, &y[2 * n..], |i| if once(i) < 0.0 { 0.0 } else { once(i) });
    });
}

#[test]
fn bf16_conversions_round_to_nearest_even() {
    on(&ALL, "elementwise_half", |gpu| {
        let n = 300;
        let mut random = Random(5);
        // Half of them lie in the middle of two bf16 numbers.
        let x: Vec<f32> = (0..2 * n)
            .map(|i| {
                f32::from_bits(
                    (random.u32() & 0xbfff_0000) | if i % 2 == 0 { 0x8000 } else { random.u32() & 0xffff },
                )
            })
            .collect();
        let dx = gpu.upload(&x);
        let (pairs, sums) = (gpu.output::<u16>(2 * n), gpu.output::<f32>(n));
        gpu.launch("convert_bf16", over(n, 128), args![pairs, sums, dx, n as u32]);
        assert_same("to bf16", BF16, &gpu.read(pairs), |i| BF16.round(f64::from(x[i])));
        let back = |i: usize| BF16.round(f64::from(x[i])) as f32;
        let want: Vec<u32> = (0..n).map(|i| (back(2 * i) + back(2 * i + 1)).to_bits()).collect();
        assert_eq!(gpu.read(sums).iter().map(|s| s.to_bits()).collect::<Vec<_>>(), want, "and back");
    });
}

#[test]
fn fp16_comparisons_and_roundings_treat_nan_as_documented() {
    on(&ALL, "elementwise_half", |gpu| {
        let n = 700;
        let mut random = Random(6);
        let mut a = awkward(&mut random, n);
        let mut b = awkward(&mut random, n);
        let special = [0x7e00, 0x3c00, 0x7e00, 0x0000, 0x8000, 0x3800, 0xb800, 0x3e00, 0x4100];
        a[..9].copy_from_slice(&special);
        b[..4].copy_from_slice(&[0x3c00, 0x7e00, 0x7e00, 0x8000]);
        let (da, db) = (gpu.upload(&a), gpu.upload(&b));
        let y = gpu.output::<u16>(10 * n);
        gpu.launch("compare_f16", over(n, 128), args![y, da, db, n as u32]);
        let y = gpu.read(y);
        let pair = |i: usize| (half(a[i]), half(b[i]));
        let keeps_nan = gpu.arch >= 80;
        let select = |f: fn(f64, f64) -> f64, keep: bool| {
            move |i: usize| match pair(i) {
                (a, b) if keep && (a.is_nan() || b.is_nan()) => f64::NAN,
                (a, b) => f(a, b),
            }
        };
        let truth = |t: bool| f64::from(u8::from(t));
        let row = |r: usize| &y[r * n..(r + 1) * n];
        assert_same("min", F16, row(0), select(f64::min, false));
        assert_same("max", F16, row(1), select(f64::max, false));
        assert_same("min.NaN", F16, row(2), select(f64::min, keeps_nan));
        assert_same("max.NaN", F16, row(3), select(f64::max, keeps_nan));
        assert_same("abs", F16, row(4), |i| pair(i).0.abs());
        assert_same("neg", F16, row(5), |i| -pair(i).0);
        assert_same("floor", F16, row(6), |i| pair(i).0.floor());
        assert_same("rint", F16, row(7), |i| pair(i).0.round_ties_even());
        assert_same("ltu", F16, row(8), |i| {
            truth(pair(i).0 < pair(i).1 || pair(i).0.is_nan() || pair(i).1.is_nan())
        });
        assert_same("le", F16, row(9), |i| truth(pair(i).0 <= pair(i).1));
    });
}

type Function = (&'static str, fn(f64) -> f64);

#[test]
fn fp16_functions_are_within_their_bounds() {
    on(&ALL, "elementwise_half", |gpu| {
        let n = 200;
        let mut random = Random(8);
        let x: Vec<u16> = (0..2 * n)
            .map(|_| {
                F16.encode(f64::from(random.signed().abs() + 0.01) * 2f64.powi((random.u32() % 4) as i32))
                    as u16
            })
            .collect();
        let (dx, y) = (gpu.upload(&x), gpu.output::<u16>(12 * n));
        gpu.launch("functions_f16", over(n, 64), args![y, dx, n as u32]);
        let y = gpu.read(y);
        let functions: [Function; 6] = [
            ("1/x", f64::recip),
            ("1/sqrt(x)", |x| 1.0 / x.sqrt()),
            ("sqrt(x)", f64::sqrt),
            ("exp(x)", f64::exp),
            ("log2(x)", f64::log2),
            ("sin(x)", f64::sin),
        ];
        for (r, (what, f)) in functions.into_iter().enumerate() {
            let want: Vec<Bounded> = x
                .iter()
                .map(|&x| {
                    let value = f(half(x));
                    // The half nearest to an fp32 approximation: two units in the last place of fp16; near the zeros of log2
                    // and of sin the approximation's own absolute error of 2^-10.
                    let absolute = if r >= 4 { U16 * 2.0 } else { TINY16 };
                    Bounded { value, error: 4.0 * U16 * value.abs() + absolute }
                })
                .collect();
            assert_within(what, y[2 * r * n..2 * (r + 1) * n].iter().map(|&h| half(h)), &want);
        }
    });
}
