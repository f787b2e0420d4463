//! `.e4m3` and `.e5m2`: conversions from f32 and f16 (always `.rn.satfinite`) and to f16 (always exact), single and packed.
//!
//! What is too large, infinities included, becomes the largest finite number (448, 57344) of its sign; NaN becomes 0x7f.
//! Tests: `tests/numeric_cvt.rs`.

use super::soft::{E4M3, E5M2, F32, Format, Value};
use super::{Round, half, pair};

/// The one NaN that conversions give, in both formats.
pub const NAN: u8 = 0x7f;

/// `cvt.rn.satfinite.e4m3x2.f32`, of one value.
#[inline]
pub fn e4m3_from_f32(x: f32) -> u8 {
    saturating(E4M3, x)
}

/// `cvt.rn.satfinite.e5m2x2.f32`, of one value.
#[inline]
pub fn e5m2_from_f32(x: f32) -> u8 {
    saturating(E5M2, x)
}

#[inline]
fn saturating(format: Format, x: f32) -> u8 {
    let bits = match F32.decode(u64::from(x.to_bits())) {
        Value::Nan => return NAN,
        Value::Inf(neg) => format.signed(neg, format.overflow),
        Value::Finite(x) => format.encode(x, Round::Rn),
    } as u8;
    let too_large = u64::from(bits & 0x7f) > format.max;
    if too_large { bits & 0x80 | format.max as u8 } else { bits }
}

/// `.relu` on a result: negative numbers and -0 become +0.
#[inline(always)]
pub fn relu(x: u8) -> u8 {
    if x & 0x80 != 0 { 0 } else { x }
}

/// `cvt.rn.f16x2.e4m3x2`, of one value: exact; NaN becomes the canonical f16 NaN.
#[inline]
pub fn e4m3_to_f16(x: u8) -> u16 {
    let magnitude = u16::from(x & 0x7f);
    let sign = u16::from(x & 0x80) << 8;
    if magnitude == 0x7f {
        return half::NAN;
    }
    if magnitude < 8 {
        // A subnormal counts 2^-9.
        return half::from_f32(f32::from(magnitude as u8) / 512.0) | sign;
    }
    // Three bits of fraction move up by seven places, the bias grows from 7 to 15.
    sign | ((magnitude << 7) + (8 << 10))
}

/// `cvt.rn.f16x2.e5m2x2`, of one value: exact, e5m2 being the upper half of f16; NaN becomes the canonical f16 NaN.
#[inline]
pub fn e5m2_to_f16(x: u8) -> u16 {
    let bits = u16::from(x) << 8;
    if half::is_nan(bits) { half::NAN } else { bits }
}

/// `cvt.rn.satfinite.e4m3x2.f32` (`convert` is [`e4m3_from_f32`]) and its kin: `a` goes to the high byte, `b` to the low one.
#[inline]
pub fn pack_f32(a: f32, b: f32, convert: impl Fn(f32) -> u8) -> u16 {
    u16::from_be_bytes([convert(a), convert(b)])
}

/// `cvt.rn.satfinite.e4m3x2.f16x2` and its kin: each half to the byte of its place.
#[inline]
pub fn pack_f16x2(x: u32, convert: impl Fn(f32) -> u8) -> u16 {
    let (low, high) = pair::split(x);
    pack_f32(half::to_f32(high), half::to_f32(low), convert)
}

/// `cvt.rn.f16x2.e4m3x2` (`convert` is [`e4m3_to_f16`]) and its kin: each byte to the half of its place.
#[inline]
pub fn unpack(x: u16, convert: impl Fn(u8) -> u16) -> u32 {
    let [high, low] = x.to_be_bytes();
    pair::join(convert(low), convert(high))
}
