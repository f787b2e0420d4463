//! Approximate instructions: the exact function in f64 rounded once, or any other result that the documented error allows.
//!
//! Inputs for which the ISA tabulates a result give it in both modes of [`Approx`]; that includes infinities, zeros and NaN. With
//! [`Approx::Jitter`] the result is moved by a share in [-1, 1] of the documented bound, less what rounding
//! itself may add, so that it stays within the bound. `tanh`, `sin` and `cos` never leave [-1, 1].
//! `.ftz` composes: the tables for it follow from flushed inputs. The bounds are those of the PTX ISA.
//! Tests: `tests/numeric_approx.rs`.

use super::{Approx, Round, bf16, double, half, single};

/// The result's error bound, as the ISA states it.
#[derive(Clone, Copy)]
enum Bound {
    /// Two units in the last place that the exact value has.
    TwoUlp,
    /// The neighbour on the other side of the exact value.
    Faithful,
    /// Relative to the exact value.
    Relative(f64),
    /// Absolute.
    Absolute(f64),
}

/// What `f32` rounding may add to a relative error.
const ROUND_F32: f64 = 1.0 / (1u32 << 24) as f64;

/// `2^-n`.
const fn pow2(n: u32) -> f64 {
    1.0 / (1u64 << n) as f64
}

/// A number in [-1, 1) that depends on every bit of its inputs (the finisher of SplitMix64).
#[inline]
fn share(seed: u64, function: u64, input: u64) -> f64 {
    let mut x = seed ^ input.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ function << 56;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x as i64) as f64 / (1u64 << 63) as f64
}

/// `exact` as f32: nearest, or moved within `bound`. Zeros, infinities and NaN stay.
#[inline]
fn settle(exact: f64, approx: Approx, function: u64, input: u64, bound: Bound) -> f32 {
    let near = exact as f32;
    let Approx::Jitter(seed) = approx else { return single::canonical(near) };
    if !near.is_finite() || exact == 0.0 {
        return single::canonical(near);
    }
    let share = share(seed, function, input);
    match bound {
        // Rounding adds half a unit, or one where the sum reaches the next power of two.
        Bound::TwoUlp => ((exact + share * ulp(exact)) as f32).clamp(f32::MIN, f32::MAX),
        Bound::Faithful if share < 0.0 || f64::from(near) == exact => near,
        Bound::Faithful => step(near, if f64::from(near).abs() < exact.abs() { 1 } else { -1 }),
        Bound::Relative(bound) => (exact + exact * share * bound) as f32,
        Bound::Absolute(bound) => (exact + share * bound) as f32,
    }
}

/// The distance between the f32 around `x`.
#[inline]
fn ulp(x: f64) -> f64 {
    const LEAST: f64 = f32::from_bits(1) as f64;
    (f64::from_bits(x.to_bits() & 0x7ff0_0000_0000_0000) * pow2(23)).max(LEAST)
}

/// The next f32 away from zero, or the one before, stopping at zero and at the largest finite one.
#[inline]
fn step(x: f32, n: i32) -> f32 {
    let magnitude = (x.to_bits() & 0x7fff_ffff).saturating_add_signed(n).min(0x7f7f_ffff);
    f32::from_bits(x.to_bits() & 0x8000_0000 | magnitude)
}

/// `ex2.approx.f32`: 2^x within 2 ulp. Exact for zeros and subnormal numbers (1), -Inf (+0) and +Inf.
#[inline]
pub fn ex2(x: f32, approx: Approx) -> f32 {
    if single::ftz(x) == 0.0 {
        return 1.0;
    }
    settle(f64::from(x).exp2(), approx, 1, u64::from(x.to_bits()), Bound::TwoUlp)
}

/// `lg2.approx.f32`: log2(x), within 2^-22 absolutely for x in (0.5, 2), relatively elsewhere. Zeros give -Inf, what is less NaN.
#[inline]
pub fn lg2(x: f32, approx: Approx) -> f32 {
    let bound = if x > 0.5 && x < 2.0 {
        Bound::Absolute(pow2(22) - pow2(25))
    } else {
        Bound::Relative(pow2(22) - ROUND_F32)
    };
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    settle(f64::from(x).log2(), approx, 2, u64::from(x.to_bits()), bound)
}

/// The absolute bound of `sin` and `cos`: 2^-20.5 within 2 pi, 2^-14.7 within 100 pi; beyond that none is documented, and
/// we let the last one grow with x. 2^-25 of it is for rounding.
#[inline]
fn circle_bound(x: f32) -> f64 {
    const WITHIN_2_PI: f64 = 6.743_495_7e-7;
    const WITHIN_100_PI: f64 = 3.757_154_5e-5;
    let turns = f64::from(x.abs()) / std::f64::consts::TAU;
    let bound = if turns <= 1.0 { WITHIN_2_PI } else { WITHIN_100_PI * (turns / 50.0).max(1.0) };
    bound.min(2.0) - pow2(25)
}

/// `sin.approx.f32`. Zeros give themselves, infinities NaN.
#[inline]
pub fn sin(x: f32, approx: Approx) -> f32 {
    let bound = Bound::Absolute(circle_bound(x));
    settle(f64::from(x).sin(), approx, 3, u64::from(x.to_bits()), bound).clamp(-1.0, 1.0)
}

/// `cos.approx.f32`. Zeros and subnormal numbers give 1, infinities NaN.
#[inline]
pub fn cos(x: f32, approx: Approx) -> f32 {
    if single::ftz(x) == 0.0 {
        return 1.0;
    }
    let bound = Bound::Absolute(circle_bound(x));
    settle(f64::from(x).cos(), approx, 4, u64::from(x.to_bits()), bound).clamp(-1.0, 1.0)
}

/// `tanh.approx.f32`: within 2^-11 relatively. Zeros and subnormal numbers give themselves, infinities -1 and 1.
#[inline]
pub fn tanh(x: f32, approx: Approx) -> f32 {
    if single::ftz(x) == 0.0 || x.is_infinite() {
        return x.clamp(-1.0, 1.0);
    }
    let bound = Bound::Relative(pow2(11) - ROUND_F32);
    settle(f64::from(x).tanh(), approx, 5, u64::from(x.to_bits()), bound).clamp(-1.0, 1.0)
}

/// `rcp.approx.f32`: 1/x within 1 ulp. Zeros give infinities and these zeros, of the same sign.
#[inline]
pub fn rcp(x: f32, approx: Approx) -> f32 {
    settle(1.0 / f64::from(x), approx, 6, u64::from(x.to_bits()), Bound::Faithful)
}

/// `rsqrt.approx.f32`: 1/sqrt(x) within 2^-22.9 relatively. Zeros give infinities of their sign, +Inf gives +0, what is less NaN.
#[inline]
pub fn rsqrt(x: f32, approx: Approx) -> f32 {
    const BOUND: f64 = 1.277_653_5e-7;
    let exact = 1.0 / f64::from(x).sqrt();
    settle(exact, approx, 7, u64::from(x.to_bits()), Bound::Relative(BOUND - ROUND_F32))
}

/// `sqrt.approx.f32`: within 2^-23 relatively. Zeros give themselves, what is less NaN.
#[inline]
pub fn sqrt(x: f32, approx: Approx) -> f32 {
    let bound = Bound::Relative(pow2(23) - ROUND_F32);
    settle(f64::from(x).sqrt(), approx, 8, u64::from(x.to_bits()), bound)
}

/// `div.approx.f32`: a/b within 2 ulp for |b| up to 2^126; for greater finite |b| the reciprocal is lost, and a zero of
/// the quotient's sign results, of an infinite `a` NaN.
#[inline]
pub fn div(a: f32, b: f32, approx: Approx) -> f32 {
    const LARGEST: f32 = f32::from_bits(0x7e80_0000);
    if b.abs() > LARGEST && b.is_finite() {
        return single::canonical(a * 0.0f32.copysign(b));
    }
    quotient(a, b, approx, 9)
}

/// `div.full.f32`: a/b within 2 ulp over the whole range.
#[inline]
pub fn div_full(a: f32, b: f32, approx: Approx) -> f32 {
    quotient(a, b, approx, 10)
}

#[inline]
fn quotient(a: f32, b: f32, approx: Approx, function: u64) -> f32 {
    // f64 has more than 2 * 24 + 2 bits, so rounding its quotient once more gives the correctly rounded one.
    let input = u64::from(a.to_bits()) << 32 | u64::from(b.to_bits());
    settle(f64::from(a) / f64::from(b), approx, function, input, Bound::TwoUlp)
}

/// `ex2.approx.f16`: within 2^-9.9 relatively where the result is normal, one step where it is subnormal.
#[inline]
pub fn ex2_f16(x: u16, approx: Approx) -> u16 {
    const BOUND: f64 = 1.046_653_7e-3;
    let size = |exact: f64| if exact < pow2(14) { pow2(25) } else { exact * (BOUND - pow2(11)) };
    settle16::<{ half::INF }>(half::to_f64(x).exp2(), approx, (11, x), size, half::from_f64)
}

/// `ex2.approx.ftz.bf16`: within 2^-7 relatively; subnormal inputs give 1, subnormal results zero.
#[inline]
pub fn ex2_ftz_bf16(x: u16, approx: Approx) -> u16 {
    let exact = bf16::to_f64(bf16::ftz(x)).exp2();
    bf16::ftz(settle16::<{ bf16::INF }>(exact, approx, (12, x), |exact| exact * pow2(8), bf16::from_f64))
}

/// `tanh.approx.f16`: within 2^-10.987 absolutely; the jitter is that share of the result, which keeps its sign.
#[inline]
pub fn tanh_f16(x: u16, approx: Approx) -> u16 {
    const BOUND: f64 = 4.927_009e-4;
    let size = |exact: f64| exact * (BOUND - pow2(12));
    let encode = |x: f64, round| half::from_f64(x.clamp(-1.0, 1.0), round);
    settle16::<{ half::INF }>(half::to_f64(x).tanh(), approx, (13, x), size, encode)
}

/// `tanh.approx.bf16`: within 2^-8 absolutely; the jitter is that share of the result, which keeps its sign.
#[inline]
pub fn tanh_bf16(x: u16, approx: Approx) -> u16 {
    let encode = |x: f64, round| bf16::from_f64(x.clamp(-1.0, 1.0), round);
    let size = |exact: f64| exact * (pow2(8) - pow2(9));
    settle16::<{ bf16::INF }>(bf16::to_f64(x).tanh(), approx, (14, x), size, encode)
}

/// `exact` in 16 bits: nearest, or moved by up to `size`. Zeros, 1, -1, infinities and NaN stay, and nothing becomes infinite.
#[inline]
fn settle16<const INF: u16>(
    exact: f64,
    approx: Approx,
    (function, input): (u64, u16),
    size: impl Fn(f64) -> f64,
    encode: impl Fn(f64, Round) -> u16,
) -> u16 {
    let near = encode(exact, Round::Rn);
    let Approx::Jitter(seed) = approx else { return near };
    if near & 0x7fff >= INF || exact == 0.0 || exact.abs() == 1.0 {
        return near;
    }
    let share = share(seed, function, u64::from(input));
    let moved = encode(exact + share * size(exact), Round::Rn);
    if moved & 0x7fff == INF { near } else { moved }
}

/// `rcp.approx.ftz.f64`: of the upper 32 bits of `x`, an upper half with 20 bits of fraction over a zero lower half. The ISA
/// gives no bound; here the nearest such value, with jitter one step beside it. NaN gives 0x7fffffff00000000.
#[inline]
pub fn rcp_ftz_f64(x: f64, approx: Approx) -> f64 {
    gross(1.0 / upper(x), approx, 15, x)
}

/// `rsqrt.approx.ftz.f64`: as [`rcp_ftz_f64`]; zeros give infinities of their sign, what is less NaN.
#[inline]
pub fn rsqrt_ftz_f64(x: f64, approx: Approx) -> f64 {
    gross(1.0 / upper(x).sqrt(), approx, 16, x)
}

/// `rsqrt.approx.f64`: 1/sqrt(x) to about an ulp; the ISA gives no bound, and jitter moves by one step. Zeros give infinities of
/// their sign, +Inf gives +0, what is less NaN.
#[inline]
pub fn rsqrt_f64(x: f64, approx: Approx) -> f64 {
    let near = 1.0 / x.sqrt();
    let Approx::Jitter(seed) = approx else { return double::canonical(near) };
    if !near.is_finite() || near == 0.0 {
        return double::canonical(near);
    }
    let steps = ((share(seed, 17, x.to_bits()) * 2.0) as i64).clamp(-1, 1);
    // Results lie between 2^-512 and 2^537, far from where steps would leave the normal numbers.
    f64::from_bits(near.to_bits().wrapping_add_signed(steps))
}

/// The upper 32 bits of `x`, subnormal numbers flushed; NaN stays NaN.
#[inline]
fn upper(x: f64) -> f64 {
    if x.is_nan() { x } else { flush64(f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000)) }
}

#[inline]
fn flush64(x: f64) -> f64 {
    if x.is_subnormal() { 0.0f64.copysign(x) } else { x }
}

/// `exact` rounded to 20 bits of fraction, subnormal numbers flushed.
#[inline]
fn gross(exact: f64, approx: Approx, function: u64, x: f64) -> f64 {
    if exact.is_nan() {
        return f64::from_bits(0x7fff_ffff_0000_0000);
    }
    if exact.is_infinite() || exact == 0.0 {
        return exact;
    }
    let high = (exact.to_bits().wrapping_add(0x8000_0000)) >> 32;
    let steps = match approx {
        Approx::Nearest => 0,
        Approx::Jitter(seed) => ((share(seed, function, x.to_bits()) * 2.0) as i64).clamp(-1, 1),
    };
    flush64(f64::from_bits(high.wrapping_add_signed(steps) << 32))
}
