//! The reference of the numeric tests: exact binary numbers of any length, rounded by definition; and inputs chosen to hurt.
#![allow(dead_code, reason = "each test file uses a part")]

use cuda_emulator::numeric::Round;
use std::cmp::Ordering;

/// All modes.
pub const ROUNDS: [Round; 4] = [Round::Rn, Round::Rz, Round::Rm, Round::Rp];

/// A natural number, 32 bits to a limb, the lowest first.
#[derive(Clone, Debug)]
struct Natural(Vec<u32>);

impl Natural {
    fn new(x: u128) -> Self {
        Self((0..4).map(|i| (x >> (32 * i)) as u32).collect())
    }

    fn limb(&self, i: usize) -> u32 {
        self.0.get(i).copied().unwrap_or(0)
    }

    fn length(&self) -> i32 {
        (0..self.0.len() * 32).rev().find(|&i| self.bit(i)).map_or(0, |i| i as i32 + 1)
    }

    fn bit(&self, i: usize) -> bool {
        self.limb(i / 32) >> (i % 32) & 1 == 1
    }

    /// `self * 2^by`.
    fn up(&self, by: i32) -> Self {
        let (limbs, bits) = (by as usize / 32, by as u32 % 32);
        let whole = |i: usize| if i < limbs { 0 } else { u64::from(self.limb(i - limbs)) };
        let below = |i: usize| if i == 0 { 0 } else { whole(i - 1) };
        let n = self.0.len() + limbs + 1;
        Self((0..n).map(|i| ((whole(i) << bits) | (below(i) << bits >> 32)) as u32).collect())
    }

    /// `self / 2^by`, rounded down.
    fn down(&self, by: i32) -> Self {
        let (limbs, bits) = (by as usize / 32, by as u32 % 32);
        let pair = |i: usize| u64::from(self.limb(i + limbs)) | u64::from(self.limb(i + limbs + 1)) << 32;
        Self((0..self.0.len()).map(|i| (pair(i) >> bits) as u32).collect())
    }

    fn order(&self, other: &Self) -> Ordering {
        let n = self.0.len().max(other.0.len());
        (0..n).rev().map(|i| self.limb(i).cmp(&other.limb(i))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut carry = 0;
        let n = self.0.len().max(other.0.len()) + 1;
        let add = |i| {
            carry += u64::from(self.limb(i)) + u64::from(other.limb(i));
            let low = carry as u32;
            carry >>= 32;
            low
        };
        Self((0..n).map(add).collect())
    }

    fn minus(&self, other: &Self) -> Self {
        let mut borrow = 0;
        let subtract = |i| {
            let x = i64::from(self.limb(i)) - i64::from(other.limb(i)) - borrow;
            borrow = i64::from(x < 0);
            x as u32
        };
        Self((0..self.0.len().max(other.0.len())).map(subtract).collect())
    }

    fn is_zero(&self) -> bool {
        self.0.iter().all(|&limb| limb == 0)
    }

    fn low(&self) -> u128 {
        (0..4).map(|i| u128::from(self.limb(i)) << (32 * i)).sum()
    }
}

/// `±size * 2^exp`, exactly.
#[derive(Clone, Debug)]
pub struct Exact {
    neg: bool,
    size: Natural,
    exp: i32,
}

impl Exact {
    pub fn new(neg: bool, size: u128, exp: i32) -> Self {
        Self { neg, size: Natural::new(size), exp }
    }

    /// A finite f64.
    pub fn of(x: f64) -> Self {
        let (field, low) = ((x.to_bits() >> 52 & 0x7ff) as i32, x.to_bits() & ((1 << 52) - 1));
        let size = if field == 0 { low } else { low + (1 << 52) };
        Self::new(x.is_sign_negative(), u128::from(size), field.max(1) - 1075)
    }

    pub fn is_zero(&self) -> bool {
        self.size.is_zero()
    }

    /// The product of numbers of at most 53 bits.
    pub fn times(&self, other: &Self) -> Self {
        Self::new(self.neg != other.neg, self.size.low() * other.size.low(), self.exp + other.exp)
    }

    /// The sum; where it is zero, with the sign that IEEE 754 gives it in this mode.
    pub fn plus(&self, other: &Self, round: Round) -> Self {
        let exp = self.exp.min(other.exp);
        let (a, b) = (self.size.up(self.exp - exp), other.size.up(other.exp - exp));
        let (neg, size) = match (self.neg == other.neg, a.order(&b)) {
            (true, _) => (self.neg, a.plus(&b)),
            (false, Ordering::Greater) => (self.neg, a.minus(&b)),
            (false, Ordering::Less) => (other.neg, b.minus(&a)),
            (false, Ordering::Equal) => (round == Round::Rm, Natural::new(0)),
        };
        Self { neg, size, exp }
    }

    /// The quotient of nonzero numbers of at most 53 bits: its first bits, and one more that says whether others follow.
    pub fn over(&self, other: &Self) -> Self {
        let (a, other) = (self.size.low(), other.normalised());
        let (up, b) = (a.leading_zeros(), other.size.low());
        let (quotient, rest) = ((a << up) / b, (a << up) % b);
        let exp = self.exp - up as i32 - other.exp;
        Self::new(self.neg != other.neg, quotient << 1 | u128::from(rest != 0), exp - 1)
    }

    /// The square root of a positive number of at most 53 bits: its first bits, and one more that says whether others follow.
    pub fn root(&self) -> Self {
        let odd = self.exp & 1;
        let square = self.size.low() << (60 + odd);
        let mut root = 0u128;
        for bit in (0..60).rev() {
            let next = root | 1 << bit;
            if next * next <= square {
                root = next;
            }
        }
        let more = root * root != square;
        // Subnormal significands may leave the root short of bits: they are normalised by the caller.
        Self::new(false, root << 1 | u128::from(more), (self.exp - odd - 60) / 2 - 1)
    }

    /// A number with 53 significant bits of the same value, for `root`.
    pub fn normalised(&self) -> Self {
        let up = 53 - self.size.length();
        Self { neg: self.neg, size: self.size.up(up.max(0)), exp: self.exp - up.max(0) }
    }

    /// The bits of the nearest value on the mode's side in a format with `fraction` stored bits and exponents up to `bias`.
    pub fn round(&self, width: u32, fraction: i32, bias: i32, round: Round) -> u64 {
        let sign = u64::from(self.neg) << (width - 1);
        if self.size.is_zero() {
            return sign;
        }
        let quantum = (self.size.length() - 1 + self.exp).max(1 - bias) - fraction;
        let mut quanta = if self.exp >= quantum {
            self.size.up(self.exp - quantum)
        } else {
            self.size.down(quantum - self.exp)
        };
        if self.exp < quantum {
            let whole = quanta.up(quantum - self.exp);
            let rest = self.size.minus(&whole);
            let half = rest.up(1).order(&Natural::new(1).up(quantum - self.exp));
            let away = match round {
                Round::Rn => half.is_gt() || half.is_eq() && quanta.bit(0),
                Round::Rz => false,
                Round::Rm => self.neg && !rest.is_zero(),
                Round::Rp => !self.neg && !rest.is_zero(),
            };
            quanta = quanta.plus(&Natural::new(u128::from(away)));
        }
        let mut quanta = quanta.low() as u64;
        let mut exponent = quantum + fraction;
        if quanta == 1 << (fraction + 1) {
            (quanta, exponent) = (quanta / 2, exponent + 1);
        }
        let infinity = (2 * bias as u64 + 1) << fraction;
        if exponent > bias {
            let inward = match round {
                Round::Rn => false,
                Round::Rz => true,
                Round::Rm => !self.neg,
                Round::Rp => self.neg,
            };
            return sign | (infinity - u64::from(inward));
        }
        if quanta < 1 << fraction {
            return sign | quanta;
        }
        sign | ((exponent + bias) as u64) << fraction | (quanta - (1 << fraction))
    }
}

/// A small generator of inputs: SplitMix64.
pub struct Inputs(pub u64);

/// Values of f32 around which things go wrong.
pub const EDGES32: [u32; 30] = [
    0,
    1,
    2,
    3,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x00ff_ffff,
    0x0100_0000,
    0x3300_0000,
    0x337f_ffff,
    0x3380_0000,
    0x3380_0001,
    0x3eff_ffff,
    0x3f00_0000,
    0x3f00_0001,
    0x3f7f_ffff,
    0x3f80_0000,
    0x3f80_0001,
    0x3fc0_0000,
    0x4000_0000,
    0x4b00_0000,
    0x4b80_0001,
    0x7e80_0000,
    0x7eff_ffff,
    0x7f00_0000,
    0x7f7f_fffe,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7fc0_1234,
];

/// Values of f64 around which things go wrong.
pub const EDGES64: [u64; 24] = [
    0,
    1,
    2,
    3,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x001f_ffff_ffff_ffff,
    0x0020_0000_0000_0000,
    0x3c90_0000_0000_0000,
    0x3ca0_0000_0000_0000,
    0x3ca0_0000_0000_0001,
    0x3fe0_0000_0000_0000,
    0x3fef_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3ff8_0000_0000_0000,
    0x4340_0000_0000_0001,
    0x7fd0_0000_0000_0000,
    0x7fdf_ffff_ffff_ffff,
    0x7fef_ffff_ffff_fffe,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0x7ff8_0000_0000_1234,
];

impl Inputs {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// Any bits, or an edge, or a number near 1, or one with few bits set; either sign.
    pub fn f32(&mut self) -> f32 {
        let any = self.bits() as u32;
        let sign = any & 0x8000_0000;
        f32::from_bits(match self.below(4) {
            0 => any,
            1 => sign | EDGES32[self.below(30) as usize],
            2 => sign | (0x3a00_0000 + (self.bits() as u32 & 0x0aff_ffff)),
            _ => sign | (self.bits() as u32 & self.bits() as u32 & 0x7ff0_0fff),
        })
    }

    /// As `f32`.
    pub fn f64(&mut self) -> f64 {
        let any = self.bits();
        let sign = any & 1 << 63;
        f64::from_bits(match self.below(4) {
            0 => any,
            1 => sign | EDGES64[self.below(24) as usize],
            2 => sign | (0x3f00_0000_0000_0000 + (self.bits() & 0x01ff_ffff_ffff_ffff)),
            _ => sign | (self.bits() & self.bits() & 0x7fff_0000_0000_0fff),
        })
    }
}
