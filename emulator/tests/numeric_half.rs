//! `.f16` and `.bf16`: every value through every unary function, arithmetic against exact arithmetic.

mod exact;

use cuda_emulator::numeric::{Round, bf16, half, pair};
use exact::{Exact, Inputs, ROUNDS};

/// What the tests need to know of a 16-bit format.
struct Kind {
    fraction: i32,
    bias: i32,
    infinity: u16,
    to_f32: fn(u16) -> f32,
    to_f64: fn(u16) -> f64,
    from_f32: fn(f32) -> u16,
    from_f64: fn(f64, Round) -> u16,
    add: fn(u16, u16) -> u16,
    sub: fn(u16, u16) -> u16,
    mul: fn(u16, u16) -> u16,
    fma: fn(u16, u16, u16) -> u16,
    sat: fn(u16) -> u16,
    relu: fn(u16) -> u16,
    ftz: fn(u16) -> u16,
    satfinite: fn(u16) -> u16,
}

const F16: Kind = Kind {
    fraction: 10,
    bias: 15,
    infinity: 0x7c00,
    to_f32: half::to_f32,
    to_f64: half::to_f64,
    from_f32: half::from_f32,
    from_f64: half::from_f64,
    add: half::add,
    sub: half::sub,
    mul: half::mul,
    fma: half::fma,
    sat: half::sat,
    relu: half::relu,
    ftz: half::ftz,
    satfinite: half::satfinite,
};

const BF16: Kind = Kind {
    fraction: 7,
    bias: 127,
    infinity: 0x7f80,
    to_f32: bf16::to_f32,
    to_f64: bf16::to_f64,
    from_f32: bf16::from_f32,
    from_f64: bf16::from_f64,
    add: bf16::add,
    sub: bf16::sub,
    mul: bf16::mul,
    fma: bf16::fma,
    sat: bf16::sat,
    relu: bf16::relu,
    ftz: bf16::ftz,
    satfinite: bf16::satfinite,
};

impl Kind {
    /// The value by the definition of the format; infinities and NaN as such.
    fn value(&self, x: u16) -> f64 {
        let (field, low) = ((x & 0x7fff) >> self.fraction, x & ((1 << self.fraction) - 1));
        let sign = if x >> 15 == 1 { -1.0 } else { 1.0 };
        let one = 2f64.powi(self.fraction);
        match i32::from(field) {
            0 => sign * f64::from(low) * 2f64.powi(1 - self.bias - self.fraction),
            top if top == 2 * self.bias + 1 && low == 0 => sign * f64::INFINITY,
            top if top == 2 * self.bias + 1 => f64::NAN,
            e => sign * (one + f64::from(low)) * 2f64.powi(e - self.bias - self.fraction),
        }
    }

    fn round(&self, exact: &Exact, round: Round) -> u16 {
        exact.round(16, self.fraction, self.bias, round) as u16
    }

    /// The result where no rounding happens.
    fn special(&self, x: f64) -> u16 {
        if x.is_nan() {
            0x7fff
        } else {
            assert!(x.is_infinite());
            self.infinity | u16::from(x < 0.0) << 15
        }
    }

    fn check(&self, a: u16, b: u16, c: u16) {
        let [x, y, z] = [a, b, c].map(|v| self.value(v));
        let [p, q, r] = [x, y, z].map(|v| Exact::of(if v.is_finite() { v } else { 0.0 }));
        let rn = Round::Rn;
        let two = x.is_finite() && y.is_finite();
        let sum = if two { self.round(&p.plus(&q, rn), rn) } else { self.special(x + y) };
        assert_eq!((self.add)(a, b), sum, "{a:#x} + {b:#x}");
        let minus = Exact::of(if y.is_finite() { -y } else { 0.0 });
        let difference = if two { self.round(&p.plus(&minus, rn), rn) } else { self.special(x - y) };
        assert_eq!((self.sub)(a, b), difference, "{a:#x} - {b:#x}");
        let product = if two { self.round(&p.times(&q), rn) } else { self.special(x * y) };
        assert_eq!((self.mul)(a, b), product, "{a:#x} * {b:#x}");
        let fused = if two && z.is_finite() {
            self.round(&p.times(&q).plus(&r, rn), rn)
        } else {
            self.special(x * y + z)
        };
        assert_eq!((self.fma)(a, b, c), fused, "{a:#x} * {b:#x} + {c:#x}");
    }

    fn edges(&self) -> Vec<u16> {
        let one = (self.bias as u16) << self.fraction;
        let least = 1 << self.fraction;
        let around = [0, 1, 2, least - 1, least, least + 1, one - 1, one, one + 1, self.infinity - 2];
        let top = [self.infinity - 1, self.infinity, self.infinity + 1, 0x7fff, one + least / 2, least * 3];
        around.into_iter().chain(top).flat_map(|x| [x, x | 0x8000]).collect()
    }
}

#[test]
fn every_f16_and_bf16_widens_to_its_value() {
    for kind in [F16, BF16] {
        for x in 0..=u16::MAX {
            let value = kind.value(x);
            if value.is_nan() {
                assert_eq!((kind.to_f32)(x).to_bits(), 0x7fff_ffff, "{x:#x}");
                assert_eq!((kind.to_f64)(x).to_bits(), 0xfff8_0000_0000_0000, "{x:#x}");
            } else {
                assert_eq!(f64::from((kind.to_f32)(x)).to_bits(), value.to_bits(), "{x:#x}");
                assert_eq!((kind.to_f64)(x).to_bits(), value.to_bits(), "{x:#x}");
            }
        }
    }
}

#[test]
fn every_f16_and_bf16_survives_the_way_through_f32_and_f64() {
    for kind in [F16, BF16] {
        for x in 0..=u16::MAX {
            let expected = if kind.value(x).is_nan() { 0x7fff } else { x };
            assert_eq!((kind.from_f32)((kind.to_f32)(x)), expected, "{x:#x}");
            for round in ROUNDS {
                assert_eq!((kind.from_f64)((kind.to_f64)(x), round), expected, "{x:#x} {round:?}");
            }
        }
    }
}

#[test]
fn f32_between_neighbours_of_16_bits_rounds_to_nearest_even() {
    for kind in [F16, BF16] {
        // Around every value and every tie between two: the tie itself and both sides of it in f32.
        for x in 0..kind.infinity {
            let low = (kind.to_f32)(x).to_bits();
            let high = (kind.to_f32)(x + 1).to_bits().min(0x7f80_0000);
            let middle = if x + 1 == kind.infinity {
                low + (1 << (22 - kind.fraction))
            } else {
                (((f64::from(f32::from_bits(low)) + f64::from(f32::from_bits(high))) / 2.0) as f32).to_bits()
            };
            for bits in [low, low + 1, middle.saturating_sub(1), middle, middle + 1, high - 1] {
                for sign in [0, 0x8000_0000] {
                    let value = f32::from_bits(bits | sign);
                    let expected = kind.round(&Exact::of(f64::from(value)), Round::Rn);
                    assert_eq!((kind.from_f32)(value), expected, "{value:e}");
                }
            }
        }
    }
}

#[test]
fn f32_and_f64_round_to_16_bits_in_every_mode() {
    let mut inputs = Inputs(5);
    for kind in [F16, BF16] {
        for _ in 0..100_000 {
            let narrow = inputs.f32();
            let wide = if inputs.below(2) == 0 { inputs.f64() } else { f64::from(narrow) };
            if narrow.is_finite() {
                let expected = kind.round(&Exact::of(f64::from(narrow)), Round::Rn);
                assert_eq!((kind.from_f32)(narrow), expected, "{narrow:e}");
            }
            for round in ROUNDS {
                let finite = wide.is_finite();
                let expected = if finite { kind.round(&Exact::of(wide), round) } else { kind.special(wide) };
                assert_eq!((kind.from_f64)(wide, round), expected, "{wide:e} {round:?}");
            }
        }
    }
}

#[test]
fn f16_and_bf16_edges_compute_as_exact_arithmetic_does() {
    for kind in [F16, BF16] {
        let edges = kind.edges();
        for &a in &edges {
            for &b in &edges {
                for &c in &edges {
                    kind.check(a, b, c);
                }
            }
        }
    }
}

#[test]
fn f16_and_bf16_random_inputs_compute_as_exact_arithmetic_does() {
    let mut inputs = Inputs(6);
    for kind in [F16, BF16] {
        for _ in 0..200_000 {
            let (a, b) = (inputs.bits() as u16, inputs.bits() as u16);
            // Half of the addends near the product, where f64 or f32 alone would round twice.
            let product = (kind.from_f64)(kind.value(a) * kind.value(b), Round::Rz);
            let c = match inputs.below(3) {
                0 => inputs.bits() as u16,
                1 => product.wrapping_add(inputs.below(7) as u16).wrapping_sub(3) ^ 0x8000,
                _ => product ^ (inputs.bits() as u16 & 0x83ff),
            };
            kind.check(a, b, c);
        }
    }
}

#[test]
fn bf16_fma_does_not_round_twice() {
    // 0x3f81 * 1.5 lies halfway between two bf16, and the addend 2^-100 below it decides; f64 loses the addend.
    assert_eq!(bf16::fma(0x3f81, 0x3fc0, 0x8d80), 0x3fc1);
    assert_eq!(bf16::fma(0x3f81, 0x3fc0, 0x0d80), 0x3fc2);
}

#[test]
fn bf16_products_round_once_where_they_underflow() {
    // All significands, with exponents that put the product from below half the least bf16 up to the normal numbers.
    for (m, n) in (0x80..0x100u16).flat_map(|m| (0x80..0x100u16).map(move |n| (m, n))) {
        for field in 110..130 {
            // 2^-126 * 2^(field - 127): from 2^-143 to 2^-124.
            let (a, b) = (1 << 7 | m & 0x7f, field << 7 | n & 0x7f);
            let exact = Exact::of(BF16.value(a)).times(&Exact::of(BF16.value(b)));
            assert_eq!(bf16::mul(a, b), BF16.round(&exact, Round::Rn), "{a:#x} * {b:#x}");
        }
    }
}

#[test]
fn clamps_of_every_16_bit_value() {
    for kind in [F16, BF16] {
        let one = (kind.bias as u16) << kind.fraction;
        for x in 0..=u16::MAX {
            let value = kind.value(x);
            let sat = match value {
                v if v > 0.0 && v < 1.0 => x,
                v if v >= 1.0 => one,
                _ => 0,
            };
            assert_eq!((kind.sat)(x), sat, "{x:#x}");
            let relu = match value {
                v if v.is_nan() => 0x7fff,
                v if v > 0.0 => x,
                _ => 0,
            };
            assert_eq!((kind.relu)(x), relu, "{x:#x}");
            let subnormal = value != 0.0 && value.abs() < 2f64.powi(1 - kind.bias);
            assert_eq!((kind.ftz)(x), if subnormal { x & 0x8000 } else { x }, "{x:#x}");
            let finite = if value.is_infinite() { x & 0x8000 | (kind.infinity - 1) } else { x };
            assert_eq!((kind.satfinite)(x), finite, "{x:#x}");
        }
    }
}

#[test]
fn pairs_apply_a_function_to_each_half() {
    // (1, 2) + (3, -4) and 2 * (1, 3) + (4, 5), low halves first.
    assert_eq!(pair::map2(pair::join(0x3c00, 0x4000), pair::join(0x4200, 0xc400), half::add), 0xc000_4400);
    let twos = pair::join(0x4000, 0x4000);
    assert_eq!(
        pair::map3(twos, pair::join(0x3c00, 0x4200), pair::join(0x4400, 0x4500), half::fma),
        0x4980_4600
    );
    assert_eq!(pair::map1(0x3c00_bc00, half::neg), 0xbc00_3c00);
    assert_eq!(pair::map1(0xbc00_fe01, half::abs), 0x3c00_7e01);
}
