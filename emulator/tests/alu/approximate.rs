//! Approximate instructions: near the function in f64 without jitter, within the ISA's bounds with it.

use crate::harness::{instruction, rows};
use crate::reference::{BF16, F16, F32, Float};
use cuda_emulator::numeric::Round;

/// An approximation: the opcode without modifiers, the function, and the largest error at an argument and exact value.
type Approximation = (&'static str, fn(f64) -> f64, fn(f64, f64) -> f64);

/// Two units in the last place of f32.
fn two_ulp(exact: f64) -> f64 {
    2.0 * 2f64.powi(exact.abs().log2().floor().max(-126.0) as i32 - 23)
}

fn circle(x: f64) -> f64 {
    if x.abs() <= std::f64::consts::TAU { 2f64.powf(-20.5) } else { 2f64.powf(-14.7) }
}

const SINGLE: [Approximation; 8] = [
    ("ex2.approx", f64::exp2, |_, y| two_ulp(y)),
    (
        "lg2.approx",
        f64::log2,
        |x, y| if x > 0.5 && x < 2.0 { 2f64.powi(-22) } else { y.abs() * 2f64.powi(-22) },
    ),
    ("sin.approx", f64::sin, |x, _| circle(x)),
    ("cos.approx", f64::cos, |x, _| circle(x)),
    ("rcp.approx", |x| 1.0 / x, |_, y| two_ulp(y) / 2.0),
    ("rsqrt.approx", |x| 1.0 / x.sqrt(), |_, y| y.abs() * 2f64.powf(-22.9)),
    ("sqrt.approx", f64::sqrt, |_, y| y.abs() * 2f64.powi(-23)),
    ("tanh.approx", f64::tanh, |_, y| y.abs() * 2f64.powi(-11)),
];

/// Normal positive arguments whose results are normal, too.
fn arguments() -> Vec<Vec<u64>> {
    (1..600).map(|i| vec![u64::from((i as f32 * 0.13 + 0.001).to_bits())]).collect()
}

#[test]
fn f32_functions_are_nearest_without_jitter_and_within_their_bounds_with_it() {
    for (opcode, function, bound) in SINGLE {
        let i = || instruction(&format!("{opcode}.f32"), "f32", &["f32"]);
        let exact = |r: &[u64]| function(F32.value(r[0]));
        let near: Vec<u64> = i().run(&arguments());
        for (r, &found) in arguments().iter().zip(&near) {
            let nearest = F32.bits(exact(r), Round::Rn);
            // The function in f64 is good to about an ulp of f64, which may round to the other neighbour.
            assert!(found.abs_diff(nearest) <= 1, "{opcode} {r:x?}: {found:x} for {nearest:x}");
        }
        let mut moved = 0;
        for (k, (r, found)) in arguments().iter().zip(i().jitter(7).run(&arguments())).enumerate() {
            let error = (F32.value(found) - exact(r)).abs();
            assert!(error <= bound(F32.value(r[0]), exact(r)), "{opcode} {r:x?}: off by {error:e}");
            moved += usize::from(found != near[k]);
        }
        assert!(moved > 100, "{opcode}: jitter moves {moved} of 599 results");
        assert_eq!(i().jitter(7).run(&arguments()), i().jitter(7).run(&arguments()), "{opcode}");
        assert_ne!(i().jitter(7).run(&arguments()), i().jitter(8).run(&arguments()), "{opcode}");
    }
}

#[test]
fn quotients_are_within_two_ulp() {
    let pairs: Vec<Vec<u64>> =
        (1..500).map(|i| [i as f32 * 1.7, 3.0 / i as f32].map(|x| u64::from(x.to_bits())).to_vec()).collect();
    for opcode in ["div.approx.f32", "div.full.f32", "div.approx.ftz.f32", "div.full.ftz.f32"] {
        let i = || instruction(opcode, "f32", &["f32", "f32"]);
        i().check(&pairs, |r| F32.apply("div", r, Round::Rn));
        for (r, found) in pairs.iter().zip(i().jitter(1).run(&pairs)) {
            let exact = F32.value(r[0]) / F32.value(r[1]);
            assert!((F32.value(found) - exact).abs() <= two_ulp(exact), "{opcode} {r:x?}");
        }
    }
    // Beyond 2^126 the reciprocal of `div.approx` is lost; `div.full` keeps it.
    let large = [vec![u64::from(2f32.powi(100).to_bits()), u64::from(2f32.powi(127).to_bits())]];
    assert_eq!(instruction("div.approx.f32", "f32", &["f32", "f32"]).run(&large), [0]);
    let quotient = u64::from(2f32.powi(-27).to_bits());
    assert_eq!(instruction("div.full.f32", "f32", &["f32", "f32"]).run(&large), [quotient]);
}

/// (opcode, argument, result) as the ISA tabulates them.
const TABLE: [(&str, u32, u32); 34] = [
    ("ex2.approx.f32", 0xff80_0000, 0),
    ("ex2.approx.f32", 0x8000_0000, 0x3f80_0000),
    ("ex2.approx.f32", 0x7f80_0000, 0x7f80_0000),
    ("ex2.approx.f32", 0xc315_0000, 0x0000_0001),
    ("ex2.approx.ftz.f32", 0xc315_0000, 0),
    ("lg2.approx.f32", 0, 0xff80_0000),
    ("lg2.approx.f32", 0x8000_0000, 0xff80_0000),
    ("lg2.approx.f32", 0xbf80_0000, 0x7fff_ffff),
    ("lg2.approx.ftz.f32", 0x0000_0001, 0xff80_0000),
    ("lg2.approx.f32", 0x0000_0001, 0xc315_0000),
    ("sin.approx.f32", 0x8000_0000, 0x8000_0000),
    ("sin.approx.f32", 0x7f80_0000, 0x7fff_ffff),
    ("sin.approx.ftz.f32", 0x8000_0001, 0x8000_0000),
    ("cos.approx.f32", 0x8000_0000, 0x3f80_0000),
    ("cos.approx.ftz.f32", 0x0000_0001, 0x3f80_0000),
    ("rcp.approx.f32", 0x8000_0000, 0xff80_0000),
    ("rcp.approx.f32", 0xff80_0000, 0x8000_0000),
    ("rcp.approx.ftz.f32", 0x0000_0001, 0x7f80_0000),
    ("rcp.approx.f32", 0x7e80_0001, 0x007f_ffff),
    ("rcp.approx.ftz.f32", 0x7f00_0001, 0),
    ("rsqrt.approx.f32", 0x8000_0000, 0xff80_0000),
    ("rsqrt.approx.f32", 0x7f80_0000, 0),
    ("rsqrt.approx.f32", 0xbf80_0000, 0x7fff_ffff),
    ("rsqrt.approx.ftz.f32", 0x0000_0001, 0x7f80_0000),
    ("sqrt.approx.f32", 0x8000_0000, 0x8000_0000),
    ("sqrt.approx.f32", 0xbf80_0000, 0x7fff_ffff),
    ("sqrt.approx.ftz.f32", 0x8000_0001, 0x8000_0000),
    ("tanh.approx.f32", 0x7f80_0000, 0x3f80_0000),
    ("tanh.approx.f32", 0xff80_0000, 0xbf80_0000),
    ("tanh.approx.f32", 0x8000_0000, 0x8000_0000),
    ("tanh.approx.f32", 0x0000_0001, 0x0000_0001),
    ("tanh.approx.f32", 0x7fc0_0000, 0x7fff_ffff),
    ("ex2.approx.f32", 0x7fc0_0000, 0x7fff_ffff),
    ("rcp.approx.f32", 0xffc0_0000, 0x7fff_ffff),
];

#[test]
fn tabulated_arguments_give_what_the_isa_says_with_and_without_jitter() {
    for (opcode, argument, result) in TABLE {
        let small = |bits: u32| bits & 0x7f80_0000 == 0 && bits & 0x7fff_ffff != 0;
        let subnormal = small(argument) || small(result);
        for seed in [None, Some(3)] {
            // The ISA tabulates no results for subnormal numbers where they are not flushed.
            if seed.is_some() && subnormal && !opcode.contains("ftz") {
                continue;
            }
            let i = instruction(opcode, "f32", &["f32"]);
            let i = if let Some(seed) = seed { i.jitter(seed) } else { i };
            let found = i.run(&[vec![argument.into()]]);
            assert_eq!(found, [u64::from(result)], "{opcode} {argument:x} {seed:?}");
        }
    }
}

#[test]
fn functions_of_halves() {
    type Form = (&'static str, &'static str, Float, fn(f64) -> f64, f64);
    let forms: [Form; 4] = [
        ("ex2.approx", "f16", F16, f64::exp2, 2f64.powf(-9.9)),
        ("ex2.approx.ftz", "bf16", BF16, f64::exp2, 2f64.powi(-7)),
        ("tanh.approx", "f16", F16, f64::tanh, 2f64.powf(-10.987)),
        ("tanh.approx", "bf16", BF16, f64::tanh, 2f64.powi(-8)),
    ];
    for (opcode, ty, f, function, bound) in forms {
        let scalar: Vec<Vec<u64>> =
            (0..200).map(|i| vec![f.bits(f64::from(i) * 0.031 - 3.0, Round::Rn)]).collect();
        let pairs = crate::reference::paired(&scalar);
        let packed = if ty == "f16" { "f16x2" } else { "bf16x2" };
        for seed in [None, Some(11)] {
            let jittered =
                |i: crate::harness::Instruction| if let Some(seed) = seed { i.jitter(seed) } else { i };
            let one = jittered(instruction(&format!("{opcode}.{ty}"), ty, &[ty])).run(&scalar);
            for (r, &found) in scalar.iter().zip(&one) {
                let exact = function(f.value(r[0]));
                let error = (f.value(found) - exact).abs();
                assert!(
                    error <= bound * if opcode == "tanh.approx" { 1.0 } else { exact },
                    "{opcode}.{ty} {r:x?}"
                );
            }
            let two = jittered(instruction(&format!("{opcode}.{packed}"), packed, &[packed])).run(&pairs);
            for (i, found) in two.iter().enumerate() {
                assert_eq!(*found, one[i] | one[scalar.len() - 1 - i] << 16, "{opcode}.{packed}");
            }
        }
    }
    for (opcode, ty, target) in [
        ("ex2.approx.f16", "f16", 75),
        ("tanh.approx.f16x2", "f16x2", 75),
        ("tanh.approx.bf16", "bf16", 90),
        ("ex2.approx.ftz.bf16x2", "bf16x2", 90),
    ] {
        let message = instruction(opcode, ty, &[ty]).target(target - 1).refusal();
        assert!(message.contains(&format!("needs .target sm_{target}")), "{message}");
    }
}

#[test]
fn gross_f64_reciprocals_have_20_bits_and_a_zero_lower_half() {
    let arguments: Vec<Vec<u64>> = (1..100).map(|i| vec![(f64::from(i) * 0.37).to_bits()]).collect();
    for (opcode, function) in [
        ("rcp.approx.ftz.f64", (|x| 1.0 / x) as fn(f64) -> f64),
        ("rsqrt.approx.ftz.f64", |x| 1.0 / x.sqrt()),
    ] {
        for (r, found) in arguments.iter().zip(instruction(opcode, "f64", &["f64"]).run(&arguments)) {
            let exact = function(f64::from_bits(r[0]));
            assert_eq!(found as u32, 0, "{opcode}");
            assert!((f64::from_bits(found) / exact - 1.0).abs() < 2f64.powi(-19), "{opcode} {r:x?}");
        }
    }
    let found =
        instruction("rsqrt.approx.f64", "f64", &["f64"]).run(&rows(&[&[4.0f64.to_bits(), 0, 1 << 63]], 0));
    assert_eq!(found, [0.5f64.to_bits(), f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits()]);
}
