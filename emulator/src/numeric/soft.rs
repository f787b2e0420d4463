//! Exact values of any size, rounded once to any binary format.
//!
//! A finite value is `sig * 2^exp`. Where low bits of `sig` had to go, its lowest bit is set if any of them was ("jamming"):
//! with at least two more bits than the format keeps, that changes no rounding in any mode. The modules for the
//! formats use this wherever the host has no instruction that rounds as asked. Tests: `tests/numeric_arith.rs`.

use super::Round;

/// A binary floating-point format of at most 64 bits: sign, exponent, fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits in all.
    pub width: u32,
    /// Bits of the fraction, without the leading one.
    pub fraction: u32,
    /// What is added to an exponent before it is stored.
    pub bias: i32,
    /// The largest finite magnitude, as bits.
    pub max: u64,
    /// What a magnitude too large becomes where the rounding does not give `max`.
    pub overflow: u64,
    /// The NaN that operations give.
    pub nan: u64,
}

/// `.f16`.
pub const F16: Format =
    Format { width: 16, fraction: 10, bias: 15, max: 0x7bff, overflow: 0x7c00, nan: 0x7fff };
/// `.bf16`.
pub const BF16: Format =
    Format { width: 16, fraction: 7, bias: 127, max: 0x7f7f, overflow: 0x7f80, nan: 0x7fff };
/// `.f32`.
pub const F32: Format =
    Format { width: 32, fraction: 23, bias: 127, max: 0x7f7f_ffff, overflow: 0x7f80_0000, nan: 0x7fff_ffff };
/// `.f64`.
pub const F64: Format = Format {
    width: 64,
    fraction: 52,
    bias: 1023,
    max: 0x7fef_ffff_ffff_ffff,
    overflow: 0x7ff0_0000_0000_0000,
    nan: 0xfff8_0000_0000_0000,
};
/// `.e4m3`: no infinities, one NaN.
pub const E4M3: Format = Format { width: 8, fraction: 3, bias: 7, max: 0x7e, overflow: 0x7f, nan: 0x7f };
/// `.e5m2`.
pub const E5M2: Format = Format { width: 8, fraction: 2, bias: 15, max: 0x7b, overflow: 0x7c, nan: 0x7f };

/// `±sig * 2^exp`; a zero has `sig` 0 and keeps its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finite {
    /// Whether the sign bit is set.
    pub neg: bool,
    /// The power of two that `sig` counts.
    pub exp: i32,
    /// The significand, its lowest bit jammed.
    pub sig: u128,
}

/// What the bits of a float stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Any NaN.
    Nan,
    /// An infinity; true if negative.
    Inf(bool),
    /// A number.
    Finite(Finite),
}

impl Format {
    /// The value that `bits` stand for. Only for formats with infinities: all but `E4M3`.
    #[inline]
    pub fn decode(self, bits: u64) -> Value {
        let magnitude = bits & ((1 << (self.width - 1)) - 1);
        let neg = bits >> (self.width - 1) & 1 == 1;
        if magnitude > self.overflow {
            return Value::Nan;
        }
        if magnitude == self.overflow {
            return Value::Inf(neg);
        }
        let stored = (magnitude >> self.fraction) as i32;
        let low = magnitude & ((1 << self.fraction) - 1);
        let sig = if stored == 0 { low } else { low | 1 << self.fraction };
        Value::Finite(Finite {
            neg,
            exp: stored.max(1) - self.bias - self.fraction as i32,
            sig: u128::from(sig),
        })
    }

    /// `magnitude` with the sign bit `neg`.
    #[inline]
    pub fn signed(self, neg: bool, magnitude: u64) -> u64 {
        u64::from(neg) << (self.width - 1) | magnitude
    }

    /// `x` rounded to this format, subnormal and overflowing results included. Its exponent is within a million of 0.
    #[inline]
    pub fn encode(self, x: Finite, round: Round) -> u64 {
        if x.sig == 0 {
            return self.signed(x.neg, 0);
        }
        // 2^top <= |x| < 2^(top + 1); the smallest normal number is 2^(1 - bias), and below it steps stay as wide.
        let top = x.exp + 127 - x.sig.leading_zeros() as i32;
        let scale = top.max(1 - self.bias);
        if scale + self.bias >= 1 << (self.width - self.fraction - 1) {
            return self.signed(x.neg, self.overflowing(x.neg, round));
        }
        let drop = scale - self.fraction as i32 - x.exp;
        let (kept, up) = match u32::try_from(drop) {
            Err(_) | Ok(0) => (x.sig << drop.unsigned_abs(), false),
            Ok(drop) => round_off(x.sig, drop, x.neg, round),
        };
        // A carry out of the significand moves into the exponent, which is what it should do.
        let magnitude = (((scale + self.bias - 1) as u64) << self.fraction) + kept as u64 + u64::from(up);
        let magnitude = if magnitude > self.max { self.overflowing(x.neg, round) } else { magnitude };
        self.signed(x.neg, magnitude)
    }

    /// What a finite value beyond the largest becomes, without its sign.
    #[inline]
    fn overflowing(self, neg: bool, round: Round) -> u64 {
        match round {
            Round::Rn => self.overflow,
            Round::Rp if !neg => self.overflow,
            Round::Rm if neg => self.overflow,
            _ => self.max,
        }
    }
}

/// `sig >> drop` (drop at least 1), and whether the rounding adds one to it.
#[inline]
fn round_off(sig: u128, drop: u32, neg: bool, round: Round) -> (u128, bool) {
    // At least one bit above the place that decides, so that half of the last place fits.
    let (sig, drop) = if drop > 126 { (jam(sig, drop - 126), 126) } else { (sig, drop) };
    let kept = sig >> drop;
    let rest = sig & ((1 << drop) - 1);
    let half = 1 << (drop - 1);
    let up = match round {
        Round::Rn => rest > half || rest == half && kept & 1 == 1,
        Round::Rz => false,
        Round::Rm => neg && rest != 0,
        Round::Rp => !neg && rest != 0,
    };
    (kept, up)
}

/// `sig >> by`, jammed.
#[inline]
fn jam(sig: u128, by: u32) -> u128 {
    match by {
        0 => sig,
        1..=127 => sig >> by | u128::from(sig << (128 - by) != 0),
        _ => u128::from(sig != 0),
    }
}

/// `x` with its leading one at bit 125: room for the carry of a sum above, the jammed bit below. `x` is not zero.
#[inline]
fn normalized(x: Finite) -> Finite {
    let up = x.sig.leading_zeros() as i32 - 2;
    // Products have at most 106 bits and significands 53, so this is always a shift to the left.
    Finite { sig: x.sig << up.max(0), exp: x.exp - up.max(0), ..x }
}

/// `a * b` for significands of at most 64 bits.
#[inline]
pub(super) fn product(a: Finite, b: Finite) -> Finite {
    Finite { neg: a.neg != b.neg, exp: a.exp + b.exp, sig: a.sig * b.sig }
}

/// `a + b` for significands of at most 106 bits, jammed. A zero sum of different signs is -0 in the mode `.rm` alone.
#[inline]
pub(super) fn sum(a: Finite, b: Finite, round: Round) -> Finite {
    let zero = |neg| Finite { neg, exp: 0, sig: 0 };
    match (a.sig, b.sig) {
        (0, 0) => return zero(if a.neg == b.neg { a.neg } else { round == Round::Rm }),
        (0, _) => return b,
        (_, 0) => return a,
        _ => {}
    }
    let (a, b) = (normalized(a), normalized(b));
    let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    // The smaller one loses bits only where it is at least 2^20 times smaller, so a difference keeps 125 bits or is exact.
    let low = jam(small.sig, big.exp.abs_diff(small.exp));
    if big.neg == small.neg {
        return Finite { sig: big.sig + low, ..big };
    }
    if big.sig == low {
        return zero(round == Round::Rm);
    }
    Finite { sig: big.sig - low, ..big }
}

/// `a / b`, jammed, for significands of at most 53 bits, `b` not zero.
#[inline]
pub(super) fn quotient(a: Finite, b: Finite) -> Finite {
    // At least 55 bits of quotient, even of a subnormal by a normal significand: 1 * 2^118 / 2^53 has 66.
    let (num, exp) = (a.sig << (a.sig.leading_zeros()).min(127), a.exp - a.sig.leading_zeros() as i32);
    let rest = num % b.sig;
    Finite { neg: a.neg != b.neg, exp: exp - b.exp, sig: (num / b.sig) | u128::from(rest != 0) }
}

/// The square root of `a`, jammed, for a significand of at most 53 bits. The sign is taken as plus unless `a` is zero.
#[inline]
pub(super) fn root(a: Finite) -> Finite {
    if a.sig == 0 {
        return a;
    }
    let up = a.sig.leading_zeros() as i32 - 1;
    let even = up - ((a.exp - up) & 1);
    let sig = a.sig << even;
    let floor = sig.isqrt();
    Finite { neg: false, exp: (a.exp - even) / 2, sig: floor | u128::from(floor * floor != sig) }
}
