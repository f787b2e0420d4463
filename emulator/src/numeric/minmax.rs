//! `min` and `max` of floats: -0 is less than +0; of a number and NaN the number, of two NaN the canonical NaN.
//!
//! The modifiers `.NaN` and `.xorsign.abs` are [`Mode`]; `.ftz` composes as everywhere. Tests: `tests/numeric_select.rs`.

use super::{double, single};

/// The modifiers of `min` and `max` that change more than operands and result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// `.NaN`: a NaN among the inputs gives the canonical NaN.
    pub nan: bool,
    /// `.xorsign.abs`: magnitudes are compared; a number gets the exclusive or of the inputs' sign bits.
    pub xorsign_abs: bool,
}

macro_rules! float_min_max {
    ($float:ident, $canonical:path, $min:ident, $max:ident) => {
        /// The lesser; two zeros of different sign give -0.
        #[inline(always)]
        pub fn $min(a: $float, b: $float) -> $float {
            let zeros = $float::from_bits(a.to_bits() | b.to_bits());
            let numbers = if a == b {
                zeros
            } else if a < b {
                a
            } else {
                b
            };
            $canonical(if a.is_nan() {
                b
            } else if b.is_nan() {
                a
            } else {
                numbers
            })
        }

        /// The greater; two zeros of different sign give +0.
        #[inline(always)]
        pub fn $max(a: $float, b: $float) -> $float {
            let zeros = $float::from_bits(a.to_bits() & b.to_bits());
            let numbers = if a == b {
                zeros
            } else if a > b {
                a
            } else {
                b
            };
            $canonical(if a.is_nan() {
                b
            } else if b.is_nan() {
                a
            } else {
                numbers
            })
        }
    };
}

float_min_max!(f32, single::canonical, min32, max32);
float_min_max!(f64, double::canonical, min64, max64);

/// `.NaN`: `chosen`, the result without the modifier, unless `a` or `b` is NaN.
#[inline(always)]
fn propagate32(a: f32, b: f32, chosen: f32) -> f32 {
    if a.is_nan() | b.is_nan() { f32::from_bits(single::NAN) } else { chosen }
}

/// `min.f32` with modifiers.
#[inline(always)]
pub fn min32_mode(a: f32, b: f32, mode: Mode) -> f32 {
    with_mode32(a, b, mode, min32)
}

/// `max.f32` with modifiers.
#[inline(always)]
pub fn max32_mode(a: f32, b: f32, mode: Mode) -> f32 {
    with_mode32(a, b, mode, max32)
}

#[inline(always)]
fn with_mode32(a: f32, b: f32, mode: Mode, choose: impl Fn(f32, f32) -> f32) -> f32 {
    let (x, y) = if mode.xorsign_abs { (a.abs(), b.abs()) } else { (a, b) };
    let chosen = choose(x, y);
    let chosen = if mode.nan { propagate32(x, y, chosen) } else { chosen };
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    if mode.xorsign_abs && !chosen.is_nan() { f32::from_bits(chosen.to_bits() | sign) } else { chosen }
}

/// `min.f32` of three inputs; `abs` takes their magnitudes first (`.abs`).
#[inline(always)]
pub fn min32_of3(a: f32, b: f32, c: f32, nan: bool, abs: bool) -> f32 {
    of3(a, b, c, nan, abs, min32)
}

/// `max.f32` of three inputs; `abs` takes their magnitudes first (`.abs`).
#[inline(always)]
pub fn max32_of3(a: f32, b: f32, c: f32, nan: bool, abs: bool) -> f32 {
    of3(a, b, c, nan, abs, max32)
}

#[inline(always)]
fn of3(a: f32, b: f32, c: f32, nan: bool, abs: bool, choose: impl Fn(f32, f32) -> f32) -> f32 {
    let [a, b, c] = if abs { [a.abs(), b.abs(), c.abs()] } else { [a, b, c] };
    let chosen = choose(choose(a, b), c);
    if nan { propagate32(a, b, propagate32(b, c, chosen)) } else { chosen }
}

/// Bits whose order as unsigned integers is that of the numbers, -0 before +0.
#[inline(always)]
fn ordered16(x: u16) -> u16 {
    if x & 0x8000 != 0 { !x } else { x | 0x8000 }
}

/// `min` of two `.f16` (`INF` is [`half::INF`](super::half::INF)) or `.bf16` ([`bf16::INF`](super::bf16::INF)), as bits.
#[inline(always)]
pub fn min16<const INF: u16>(a: u16, b: u16, mode: Mode) -> u16 {
    choose16::<INF>(a, b, mode, |a, b| ordered16(a) <= ordered16(b))
}

/// `max` of two `.f16` (`INF` is [`half::INF`](super::half::INF)) or `.bf16` ([`bf16::INF`](super::bf16::INF)), as bits.
#[inline(always)]
pub fn max16<const INF: u16>(a: u16, b: u16, mode: Mode) -> u16 {
    choose16::<INF>(a, b, mode, |a, b| ordered16(a) >= ordered16(b))
}

#[inline(always)]
fn choose16<const INF: u16>(a: u16, b: u16, mode: Mode, first: impl Fn(u16, u16) -> bool) -> u16 {
    let sign = if mode.xorsign_abs { (a ^ b) & 0x8000 } else { 0 };
    let (a, b) = if mode.xorsign_abs { (a & 0x7fff, b & 0x7fff) } else { (a, b) };
    let (a_nan, b_nan) = (a & 0x7fff > INF, b & 0x7fff > INF);
    let numbers = if first(a, b) { a } else { b };
    let chosen = if a_nan {
        b
    } else if b_nan {
        a
    } else {
        numbers
    };
    let none = if mode.nan { a_nan | b_nan } else { a_nan & b_nan };
    if none { 0x7fff } else { chosen | sign }
}
