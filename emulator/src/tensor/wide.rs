//! An accumulator that adds products of any size exactly: a fixed-point number wide enough for all of them.

/// What bit 0 counts. The smallest nonzero product, 2^-272 in `.tf32`, has 52 bits below its leading one as an f64.
const LOWEST: i32 = -352;
/// 32 bits each: up to 2^288, beyond any sum of products below 2^256.
const LIMBS: usize = 20;

/// A sum of f64 values of at most 24 significant bits between 2^-300 and 2^300.
pub(super) struct Wide {
    /// Digits of weight `2^(32 i + LOWEST)`, signed and not yet carried; 2^31 additions fit.
    limbs: [i64; LIMBS],
}

impl Wide {
    pub(super) fn new() -> Self {
        Self { limbs: [0; LIMBS] }
    }

    /// Adds a finite value.
    pub(super) fn add(&mut self, x: f64) {
        let bits = x.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32;
        if exponent == 0 {
            return; // zero: subnormal f64 are out of range
        }
        let sig = bits & ((1 << 52) - 1) | 1 << 52;
        let at = (exponent - 1075 - LOWEST) as usize;
        let spread = u128::from(sig) << (at % 32);
        let negative = x.is_sign_negative();
        for (i, limb) in self.limbs[at / 32..].iter_mut().take(3).enumerate() {
            let digit = (spread >> (32 * i)) as u32;
            *limb += if negative { -i64::from(digit) } else { i64::from(digit) };
        }
    }

    /// The sum, rounded to odd; +0 if it is zero.
    pub(super) fn rounded_to_odd(mut self) -> f64 {
        let negative = self.carry();
        if negative {
            self.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            self.carry();
        }
        let Some(top) = self.limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
        let digit = |i: usize| top.checked_sub(i).map_or(0, |at| self.limbs[at] as u128);
        let high = digit(0) << 96 | digit(1) << 64 | digit(2) << 32 | digit(3);
        let below = self.limbs[..top.saturating_sub(3)].iter().any(|&limb| limb != 0);
        // At least 97 significant bits: the upper 53, and whether any is set below.
        let drop = 75 - high.leading_zeros();
        let kept = (high >> drop) as u64;
        let inexact = below || high << (128 - drop) != 0;
        let exponent = 32 * (top as i32 - 3) + LOWEST + drop as i32;
        let magnitude = (kept | u64::from(inexact)) as f64 * power_of_two(exponent);
        if negative { -magnitude } else { magnitude }
    }

    /// Makes all digits but the highest nonnegative; gives whether the number is negative.
    fn carry(&mut self) -> bool {
        let mut carry = 0;
        let (lower, highest) = self.limbs.split_at_mut(LIMBS - 1);
        for limb in lower {
            let sum = *limb + carry;
            *limb = sum & 0xffff_ffff;
            carry = sum >> 32;
        }
        highest[0] += carry;
        highest[0] < 0
    }
}

/// 2^exponent, for exponents of normal f64.
#[inline(always)]
pub(super) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}
