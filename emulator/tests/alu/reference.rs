//! Floating-point formats and their operations, from exact numbers rounded by definition.

use crate::exact::{EDGES32, EDGES64, Exact};
use crate::harness::Random;
use cuda_emulator::numeric::Round;

/// A floating-point format.
#[derive(Clone, Copy, PartialEq)]
pub struct Float {
    pub width: u32,
    pub fraction: i32,
    pub bias: i32,
    /// The NaN that operations give.
    pub nan: u64,
}

pub const F16: Float = Float { width: 16, fraction: 10, bias: 15, nan: 0x7fff };
pub const BF16: Float = Float { width: 16, fraction: 7, bias: 127, nan: 0x7fff };
pub const F32: Float = Float { width: 32, fraction: 23, bias: 127, nan: 0x7fff_ffff };
pub const F64: Float = Float { width: 64, fraction: 52, bias: 1023, nan: 0xfff8_0000_0000_0000 };

/// The modes as PTX spells them.
pub const ROUNDS: [(&str, Round); 4] =
    [(".rn", Round::Rn), (".rz", Round::Rz), (".rm", Round::Rm), (".rp", Round::Rp)];

impl Float {
    fn cut(self, bits: u64) -> u64 {
        bits << (64 - self.width) >> (64 - self.width)
    }

    fn sign(self) -> u64 {
        1 << (self.width - 1)
    }

    pub fn infinity(self) -> u64 {
        (2 * self.bias as u64 + 1) << self.fraction
    }

    pub fn one(self) -> u64 {
        (self.bias as u64) << self.fraction
    }

    pub fn is_nan(self, bits: u64) -> bool {
        self.cut(bits) & !self.sign() > self.infinity()
    }

    /// The value, which f64 holds exactly.
    pub fn value(self, bits: u64) -> f64 {
        let bits = self.cut(bits);
        if self == F64 {
            return f64::from_bits(bits);
        }
        let magnitude = bits & !self.sign();
        let (field, low) = (magnitude >> self.fraction, magnitude & ((1 << self.fraction) - 1));
        let scale = 2f64.powi(-self.fraction);
        let value = if magnitude > self.infinity() {
            f64::NAN
        } else if magnitude == self.infinity() {
            f64::INFINITY
        } else if field == 0 {
            low as f64 * scale * 2f64.powi(1 - self.bias)
        } else {
            (1.0 + low as f64 * scale) * 2f64.powi(field as i32 - self.bias)
        };
        if bits & self.sign() != 0 { -value } else { value }
    }

    /// An exact number rounded to this format.
    pub fn round(self, x: &Exact, round: Round) -> u64 {
        x.round(self.width, self.fraction, self.bias, round)
    }

    /// The bits of an f64, rounded.
    pub fn bits(self, x: f64, round: Round) -> u64 {
        if x.is_nan() {
            self.nan
        } else if x.is_infinite() {
            self.infinity() | if x < 0.0 { self.sign() } else { 0 }
        } else {
            self.round(&Exact::of(x), round)
        }
    }

    /// `.ftz`.
    pub fn ftz(self, bits: u64) -> u64 {
        if bits & self.infinity() == 0 { bits & self.sign() } else { bits }
    }

    /// `.sat`.
    pub fn sat(self, bits: u64) -> u64 {
        match self.value(bits) {
            x if x >= 1.0 => self.one(),
            x if x > 0.0 => bits,
            _ => 0,
        }
    }

    /// `.relu`.
    pub fn relu(self, bits: u64) -> u64 {
        if self.is_nan(bits) {
            self.nan
        } else if bits & self.sign() != 0 {
            0
        } else {
            bits
        }
    }

    /// `.satfinite`.
    pub fn satfinite(self, bits: u64) -> u64 {
        if bits & !self.sign() == self.infinity() { bits - 1 } else { bits }
    }

    /// `add`, `sub`, `mul`, `fma`, `div`, `rcp`, `sqrt` of these bits.
    pub fn apply(self, operation: &str, bits: &[u64], round: Round) -> u64 {
        let v: Vec<f64> = bits.iter().map(|&b| self.value(b)).collect();
        let finite = v.iter().all(|x| x.is_finite());
        let e = |i: usize| Exact::of(v[i]);
        let native = match operation {
            "add" => v[0] + v[1],
            "sub" => v[0] - v[1],
            "mul" => v[0] * v[1],
            "fma" | "mad" if finite => 0.0,
            // Products of finite numbers must not overflow where f64 has no room for them.
            "fma" | "mad" if v[2].is_infinite() && v[0].is_finite() && v[1].is_finite() => v[2],
            "fma" | "mad" => v[0].mul_add(v[1], v[2]),
            "div" => v[0] / v[1],
            "rcp" => 1.0 / v[0],
            "sqrt" => v[0].sqrt(),
            _ => panic!("{operation} has no reference"),
        };
        let special = match operation {
            "div" => v[0] == 0.0 || v[1] == 0.0,
            "rcp" => v[0] == 0.0,
            "sqrt" => v[0] == 0.0 || native.is_nan(),
            _ => false,
        };
        if !finite || special {
            return self.bits(native, round);
        }
        let exact = match operation {
            "add" => e(0).plus(&e(1), round),
            "sub" => e(0).plus(&Exact::of(-v[1]), round),
            "mul" => e(0).times(&e(1)),
            "div" => e(0).over(&e(1)),
            "rcp" => Exact::of(1.0).over(&e(0)),
            "sqrt" => e(0).normalised().root(),
            _ => e(0).times(&e(1)).plus(&e(2), round),
        };
        self.round(&exact, round)
    }

    /// Values around which things go wrong, of both signs, and random ones.
    pub fn inputs(self, random: usize) -> Vec<u64> {
        let edges: Vec<u64> = match self.width {
            64 => EDGES64.to_vec(),
            32 => EDGES32.map(u64::from).to_vec(),
            _ => {
                let (inf, one) = (self.infinity(), self.one());
                let least = 1 << self.fraction;
                vec![
                    0,
                    1,
                    least - 1,
                    least,
                    least + 1,
                    one - 1,
                    one,
                    one + 1,
                    one + least,
                    inf - 1,
                    inf,
                    inf + 1,
                ]
            }
        };
        let mut source = Random(self.width as u64 + self.bias as u64);
        let mut all: Vec<u64> = edges.iter().flat_map(|&e| [e, e | self.sign()]).collect();
        // Half of them near each other, so that sums cancel.
        all.extend((0..random).map(|i| {
            let bits = self.cut(source.next());
            if i % 2 == 0 { bits } else { self.one() | bits & (self.sign() | ((1 << self.fraction) - 1)) }
        }));
        all
    }

    /// Rows of `n` operands: all pairs of edges for two, random ones for three.
    pub fn rows(self, n: usize) -> Vec<Vec<u64>> {
        let inputs = self.inputs(60);
        if n == 1 {
            return self.inputs(300).into_iter().map(|x| vec![x]).collect();
        }
        let edges = inputs.len() - 60;
        let mut random = Random(n as u64);
        let mut pick = || inputs[random.next() as usize % inputs.len()];
        let mut rows: Vec<Vec<u64>> = Vec::new();
        if n == 2 {
            let pairs = (0..edges).flat_map(|a| (0..edges).map(move |b| (a, b)));
            rows.extend(pairs.map(|(a, b)| vec![inputs[a], inputs[b]]));
        }
        rows.extend((0..700).map(|_| (0..n).map(|_| pick()).collect()));
        rows
    }
}

/// Rows of pairs: each row, and in the high halves the rows in reverse.
pub fn paired(rows: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let join = |(low, high): (&Vec<u64>, &Vec<u64>)| {
        low.iter().zip(high).map(|(l, h)| l & 0xffff | (h & 0xffff) << 16).collect()
    };
    rows.iter().zip(rows.iter().rev()).map(join).collect()
}

/// `f` of the low halves and of the high halves.
pub fn halves(row: &[u64], f: impl Fn(&[u64]) -> u64) -> u64 {
    let low: Vec<u64> = row.iter().map(|x| x & 0xffff).collect();
    let high: Vec<u64> = row.iter().map(|x| x >> 16 & 0xffff).collect();
    f(&low) | f(&high) << 16
}
