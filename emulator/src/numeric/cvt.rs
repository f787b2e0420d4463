//! `cvt` between integers and floats, and to integral values within one format.
//!
//! Where the rest of `cvt` is: `f64` to `f32` in [`single::narrow`], to and from 16-bit floats in
//! [`half`] and [`bf16`] (any narrower float is exact in f64, so `from_f64` serves all pairs),
//! [`tf32`](super::tf32), [`fp8`](super::fp8). `.sat` on a float result, `.relu` and `.satfinite` are functions of these
//! modules on that result; `.ftz` applies to f32 operands and results alone. Integers change width by Rust's `as`, with
//! `.sat` by [`Int::saturate`]. Tests: `tests/numeric_cvt.rs`.

use super::soft::{BF16, F16, F32, F64, Finite, Format};
use super::{IntRound, Round, bf16, double, half, single};

/// An integer type of `cvt`.
pub trait Int: Copy {
    /// What NaN of `.f64`, or of any float in a 64-bit destination, becomes: the topmost bit alone.
    const TOP_BIT: Self;
    /// Bits of the type.
    const BITS: u32;
    /// `x`, which is integral, clamped to the type's range; NaN gives 0.
    fn clamp_f32(x: f32) -> Self;
    /// `x`, which is integral, clamped to the type's range; NaN gives 0.
    fn clamp_f64(x: f64) -> Self;
    /// `.sat` from another integer type: clamped to this one's range.
    fn saturate(x: i128) -> Self;
    /// The value.
    fn widen(self) -> i128;
    /// The nearest `.f32`, ties to even.
    fn nearest_f32(self) -> f32;
    /// The nearest `.f64`, ties to even.
    fn nearest_f64(self) -> f64;
}

macro_rules! ints {
    ($($int:ident)*) => {$(
        impl Int for $int {
            const TOP_BIT: Self = 1 << ($int::BITS - 1);
            const BITS: u32 = $int::BITS;

            #[inline(always)]
            fn clamp_f32(x: f32) -> Self {
                if $int::BITS == 64 {
                    return x as $int;
                }
                // What `as` does, in operations that vectorise: the sum with 1.5 * 2^52 has the integer in its low bits.
                let x = if x.is_nan() { 0.0 } else { f64::from(x).clamp($int::MIN as f64, $int::MAX as f64) };
                (x + 6_755_399_441_055_744.0).to_bits() as $int
            }

            #[inline(always)]
            fn clamp_f64(x: f64) -> Self {
                x as $int
            }

            #[inline(always)]
            fn saturate(x: i128) -> Self {
                x.clamp(i128::from($int::MIN), i128::from($int::MAX)) as $int
            }

            #[inline(always)]
            fn widen(self) -> i128 {
                i128::from(self)
            }

            #[inline(always)]
            fn nearest_f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn nearest_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

ints!(u8 u16 u32 u64 i8 i16 i32 i64);

/// `cvt.rni`, `.rzi`, `.rmi`, `.rpi` from `.f32`, and from `.f16` and `.bf16` by their values in f32. Clamps to the type's
/// range; NaN gives 0, in 64-bit types the topmost bit.
#[inline(always)]
pub fn f32_to_int<I: Int>(x: f32, round: IntRound) -> I {
    if I::BITS == 64 && x.is_nan() {
        return I::TOP_BIT;
    }
    I::clamp_f32(integral32(x, round))
}

/// `cvt.rni`, `.rzi`, `.rmi`, `.rpi` from `.f64`. Clamps to the type's range; NaN gives the topmost bit.
#[inline(always)]
pub fn f64_to_int<I: Int>(x: f64, round: IntRound) -> I {
    if x.is_nan() { I::TOP_BIT } else { I::clamp_f64(integral64(x, round)) }
}

#[inline(always)]
fn integral32(x: f32, round: IntRound) -> f32 {
    match round {
        IntRound::Rni => x.round_ties_even(),
        IntRound::Rzi => x.trunc(),
        IntRound::Rmi => x.floor(),
        IntRound::Rpi => x.ceil(),
    }
}

#[inline(always)]
fn integral64(x: f64, round: IntRound) -> f64 {
    match round {
        IntRound::Rni => x.round_ties_even(),
        IntRound::Rzi => x.trunc(),
        IntRound::Rmi => x.floor(),
        IntRound::Rpi => x.ceil(),
    }
}

/// `cvt.rni.f32.f32` and its kin: an integral value of the same sign, zeros included.
#[inline(always)]
pub fn round_f32(x: f32, round: IntRound) -> f32 {
    single::canonical(integral32(x, round))
}

/// `cvt.rni.f64.f64` and its kin.
#[inline(always)]
pub fn round_f64(x: f64, round: IntRound) -> f64 {
    double::canonical(integral64(x, round))
}

/// `cvt.rni.f16.f16` and its kin.
#[inline(always)]
pub fn round_f16(x: u16, round: IntRound) -> u16 {
    half::from_f32(integral32(half::to_f32(x), round))
}

/// `cvt.rni.bf16.bf16` and its kin.
#[inline(always)]
pub fn round_bf16(x: u16, round: IntRound) -> u16 {
    bf16::from_f32(integral32(bf16::to_f32(x), round))
}

/// `cvt.f64.f32`: exact; NaN becomes the canonical f64 NaN.
#[inline(always)]
pub fn f32_to_f64(x: f32) -> f64 {
    double::canonical(f64::from(x))
}

/// `cvt.rn.f32` and the other modes from any integer type.
#[inline(always)]
pub fn int_to_f32<I: Int>(x: I, round: Round) -> f32 {
    match round {
        Round::Rn => x.nearest_f32(),
        // 32 bits are exact in f64.
        _ if I::BITS <= 32 => single::narrow(x.nearest_f64(), round),
        _ => f32::from_bits(encode_int(F32, x, round) as u32),
    }
}

/// `cvt.rn.f64` and the other modes from any integer type.
#[inline(always)]
pub fn int_to_f64<I: Int>(x: I, round: Round) -> f64 {
    match round {
        Round::Rn => x.nearest_f64(),
        _ => f64::from_bits(encode_int(F64, x, round)),
    }
}

/// `cvt.rn.f16` and the other modes from any integer type.
#[inline(always)]
pub fn int_to_f16<I: Int>(x: I, round: Round) -> u16 {
    encode_int(F16, x, round) as u16
}

/// `cvt.rn.bf16` and the other modes from any integer type.
#[inline(always)]
pub fn int_to_bf16<I: Int>(x: I, round: Round) -> u16 {
    encode_int(BF16, x, round) as u16
}

#[inline(always)]
fn encode_int<I: Int>(format: Format, x: I, round: Round) -> u64 {
    let x = x.widen();
    format.encode(Finite { neg: x < 0, exp: 0, sig: x.unsigned_abs() }, round)
}

/// `cvt.rn.f16x2.f32` and the other modes: `a` goes to the high half, `b` to the low one.
#[inline(always)]
pub fn f32_to_f16x2(a: f32, b: f32, round: Round) -> u32 {
    super::pair::join(f32_to_f16(b, round), f32_to_f16(a, round))
}

/// `cvt.rn.bf16x2.f32` and the other modes: `a` goes to the high half, `b` to the low one.
#[inline(always)]
pub fn f32_to_bf16x2(a: f32, b: f32, round: Round) -> u32 {
    super::pair::join(f32_to_bf16(b, round), f32_to_bf16(a, round))
}

/// `cvt.rn.f16.f32` and the other modes.
#[inline(always)]
pub fn f32_to_f16(x: f32, round: Round) -> u16 {
    if round == Round::Rn { half::from_f32(x) } else { half::from_f64(f64::from(x), round) }
}

/// `cvt.rn.bf16.f32` and the other modes.
#[inline(always)]
pub fn f32_to_bf16(x: f32, round: Round) -> u16 {
    if round == Round::Rn { bf16::from_f32(x) } else { bf16::from_f64(f64::from(x), round) }
}
