//! `.f32` and `.f64` arithmetic in all rounding modes against exact arithmetic.

mod exact;

use cuda_emulator::numeric::{Round, double, single, soft};
use exact::{EDGES32, EDGES64, Exact, Inputs, ROUNDS};

/// `exact` rounded to f32, as bits.
fn to32(exact: &Exact, round: Round) -> u32 {
    exact.round(32, 23, 127, round) as u32
}

/// `exact` rounded to f64, as bits.
fn to64(exact: &Exact, round: Round) -> u64 {
    exact.round(64, 52, 1023, round)
}

fn finite32(values: &[f32]) -> bool {
    values.iter().all(|x| x.is_finite())
}

fn finite64(values: &[f64]) -> bool {
    values.iter().all(|x| x.is_finite())
}

/// The host's result where no rounding happens, its NaN made canonical.
fn special32(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
}

fn special64(x: f64) -> u64 {
    if x.is_nan() { 0xfff8_0000_0000_0000 } else { x.to_bits() }
}

fn check32(a: f32, b: f32, c: f32) {
    let [x, y, z] = [a, b, c].map(|v| if v.is_finite() { Exact::of(f64::from(v)) } else { Exact::of(0.0) });
    for round in ROUNDS {
        let two = finite32(&[a, b]);
        let sum = if two { to32(&x.plus(&y, round), round) } else { special32(a + b) };
        assert_eq!(single::add(a, b, round).to_bits(), sum, "{a:e} + {b:e} {round:?}");
        let minus = Exact::of(if b.is_finite() { -f64::from(b) } else { 0.0 });
        let difference = if two { to32(&x.plus(&minus, round), round) } else { special32(a - b) };
        assert_eq!(single::sub(a, b, round).to_bits(), difference, "{a:e} - {b:e} {round:?}");
        let product = if two { to32(&x.times(&y), round) } else { special32(a * b) };
        assert_eq!(single::mul(a, b, round).to_bits(), product, "{a:e} * {b:e} {round:?}");
        let fused = if finite32(&[a, b, c]) {
            to32(&x.times(&y).plus(&z, round), round)
        } else {
            special32(a.mul_add(b, c))
        };
        assert_eq!(single::fma(a, b, c, round).to_bits(), fused, "{a:e} * {b:e} + {c:e} {round:?}");
        let exact_quotient = two && a != 0.0 && b != 0.0;
        let quotient = if exact_quotient { to32(&x.over(&y), round) } else { special32(a / b) };
        assert_eq!(single::div(a, b, round).to_bits(), quotient, "{a:e} / {b:e} {round:?}");
        assert_eq!(single::rcp(b, round).to_bits(), single::div(1.0, b, round).to_bits());
        let exact_root = a.is_finite() && a > 0.0;
        let root = if exact_root { to32(&x.normalised().root(), round) } else { special32(a.sqrt()) };
        assert_eq!(single::sqrt(a, round).to_bits(), root, "sqrt {a:e} {round:?}");
    }
}

fn check64(a: f64, b: f64, c: f64) {
    let [x, y, z] = [a, b, c].map(|v| Exact::of(if v.is_finite() { v } else { 0.0 }));
    for round in ROUNDS {
        let two = finite64(&[a, b]);
        let sum = if two { to64(&x.plus(&y, round), round) } else { special64(a + b) };
        assert_eq!(double::add(a, b, round).to_bits(), sum, "{a:e} + {b:e} {round:?}");
        let minus = Exact::of(if b.is_finite() { -b } else { 0.0 });
        let difference = if two { to64(&x.plus(&minus, round), round) } else { special64(a - b) };
        assert_eq!(double::sub(a, b, round).to_bits(), difference, "{a:e} - {b:e} {round:?}");
        let product = if two { to64(&x.times(&y), round) } else { special64(a * b) };
        assert_eq!(double::mul(a, b, round).to_bits(), product, "{a:e} * {b:e} {round:?}");
        let fused = if finite64(&[a, b, c]) {
            to64(&x.times(&y).plus(&z, round), round)
        } else {
            special64(a.mul_add(b, c))
        };
        assert_eq!(double::fma(a, b, c, round).to_bits(), fused, "{a:e} * {b:e} + {c:e} {round:?}");
        let exact_quotient = two && a != 0.0 && b != 0.0;
        let quotient = if exact_quotient { to64(&x.over(&y), round) } else { special64(a / b) };
        assert_eq!(double::div(a, b, round).to_bits(), quotient, "{a:e} / {b:e} {round:?}");
        assert_eq!(double::rcp(b, round).to_bits(), double::div(1.0, b, round).to_bits());
        let exact_root = a.is_finite() && a > 0.0;
        let root = if exact_root { to64(&x.normalised().root(), round) } else { special64(a.sqrt()) };
        assert_eq!(double::sqrt(a, round).to_bits(), root, "sqrt {a:e} {round:?}");
    }
}

/// Addends near `-(a * b)`: cancellation of all but a few bits.
fn cancelling(product: f64, inputs: &mut Inputs) -> f64 {
    f64::from_bits((-product).to_bits().wrapping_add(inputs.below(5)).wrapping_sub(2))
}

#[test]
fn f32_edges_round_as_exact_arithmetic_does() {
    let signed: Vec<f32> =
        EDGES32.iter().flat_map(|&e| [f32::from_bits(e), f32::from_bits(e | 0x8000_0000)]).collect();
    for (i, &a) in signed.iter().enumerate() {
        for (j, &b) in signed.iter().enumerate() {
            check32(a, b, signed[(i * 7 + j * 13) % signed.len()]);
        }
    }
}

#[test]
fn f32_random_inputs_round_as_exact_arithmetic_does() {
    let mut inputs = Inputs(1);
    for _ in 0..20_000 {
        let (a, b) = (inputs.f32(), inputs.f32());
        let c = match inputs.below(2) {
            0 => inputs.f32(),
            _ => cancelling(f64::from(a * b), &mut inputs) as f32,
        };
        check32(a, b, c);
    }
}

#[test]
fn f64_edges_round_as_exact_arithmetic_does() {
    let signed: Vec<f64> =
        EDGES64.iter().flat_map(|&e| [f64::from_bits(e), f64::from_bits(e | 1 << 63)]).collect();
    for (i, &a) in signed.iter().enumerate() {
        for (j, &b) in signed.iter().enumerate() {
            check64(a, b, signed[(i * 7 + j * 13) % signed.len()]);
        }
    }
}

#[test]
fn f64_random_inputs_round_as_exact_arithmetic_does() {
    let mut inputs = Inputs(2);
    for _ in 0..20_000 {
        let (a, b) = (inputs.f64(), inputs.f64());
        let c = match inputs.below(2) {
            0 => inputs.f64(),
            _ => cancelling(a * b, &mut inputs),
        };
        check64(a, b, c);
    }
}

#[test]
fn narrowing_f64_rounds_as_exact_arithmetic_does() {
    let mut inputs = Inputs(3);
    for _ in 0..50_000 {
        let wide = f64::from(inputs.f32());
        // Around values of f32, halfway between them, and anything.
        let x = match inputs.below(3) {
            0 => f64::from_bits(wide.to_bits().wrapping_add(inputs.below(3)).wrapping_sub(1)),
            1 => f64::from_bits((wide.to_bits() ^ 1 << 28).wrapping_add(inputs.below(3)).wrapping_sub(1)),
            _ => inputs.f64(),
        };
        for round in ROUNDS {
            let expected = if x.is_finite() { to32(&Exact::of(x), round) } else { special32(x as f32) };
            assert_eq!(single::narrow(x, round).to_bits(), expected, "{x:e} {round:?}");
        }
    }
}

#[test]
fn soft_encoding_rounds_values_of_any_size() {
    let mut inputs = Inputs(4);
    for _ in 0..50_000 {
        let sig = (u128::from(inputs.bits()) << 64 | u128::from(inputs.bits())) >> inputs.below(128);
        let (neg, exp) = (inputs.below(2) == 1, inputs.below(2400) as i32 - 1300);
        for (format, near) in [(soft::F16, 60), (soft::BF16, 300), (soft::F32, 300), (soft::F64, 2400)] {
            let exp = exp % near - sig.checked_ilog2().unwrap_or(0) as i32;
            let expected =
                Exact::new(neg, sig, exp).round(format.width, format.fraction as i32, format.bias, Round::Rn);
            assert_eq!(format.encode(soft::Finite { neg, exp, sig }, Round::Rn), expected, "{sig:x} {exp}");
        }
    }
}

#[test]
fn flushing_keeps_the_sign_and_all_but_subnormal_numbers() {
    for (x, flushed) in [
        (0x0000_0001, 0),
        (0x807f_ffff, 0x8000_0000),
        (0x0080_0000, 0x0080_0000),
        (0x8000_0000, 0x8000_0000),
        (0xff80_0000, 0xff80_0000),
        (0x3f80_0001, 0x3f80_0001),
    ] {
        assert_eq!(single::ftz(f32::from_bits(x)).to_bits(), flushed, "{x:#x}");
    }
    assert!(single::ftz(f32::NAN).is_nan());
}

#[test]
fn saturation_gives_plus_zero_for_nan_and_minus_zero() {
    let cases =
        [(f32::NAN, 0.0), (-f32::NAN, 0.0), (-0.0, 0.0), (-3.0, 0.0), (0.25, 0.25), (1.0, 1.0), (7.0, 1.0)];
    for (x, expected) in
        cases.into_iter().chain([(f32::INFINITY, 1.0), (f32::NEG_INFINITY, 0.0), (1e-40, 1e-40)])
    {
        assert_eq!(single::sat(x).to_bits(), f32::to_bits(expected), "{x}");
        let wide = f64::from(x);
        assert_eq!(double::sat(wide).to_bits(), f64::from(expected).to_bits(), "{wide}");
    }
}

#[test]
fn abs_and_neg_change_the_sign_of_numbers_and_pass_nan_as_documented() {
    let mut inputs = Inputs(17);
    for _ in 0..10_000 {
        let (narrow, wide) = (inputs.f32(), inputs.f64());
        let (bits, sign) = (narrow.to_bits(), 0x8000_0000);
        let nan = bits & !sign > 0x7f80_0000;
        assert_eq!(single::abs(narrow).to_bits(), if nan { 0x7fff_ffff } else { bits & !sign }, "{bits:#x}");
        assert_eq!(single::neg(narrow).to_bits(), if nan { 0x7fff_ffff } else { bits ^ sign }, "{bits:#x}");
        let (bits, sign) = (wide.to_bits(), 1 << 63);
        let nan = bits & !sign > 0x7ff0_0000_0000_0000;
        assert_eq!(double::abs(wide).to_bits(), if nan { bits } else { bits & !sign }, "{bits:#x}");
        assert_eq!(double::neg(wide).to_bits(), if nan { bits } else { bits ^ sign }, "{bits:#x}");
    }
}
