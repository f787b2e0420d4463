//! exp, softmax's and GELU's, on sixteen lanes: every path of the backend uses these, so all agree to the bit.

use super::Simd;
use crate::config::Activation;

/// `e^x`, within 2 units in the last place for `x` in -87..=88; beyond, the value at the nearer end. A NaN stays.
///
/// `x = n ln 2 + r` with whole `n`, and `e^r` is a polynomial fitted on `|r| <= ln 2 / 2` (1e-8 relative).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // Added and subtracted, it rounds to a whole number.
    let whole = s.splat(12_582_912.0);
    let x = s.max(s.splat(-87.0), s.min(s.splat(88.0), x));
    let n = s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), whole), whole);
    // ln 2 in two parts, the first short enough that its product with n is exact.
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let p = polynomial(s, r, &EXP);
    s.mul(s.fma(s.mul(r, r), p, s.add(r, s.splat(1.0))), s.exp2_whole(n))
}

/// `(e^r - 1 - r) / r²`.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_446_7];

/// The MLP's activation. Formulas: [`Activation`].
#[inline(always)]
pub fn activation<S: Simd>(s: S, x: S::V, kind: Activation) -> S::V {
    match kind {
        Activation::GeluTanh => gelu_tanh(s, x),
        Activation::GeluErf => gelu_erf(s, x),
        Activation::Relu => s.max(s.splat(0.0), x),
    }
}

/// `0.5 x (1 + tanh u)` is `x / (1 + e^(-2u))`, with `u = √(2/π) (x + 0.044715 x³)`. Within 4e-7 · max(|x|, 1).
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let minus_2u = s.mul(x, s.fma(s.mul(x, x), s.splat(-0.071_354_814), s.splat(-1.595_769)));
    s.div(x, s.add(s.splat(1.0), exp(s, minus_2u)))
}

/// `0.5 x (1 + erf(x / √2))`. Within 4e-7 · max(|x|, 1).
///
/// `erfc(a) = e^(-a Q(a))` for `a >= 0`, with Q fitted on 0..=4 (2.3e-9 absolute in erfc); beyond 4 it is under 2e-8.
#[inline(always)]
fn gelu_erf<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let minus_a = s.where_negative(a, a, s.sub(s.splat(0.0), a));
    let q = polynomial(s, s.min(s.splat(4.0), s.sub(s.splat(0.0), minus_a)), &ERFC);
    let erfc = exp(s, s.mul(minus_a, q));
    s.mul(s.mul(s.splat(0.5), x), s.where_negative(x, erfc, s.sub(s.splat(2.0), erfc)))
}

/// `-ln(erfc(a)) / a`.
const ERFC: [f32; 9] = [
    1.128_379_3,
    0.636_616_1,
    0.102_799_21,
    -0.019_217_145,
    -5.877_868_5e-5,
    0.001_576_757_4,
    -0.000_587_949_24,
    0.000_106_026_24,
    -8.043_776e-6,
];

/// `Σ c[i] x^i`, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, c: &[f32; N]) -> S::V {
    let mut sum = s.splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = s.fma(sum, x, s.splat(c[i]));
    }
    sum
}
