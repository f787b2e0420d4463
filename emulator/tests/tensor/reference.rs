//! What products of matrices give, computed element by element with exact numbers.

use crate::exact::{Exact, Inputs};
use crate::tables::{Matrix, bits};
use cuda_emulator::numeric::Round;
use cuda_emulator::tensor::{Accumulator, Element};

/// (fraction bits, exponent bits) of a float format.
fn format(element: Element) -> (u32, u32) {
    match element {
        Element::F16 => (10, 5),
        Element::Bf16 => (7, 8),
        Element::Tf32 => (10, 8),
        Element::E4m3 => (3, 4),
        Element::E5m2 => (2, 5),
        other => panic!("{other:?} is no float"),
    }
}

/// The value of raw bits; tf32 ignores its lowest 13.
pub fn value(element: Element, raw: u32) -> f64 {
    let (fraction, exponent) = format(element);
    let raw = if element == Element::Tf32 { raw >> 13 } else { raw };
    float(raw, fraction, exponent, element != Element::E4m3)
}

pub fn sum_value(sum: Accumulator, raw: u32) -> f64 {
    match sum {
        Accumulator::F16 => float(raw, 10, 5, true),
        Accumulator::F32 => f64::from(f32::from_bits(raw)),
        Accumulator::S32 => panic!("an integer"),
    }
}

/// By the definition of the formats. Without infinities, only the largest magnitude is NaN.
fn float(raw: u32, fraction: u32, exponent: u32, infinities: bool) -> f64 {
    let sign = if raw >> (fraction + exponent) & 1 == 1 { -1.0 } else { 1.0 };
    let (e, m) = (raw >> fraction & ((1 << exponent) - 1), raw & ((1 << fraction) - 1));
    let bias = (1 << (exponent - 1)) - 1;
    let last = e == (1 << exponent) - 1;
    if infinities && last {
        return if m == 0 { sign * f64::INFINITY } else { f64::NAN };
    }
    if last && m == (1 << fraction) - 1 {
        return f64::NAN;
    }
    let significand = f64::from(m) + if e == 0 { 0.0 } else { f64::from(1 << fraction) };
    sign * significand * 2f64.powi(e.max(1) as i32 - bias - fraction as i32)
}

pub fn signed(element: Element, raw: u32) -> i64 {
    match element {
        Element::S8 => i64::from(raw as u8 as i8),
        Element::S4 if raw >= 8 => i64::from(raw) - 16,
        _ => i64::from(raw),
    }
}

/// The bits of `c + a . b`: the exact sum rounded once.
pub fn dot(a: &[f64], b: &[f64], c: f64, sum: Accumulator) -> u32 {
    let ieee = a.iter().zip(b).map(|(a, b)| a * b).fold(c, |sum, x| sum + x);
    let half = sum == Accumulator::F16;
    if ieee.is_nan() {
        return if half { 0x7fff } else { 0x7fff_ffff };
    }
    if ieee.is_infinite() {
        return if half { if ieee > 0.0 { 0x7c00 } else { 0xfc00 } } else { (ieee as f32).to_bits() };
    }
    let products = a.iter().zip(b).map(|(&a, &b)| Exact::of(a).times(&Exact::of(b)));
    let total = products.fold(Exact::of(c), |sum, x| sum.plus(&x, Round::Rn));
    let (width, fraction, bias) = if half { (16, 10, 15) } else { (32, 23, 127) };
    total.round(width, fraction, bias, Round::Rn) as u32
}

/// The kinds of matrices that tests multiply.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Exponents near each other, as weights and activations have them.
    Plain,
    /// Any finite numbers.
    Finite,
    /// Any bits at all, with many infinities, NaN, zeros and subnormal numbers.
    Special,
    /// Nothing but zeros and subnormal numbers.
    Tiny,
    /// Products near the smallest subnormal f32, in formats that reach it.
    Faint,
}

pub const KINDS: [Kind; 4] = [Kind::Plain, Kind::Finite, Kind::Special, Kind::Tiny];

/// A matrix of raw elements.
pub fn matrix(
    inputs: &mut Inputs,
    rows: usize,
    columns: usize,
    mut element: impl FnMut(&mut Inputs) -> u32,
) -> Matrix {
    (0..rows).map(|_| (0..columns).map(|_| element(inputs)).collect()).collect()
}

pub fn element(inputs: &mut Inputs, element: Element, kind: Kind) -> u32 {
    if element.is_integer() {
        return inputs.bits() as u32 & ((1 << bits(element)) - 1);
    }
    let (fraction, exponent) = format(element);
    let raw = float_bits(inputs, fraction, exponent, kind, element != Element::E4m3);
    // What stands in the low bits of a tf32 must not matter.
    if element == Element::Tf32 { raw << 13 | inputs.bits() as u32 & 0x1fff } else { raw }
}

pub fn sum_element(inputs: &mut Inputs, sum: Accumulator, kind: Kind) -> u32 {
    match sum {
        Accumulator::F16 => float_bits(inputs, 10, 5, kind, true),
        Accumulator::F32 => float_bits(inputs, 23, 8, kind, true),
        Accumulator::S32 => match inputs.below(3) {
            0 => (inputs.bits() as u32 & 0xffff).wrapping_sub(0x8000),
            1 => 0x7fff_ffff - (inputs.bits() as u32 & 0x3fff),
            _ => 0x8000_0000 + (inputs.bits() as u32 & 0x3fff),
        },
    }
}

fn float_bits(inputs: &mut Inputs, fraction: u32, exponent: u32, kind: Kind, infinities: bool) -> u32 {
    let any = inputs.bits() as u32;
    let (sign, m) = ((any & 1) << (fraction + exponent), any >> 1 & ((1 << fraction) - 1));
    let last = (1 << exponent) - 1;
    let bias = last / 2;
    let e = match kind {
        Kind::Plain => bias - 2 + inputs.below(4) as u32,
        Kind::Finite => inputs.below(u64::from(last)) as u32,
        Kind::Special => match inputs.below(24) {
            0 => return sign | last << fraction | if infinities { 0 } else { m },
            1 if inputs.below(8) == 0 => return sign | last << fraction | m,
            2..10 => return sign,
            10..14 => 0,
            _ => inputs.below(u64::from(last)) as u32,
        },
        Kind::Tiny if inputs.below(2) == 0 => return sign,
        Kind::Tiny => 0,
        Kind::Faint => (bias.max(80) - 79 + inputs.below(5) as u32).min(last - 1),
    };
    sign | e << fraction | m
}
