//! Numbers to compute with and to compare: random inputs, small float formats in double precision, and results with a bound
//! of their error.

/// Relative error of one rounding to fp32.
pub const U32: f64 = 1.0 / (1u64 << 24) as f64;
/// Relative error of one rounding to fp16.
pub const U16: f64 = 1.0 / (1u64 << 11) as f64;
/// Half of the least subnormal fp16: the error of one rounding of a tiny number.
pub const TINY16: f64 = 1.0 / (1u64 << 25) as f64;

/// Random numbers (splitmix64), the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Between -1 and 1.
    pub fn signed(&mut self) -> f32 {
        (self.u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| scale * self.signed()).collect()
    }

    pub fn halves(&mut self, n: usize, scale: f32) -> Vec<u16> {
        (0..n).map(|_| F16.encode(f64::from(scale * self.signed())) as u16).collect()
    }

    pub fn words(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.u32()).collect()
    }
}

/// A binary float format of at most 32 bits.
#[derive(Clone, Copy)]
pub struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
    /// Whether the largest exponent holds infinities; otherwise only its all-ones fraction is not a number.
    infinities: bool,
}

pub const F16: Format = Format { exponent_bits: 5, fraction_bits: 10, infinities: true };
pub const BF16: Format = Format { exponent_bits: 8, fraction_bits: 7, infinities: true };
pub const E4M3: Format = Format { exponent_bits: 4, fraction_bits: 3, infinities: false };
pub const E5M2: Format = Format { exponent_bits: 5, fraction_bits: 2, infinities: true };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    /// The bits of what `x` is rounded to, the nearest with ties to even; too large is infinity, or held to the largest.
    pub fn encode(self, x: f64) -> u32 {
        let sign = u32::from(x.is_sign_negative()) << (self.exponent_bits + self.fraction_bits);
        let top = ((1u32 << self.exponent_bits) - 1) << self.fraction_bits;
        if x.is_nan() {
            return sign | top | ((1 << self.fraction_bits) - 1);
        }
        // The distance of neighbours near x is a power of two: x in units of it is exact, and rounds as an integer does.
        let exponent = ((x.abs().to_bits() >> 52) as i32 - 1023).max(1 - self.bias());
        let unit = 2f64.powi(exponent - self.fraction_bits as i32);
        let rounded = if x.is_infinite() { f64::INFINITY } else { (x.abs() / unit).round_ties_even() };
        let least_infinite = if self.infinities { top } else { top + (1 << self.fraction_bits) - 1 };
        let significand = rounded.min(f64::from(4u32 << self.fraction_bits)) as u32;
        // A subnormal has exponent field 0 and no hidden bit; carries run into the exponent by themselves.
        let field = ((exponent + self.bias() - 1) as u32) << self.fraction_bits;
        sign | field.saturating_add(significand).min(least_infinite)
    }

    /// As `encode`, but too large is the largest finite number.
    pub fn encode_finite(self, x: f64) -> u32 {
        let sign = 1u32 << (self.exponent_bits + self.fraction_bits);
        let top = ((1u32 << self.exponent_bits) - 1) << self.fraction_bits;
        let largest = if self.infinities { top - 1 } else { top + (1 << self.fraction_bits) - 2 };
        let bits = self.encode(x);
        if x.is_nan() { bits } else { bits & sign | (bits & !sign).min(largest) }
    }

    pub fn decode(self, bits: u32) -> f64 {
        let fraction = bits & ((1 << self.fraction_bits) - 1);
        let field = bits >> self.fraction_bits & ((1 << self.exponent_bits) - 1);
        let negative = bits >> (self.exponent_bits + self.fraction_bits) & 1 == 1;
        let last = field == (1 << self.exponent_bits) - 1;
        let all_ones = fraction == (1 << self.fraction_bits) - 1;
        let unit = |exponent: i32| 2f64.powi(exponent - self.bias() - self.fraction_bits as i32);
        let magnitude = match field {
            _ if last && self.infinities && fraction == 0 => f64::INFINITY,
            _ if last && (self.infinities || all_ones) => f64::NAN,
            0 => f64::from(fraction) * unit(1),
            _ => f64::from(fraction + (1 << self.fraction_bits)) * unit(field as i32),
        };
        if negative { -magnitude } else { magnitude }
    }

    /// What `x` is rounded to.
    pub fn round(self, x: f64) -> f64 {
        self.decode(self.encode(x))
    }
}

pub fn half(bits: u16) -> f64 {
    F16.decode(u32::from(bits))
}

/// A result in double precision, and how far from it a correct kernel may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounded {
    pub value: f64,
    pub error: f64,
}

impl Bounded {
    pub fn exact(value: f64) -> Bounded {
        Bounded { value, error: 0.0 }
    }

    /// Rounded once more, with relative error `unit`.
    pub fn rounded(self, unit: f64) -> Bounded {
        Bounded { error: self.error + unit * (self.value.abs() + self.error), ..self }
    }
}

/// The sum of products with `start`, added up in fp32 in any order: each of the sums of the longest chain rounds once, by at most the sum
/// of the magnitudes.
pub fn dot(start: f64, products: impl Iterator<Item = f64>) -> Bounded {
    let (mut value, mut magnitude, mut n) = (start, start.abs(), 1);
    for p in products {
        value += p;
        magnitude += p.abs();
        n += 1;
    }
    Bounded { value, error: f64::from(n) * U32 * magnitude }
}

/// The tanh form of GELU of fp32: its slope is below 1.13, and its dozen roundings and the tanh (2 units in the last place)
/// each change it by no more than 2 units of `|x|`.
pub fn gelu(x: Bounded) -> Bounded {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x.value + 0.044715 * x.value.powi(3));
    let value = 0.5 * x.value * (1.0 + inner.tanh());
    Bounded { value, error: 1.13 * x.error + 24.0 * U32 * (x.value.abs() + x.error) }
}

impl std::ops::Add<f64> for Bounded {
    type Output = Bounded;

    /// The sum with an exact fp32 number, rounded.
    fn add(self, other: f64) -> Bounded {
        Bounded { value: self.value + other, ..self }.rounded(U32)
    }
}

/// Fails unless each result is within its bound; NaN never is.
pub fn assert_within(what: &str, got: impl IntoIterator<Item = f64>, want: &[Bounded]) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), want.len(), "{what}: results");
    for (i, (&g, w)) in got.iter().zip(want).enumerate() {
        let off = (g - w.value).abs();
        assert!(off <= w.error, "{what}: element {i} is {g}, expected {} within {:e}", w.value, w.error);
    }
}

#[test]
fn formats_decode_what_they_encode_and_round_to_nearest_even() {
    for format in [F16, BF16, E4M3, E5M2] {
        let n = 1u32 << (format.exponent_bits + format.fraction_bits);
        for bits in 0..n {
            let x = format.decode(bits);
            if !x.is_nan() {
                assert_eq!(format.encode(x), bits, "{x}");
                assert_eq!(format.encode(-x), bits | n, "-{x}");
            }
            let next = format.decode(bits + 1);
            if bits + 1 < n && next.is_finite() {
                let middle = 0.5 * (x + next);
                assert_eq!(format.encode(middle), bits + bits % 2, "between {x} and {next}");
                assert_eq!(format.encode(middle * (1.0 + 1e-12)), bits + 1, "above {middle}");
            }
        }
    }
    assert_eq!((F16.encode(65519.0), F16.encode(65520.0)), (0x7bff, 0x7c00));
    assert_eq!((E4M3.encode_finite(1e9), E4M3.decode(0x7e)), (0x7e, 448.0));
    assert_eq!((E5M2.encode_finite(-1e9), E5M2.decode(0x7b)), (0xfb, 57344.0));
}
