//! Arithmetic that gives the same bits on every machine, and that compilers turn into vector code.
//!
//! The system's `exp` differs between platforms in the last bit; this one is additions and multiplications alone, in an
//! order that is written down, so that a seed gives the same text everywhere.

/// Values that are reduced side by side.
const LANES: usize = 16;

/// The natural exponential of `x <= 0`, within 4e-16 of its value; 0 from -700 down, where it is 1e-304.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`; the Taylor series of e^r to degree 13 misses less than 1e-17.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    /// 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; the first has 32 trailing zero bits, so that its multiples up to 2^20 are exact.
    const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const INVERSE_FACTORIALS: [f64; 12] = [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let is_zero = x <= -700.0;
    let x = if is_zero { -700.0 } else { x };
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut sum = 1.0 / 6_227_020_800.0;
    for c in INVERSE_FACTORIALS {
        sum = sum * r + c;
    }
    let sum = sum * r + 1.0;
    // Times 2^k: k is added to the exponent.
    let scaled = f64::from_bits(sum.to_bits().wrapping_add(shifted.to_bits() << 52));
    if is_zero { 0.0 } else { scaled }
}

/// `weights[i] = exp((scores[i] - max) / temperature)`; returns their sum in [`fixed_point`].
pub(super) fn weigh(weights: &mut [f64], scores: &[f64], max: f64, temperature: f64) -> u64 {
    for_this_processor(
        #[inline(always)]
        || {
            for (weight, score) in weights.iter_mut().zip(scores) {
                *weight = exp((score - max) / temperature);
            }
            weights.iter().map(|&weight| fixed_point(weight)).sum()
        },
    )
}

/// The logarithm of the sum of `exp(logits[i])`.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(max_of(logits, f32::NEG_INFINITY));
    let sum = for_this_processor(
        #[inline(always)]
        || {
            // Block by block, because compilers make vector code of one simple loop at a time.
            let (mut sum, mut weights) = (0.0, [0.0; 256]);
            for block in logits.chunks(weights.len()) {
                for (weight, &logit) in weights.iter_mut().zip(block) {
                    *weight = exp(f64::from(logit) - max);
                }
                sum += sum_of(block.len(), |i| weights[i]);
            }
            sum
        },
    );
    max + sum.ln()
}

/// Calls `compute`, compiled for vectors of four where the processor has them. The operations on each number are the
/// same, so the results have the same bits.
#[inline(always)]
fn for_this_processor<T>(compute: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T>(compute: impl FnOnce() -> T) -> T {
            compute()
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as the line above found.
            return unsafe { with_avx2(compute) };
        }
    }
    compute()
}

/// The unit of [`fixed_point`], 2^-44.
pub(super) const UNIT: f64 = 1.0 / (1u64 << 44) as f64;

/// A weight in 0..=1 as an integer, in units of 2^-44, rounded to nearest even. Sums of integers are the same in
/// whatever order, so that a parallel device can add them up too.
#[inline(always)]
pub(super) fn fixed_point(weight: f64) -> u64 {
    // The last bit of 256.0 is worth 2^-44.
    (weight + 256.0).to_bits() - 256f64.to_bits()
}

/// The largest value, `low` if there is none above it. NaN is passed over.
pub(super) fn max_of<T: Copy + PartialOrd>(values: &[T], low: T) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(low, larger);
    let mut lanes = [low; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

/// The sum of `f(i)` for `i` below `n`: `LANES` running sums, element `i` in sum `i % LANES`, then those in order.
#[inline(always)]
pub(super) fn sum_of(n: usize, mut f: impl FnMut(usize) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let n_whole = n - n % LANES;
    for start in (0..n_whole).step_by(LANES) {
        for lane in 0..LANES {
            lanes[lane] += f(start + lane);
        }
    }
    for i in n_whole..n {
        lanes[i - n_whole] += f(i);
    }
    lanes.iter().sum()
}

/// Whether a value is NaN or positive infinity.
pub(super) fn any_bad(logits: &[f32]) -> bool {
    // Not `logit >= INFINITY`: that is false for NaN.
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must count")]
    logits.iter().fold(false, |bad, &logit| bad | !(logit < f32::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_4e_16_of_the_systems() {
        let mut worst: f64 = 0.0;
        for i in 0..699_999 {
            let x = -0.001 * f64::from(i) - 1e-7 * f64::from(i % 13);
            worst = worst.max((exp(x) / x.exp() - 1.0).abs());
        }
        assert!(worst < 4e-16, "{worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-700.0), exp(f64::NEG_INFINITY)), (0.0, 0.0));
    }

    #[test]
    fn fixed_point_counts_units_of_2_to_the_minus_44() {
        let unit = 0.5f64.powi(44);
        let cases = [(0.0, 0), (1.0, 1 << 44), (unit, 1), (0.49 * unit, 0), (0.51 * unit, 1), (1e-304, 0)];
        for (weight, expected) in cases {
            assert_eq!(fixed_point(weight), expected, "{weight:e}");
        }
    }

    #[test]
    fn reductions_cover_every_element() {
        for n in [0, 1, 15, 16, 17, 33, 50257] {
            let mut values = vec![1.0f32; n];
            assert_eq!(sum_of(n, |i| f64::from(values[i])), n as f64);
            assert!(!any_bad(&values));
            if let Some(last) = values.last_mut() {
                *last = 2.0;
                assert_eq!(max_of(&values, f32::NEG_INFINITY), 2.0);
                for bad in [f32::NAN, f32::INFINITY] {
                    values[n / 2] = bad;
                    assert!(any_bad(&values));
                }
            }
        }
        assert!(!any_bad(&[f32::NEG_INFINITY]));
    }
}
