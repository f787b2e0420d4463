//! The approximate instructions, within the errors that the PTX ISA gives for them.

use crate::{
    harness::{ALL, args, on, over},
    numbers::{Bounded, Random, TINY16, assert_within, half},
};

type Approximation = (&'static str, fn(f64) -> f64, fn(f64) -> f64);

/// Name, function, and the largest error as a function of the exact result: from the PTX ISA's descriptions of each.
const INSTRUCTIONS: [Approximation; 9] = [
    ("rcp", |x| 1.0 / x.abs(), |y| 2f64.powi(-23) * y),
    ("rsqrt", |x| 1.0 / x.abs().sqrt(), |y| 2f64.powf(-22.9) * y),
    ("sqrt", |x| x.abs().sqrt(), |y| 2f64.powi(-23) * y),
    ("lg2", |x| x.abs().log2(), |y| 2f64.powi(-22) * y.abs() + 2f64.powi(-22)),
    ("ex2", f64::exp2, |y| 2f64.powf(-22.5) * y),
    ("sin", f64::sin, |_| 2f64.powf(-20.5)),
    ("cos", f64::cos, |_| 2f64.powf(-20.5)),
    ("tanh", f64::tanh, |y| 2f64.powi(-11) * y.abs()),
    // Two units in the last place of fp32, of which one is at most 2^-23 of the value.
    ("div", |x| x / 3.0, |y| 2f64.powi(-22) * y.abs()),
];

#[test]
fn approximate_instructions_are_within_their_errors() {
    on(&ALL, "zoo_approx", |gpu| {
        let n = 400;
        let mut random = Random(1);
        let x: Vec<f32> = (0..n).map(|i| random.signed() * if i % 2 == 0 { 3.1 } else { 1e-3 }).collect();
        let (dx, y) = (gpu.upload(&x), gpu.output::<f32>(9 * n));
        gpu.launch("approximations_f32", over(n, 128), args![y, dx, n as u32]);
        let y = gpu.read(y);
        for (r, (name, f, error)) in INSTRUCTIONS.into_iter().enumerate() {
            let want: Vec<Bounded> = x
                .iter()
                .map(|&x| {
                    let value = f(f64::from(x));
                    Bounded { value, error: error(value) }
                })
                .collect();
            assert_within(name, y[r * n..(r + 1) * n].iter().map(|&y| f64::from(y)), &want);
        }
    });
}

#[test]
fn approximate_instructions_of_halves_are_within_their_errors() {
    on(&ALL, "zoo_approx", |gpu| {
        let n = 200;
        let x = Random(2).halves(2 * n, 6.0);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u16>(8 * n));
        gpu.launch("approximations_f16", over(n, 64), args![y, dx, n as u32]);
        let y = gpu.read(y);
        let row = |r: usize| &y[2 * r * n..2 * (r + 1) * n];
        let ex2 = |x: &u16| {
            let value = half(*x).exp2();
            Bounded { value, error: 2f64.powf(-9.9) * value + TINY16 }
        };
        let tanh = |x: &u16| Bounded { value: half(*x).tanh(), error: 2f64.powf(-10.987) };
        let (want_ex2, want_tanh): (Vec<Bounded>, Vec<Bounded>) =
            (x.iter().map(ex2).collect(), x.iter().map(tanh).collect());
        assert_within("ex2.f16x2", row(0).iter().map(|&h| half(h)), &want_ex2);
        assert_within("tanh.f16x2", row(1).iter().map(|&h| half(h)), &want_tanh);
        for (r, single, pair) in [(2, row(2), row(0)), (3, row(3), row(1))] {
            let want: Vec<u16> =
                pair.iter().enumerate().map(|(i, &h)| if i % 2 == 0 { h } else { 0 }).collect();
            assert_eq!(single, want, "row {r}: one half has the bits that the pair gives it");
        }
    });
}
