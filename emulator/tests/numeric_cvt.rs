//! `cvt` against integers of 128 bits, exact arithmetic, and searches over all values of a small format.

mod exact;

use cuda_emulator::numeric::cvt::{self, Int};
use cuda_emulator::numeric::{IntRound, Round, bf16, fp8, half, pair, tf32};
use exact::{EDGES32, EDGES64, Exact, Inputs, ROUNDS};
use std::cmp::Ordering;

const INT_ROUNDS: [IntRound; 4] = [IntRound::Rni, IntRound::Rzi, IntRound::Rmi, IntRound::Rpi];

/// A finite f64 rounded to an integer, by its definition on significand and exponent; huge values become ±2^100.
fn integer(x: f64, round: IntRound) -> i128 {
    let (field, low) = ((x.to_bits() >> 52 & 0x7ff) as i32, i128::from(x.to_bits() & ((1 << 52) - 1)));
    let size = if field == 0 { low } else { low + (1 << 52) };
    let (signed, exp) = (if x < 0.0 { -size } else { size }, field.max(1) - 1075);
    if exp >= 0 {
        return if exp > 40 { signed.signum() << 100 } else { signed << exp };
    }
    // Significands have 53 bits, so steps of 2^60 and more round alike.
    let unit = 1i128 << (-exp).min(60);
    let (floor, rest) = (signed.div_euclid(unit), signed.rem_euclid(unit));
    let up = match round {
        IntRound::Rni => match (2 * rest).cmp(&unit) {
            Ordering::Equal => floor % 2 != 0,
            order => order.is_gt(),
        },
        IntRound::Rzi => signed < 0 && rest != 0,
        IntRound::Rmi => false,
        IntRound::Rpi => rest != 0,
    };
    floor + i128::from(up)
}

fn check_to_int<I: Int>(x: f64, min: i128, max: i128) {
    for round in INT_ROUNDS {
        let clamped = |x: f64| match x {
            x if x == f64::INFINITY => max,
            x if x == f64::NEG_INFINITY => min,
            x => integer(x, round).clamp(min, max),
        };
        let top = if min < 0 { min } else { 1 << (I::BITS - 1) };
        let wide = if x.is_nan() { top } else { clamped(x) };
        assert_eq!(cvt::f64_to_int::<I>(x, round).widen(), wide, "{x:e} to [{min}, {max}] {round:?}");
        let narrow = x as f32;
        let expected = match (narrow.is_nan(), I::BITS) {
            (true, 64) => top,
            (true, _) => 0,
            (false, _) => clamped(f64::from(narrow)),
        };
        let got = cvt::f32_to_int::<I>(narrow, round).widen();
        assert_eq!(got, expected, "{narrow:e} to [{min}, {max}] {round:?}");
    }
}

fn check_to_ints(x: f64) {
    check_to_int::<u8>(x, 0, 255);
    check_to_int::<u16>(x, 0, 65_535);
    check_to_int::<u32>(x, 0, u32::MAX.into());
    check_to_int::<u64>(x, 0, u64::MAX.into());
    check_to_int::<i8>(x, -128, 127);
    check_to_int::<i16>(x, -32_768, 32_767);
    check_to_int::<i32>(x, i32::MIN.into(), i32::MAX.into());
    check_to_int::<i64>(x, i64::MIN.into(), i64::MAX.into());
}

#[test]
fn floats_become_the_integer_that_the_mode_names_clamped_to_the_type() {
    let mut inputs = Inputs(7);
    for e in EDGES32 {
        check_to_ints(f64::from(f32::from_bits(e)));
        check_to_ints(-f64::from(f32::from_bits(e)));
    }
    for e in EDGES64 {
        check_to_ints(f64::from_bits(e));
        check_to_ints(-f64::from_bits(e));
    }
    for bits in 0..=65 {
        for quarters in -6..=6 {
            // Around the limits of every type, at halves and quarters where f64 has them.
            check_to_ints(2f64.powi(bits) + f64::from(quarters) / 4.0);
            check_to_ints(-2f64.powi(bits) + f64::from(quarters) / 4.0);
        }
    }
    for _ in 0..20_000 {
        let exponent = inputs.below(80) as i32 - 8;
        check_to_ints((inputs.bits() as i64) as f64 * 2f64.powi(exponent - 63));
        check_to_ints(inputs.f64());
    }
}

fn check_from_int<I: Int + std::fmt::Debug>(x: I) {
    let value = x.widen();
    let exact = Exact::new(value < 0, value.unsigned_abs(), 0);
    for round in ROUNDS {
        let f32 = exact.round(32, 23, 127, round) as u32;
        assert_eq!(cvt::int_to_f32(x, round).to_bits(), f32, "{x:?} {round:?}");
        assert_eq!(cvt::int_to_f64(x, round).to_bits(), exact.round(64, 52, 1023, round), "{x:?} {round:?}");
        assert_eq!(cvt::int_to_f16(x, round), exact.round(16, 10, 15, round) as u16, "{x:?} {round:?}");
        assert_eq!(cvt::int_to_bf16(x, round), exact.round(16, 7, 127, round) as u16, "{x:?} {round:?}");
    }
}

#[test]
fn integers_of_every_type_round_to_floats_in_every_mode() {
    let mut inputs = Inputs(8);
    let near = (0..64).flat_map(|bit| [(1u64 << bit).wrapping_sub(1), 1 << bit, (1 << bit) + 1]);
    let near = near.chain([0, u64::MAX, u64::MAX - 1, 2049, 65_519, 65_520, 65_535]);
    let random = (0..20_000).map(|_| inputs.bits() >> inputs.below(64)).collect::<Vec<_>>();
    for x in near.chain(random) {
        check_from_int(x);
        check_from_int(x as i64);
        check_from_int((x as i64).wrapping_neg());
        check_from_int(x as u32);
        check_from_int(x as i32);
        check_from_int((x as i32).wrapping_neg());
        check_from_int(x as u16);
        check_from_int(x as i16);
        check_from_int(x as u8);
        check_from_int(x as i8);
    }
}

#[test]
fn integers_saturate_to_the_destination() {
    assert_eq!(<u8 as Int>::saturate(-1), 0);
    assert_eq!(<u8 as Int>::saturate(256), 255);
    assert_eq!(<i8 as Int>::saturate(128), 127);
    assert_eq!(<i8 as Int>::saturate(-129), -128);
    assert_eq!(<i32 as Int>::saturate(u64::MAX.into()), i32::MAX);
    assert_eq!(<u64 as Int>::saturate(i64::MIN.into()), 0);
    assert_eq!(<i64 as Int>::saturate(u64::MAX.into()), i64::MAX);
    assert_eq!(<i16 as Int>::saturate(-77), -77);
}

#[test]
fn floats_round_to_integral_values_and_keep_the_sign_of_zero() {
    let mut inputs = Inputs(9);
    let expected = |x: f64, round| match x {
        x if !x.is_finite() || x.abs() >= 2f64.powi(60) => x,
        x => (integer(x, round) as f64).copysign(x),
    };
    let same = |got: f64, x: f64, round| {
        let right = if x.is_nan() { got.is_nan() } else { got.to_bits() == expected(x, round).to_bits() };
        assert!(right, "{x:e} {round:?} gives {got:e}");
    };
    for round in INT_ROUNDS {
        for x in 0..=u16::MAX {
            same(half::to_f64(cvt::round_f16(x, round)), half::to_f64(x), round);
            same(bf16::to_f64(cvt::round_bf16(x, round)), bf16::to_f64(x), round);
        }
        for _ in 0..20_000 {
            let (narrow, wide) = (inputs.f32(), inputs.f64());
            same(f64::from(cvt::round_f32(narrow, round)), f64::from(narrow), round);
            same(cvt::round_f64(wide, round), wide, round);
        }
    }
    assert_eq!(cvt::round_f32(-0.5, IntRound::Rni).to_bits(), 0x8000_0000);
    assert_eq!(cvt::round_f16(0xfe01, IntRound::Rni), 0x7fff);
}

#[test]
fn pairs_of_f32_pack_the_first_into_the_high_half() {
    assert_eq!(cvt::f32_to_f16x2(1.0, 2.0, Round::Rn), 0x3c00_4000);
    assert_eq!(cvt::f32_to_bf16x2(1.0, 2.0, Round::Rn), 0x3f80_4000);
    // 1 + 2^-11 is halfway between two f16; only rounding up moves it.
    let between = 1.0 + 2f32.powi(-11);
    assert_eq!(cvt::f32_to_f16x2(between, -between, Round::Rp), 0x3c01_bc00);
    assert_eq!(cvt::f32_to_f16x2(between, -between, Round::Rm), 0x3c00_bc01);
    assert_eq!(cvt::f32_to_f16x2(1e9, -1e9, Round::Rz), 0x7bff_fbff);
    assert_eq!(cvt::f32_to_bf16x2(f32::MAX, f32::MAX, Round::Rz), 0x7f7f_7f7f);
    assert_eq!(pair::map1(cvt::f32_to_f16x2(f32::INFINITY, -1e9, Round::Rn), half::satfinite), 0x7bff_fbff);
    assert_eq!(cvt::f32_to_f64(f32::from_bits(0xff80_0001)).to_bits(), 0xfff8_0000_0000_0000);
}

#[test]
fn tf32_keeps_ten_bits_of_fraction() {
    let mut inputs = Inputs(10);
    for i in 0..100_000 {
        // Every third input is a tie or beside one.
        let mut x = inputs.f32();
        if i % 3 == 0 {
            x = f32::from_bits((x.to_bits() & !0x1fff) + 0xfff + inputs.below(3) as u32);
        }
        if !x.is_finite() {
            continue;
        }
        let exact = Exact::of(f64::from(x));
        let at = |round| (exact.round(19, 10, 127, round) as u32) << 13;
        assert_eq!(tf32::from_f32_rn(x).to_bits(), at(Round::Rn), "{x:e}");
        assert_eq!(tf32::from_f32_rz(x).to_bits(), at(Round::Rz), "{x:e}");
        let inner = f64::from(f32::from_bits(at(Round::Rz)));
        let outer = at(Round::Rz) + if f64::from(x) == inner { 0 } else { 0x2000 };
        // The neighbour of the largest tf32 would be 2^128.
        let far = if outer & 0x7fff_ffff == 0x7f80_0000 {
            2f64.powi(128).copysign(inner)
        } else {
            f64::from(f32::from_bits(outer))
        };
        let nearer_in = (f64::from(x) - inner).abs() < (far - f64::from(x)).abs();
        assert_eq!(tf32::from_f32_rna(x).to_bits(), if nearer_in { at(Round::Rz) } else { outer }, "{x:e}");
    }
    for convert in [tf32::from_f32_rn, tf32::from_f32_rz, tf32::from_f32_rna] {
        assert_eq!(convert(f32::from_bits(0xff80_0001)).to_bits(), 0x7fff_ffff);
        assert_eq!(convert(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }
    assert_eq!(tf32::satfinite(f32::NEG_INFINITY).to_bits(), 0xff7f_e000);
    assert_eq!(tf32::satfinite(1.5), 1.5);
    assert_eq!(tf32::relu(-0.0).to_bits(), 0);
    assert_eq!(tf32::relu(-2.0).to_bits(), 0);
    assert_eq!(tf32::relu(f32::from_bits(0x7fff_ffff)).to_bits(), 0x7fff_ffff);
}

/// The value of an e4m3 or e5m2 without its sign, by the definition of the format; NaN where it is none.
fn fp8_value(x: u8, fraction: i32, bias: i32, largest: u8) -> f64 {
    let (field, low) = (i32::from(x >> fraction), f64::from(x & ((1 << fraction) - 1)));
    match field {
        _ if x > largest => f64::NAN,
        0 => low * 2f64.powi(1 - bias - fraction),
        _ => (low + 2f64.powi(fraction)) * 2f64.powi(field - bias - fraction),
    }
}

#[test]
fn fp8_rounds_to_the_nearest_of_all_its_values() {
    let mut inputs = Inputs(11);
    let e4m3: Vec<f64> = (0..=0x7e).map(|x| fp8_value(x, 3, 7, 0x7e)).collect();
    let e5m2: Vec<f64> = (0..=0x7b).map(|x| fp8_value(x, 2, 15, 0x7b)).collect();
    assert_eq!((e4m3[0x7e], e5m2[0x7b]), (448.0, 57344.0));
    let converts: [fn(f32) -> u8; 2] = [fp8::e4m3_from_f32, fp8::e5m2_from_f32];
    for (values, convert) in [e4m3, e5m2].iter().zip(converts) {
        let ties = values.windows(2).map(|pair| ((pair[0] + pair[1]) / 2.0) as f32);
        let beside = ties.flat_map(|x| [x, x.next_up(), x.next_down()]);
        let random = (0..20_000).map(|_| inputs.f32()).filter(|x| !x.is_nan()).collect::<Vec<_>>();
        for x in beside.chain(random).chain([460.0, 464.0, 480.0, 1e9, 61440.0, 65536.0, f32::INFINITY]) {
            let size = f64::from(x.abs()).min(1e6);
            let distance = |i: &usize| ((values[*i] - size).abs(), i % 2);
            let nearest = (0..values.len()).min_by(|i, j| distance(i).partial_cmp(&distance(j)).unwrap());
            let expected = nearest.unwrap() as u8 | u8::from(x.is_sign_negative()) << 7;
            assert_eq!(convert(x), expected, "{x:e}");
        }
        assert_eq!(convert(f32::NAN), 0x7f);
        assert_eq!(convert(-f32::NAN), 0x7f);
    }
}

#[test]
fn every_fp8_widens_to_its_value() {
    for x in 0..=u8::MAX {
        let sign = if x < 0x80 { 1.0 } else { -1.0 };
        let e4m3 = sign * fp8_value(x & 0x7f, 3, 7, 0x7e);
        let expected = if e4m3.is_nan() { 0x7fff } else { half::from_f64(e4m3, Round::Rn) };
        assert_eq!(fp8::e4m3_to_f16(x), expected, "{x:#x}");
        let e5m2 = sign * if x & 0x7f == 0x7c { f64::INFINITY } else { fp8_value(x & 0x7f, 2, 15, 0x7b) };
        let expected = if e5m2.is_nan() { 0x7fff } else { half::from_f64(e5m2, Round::Rn) };
        assert_eq!(fp8::e5m2_to_f16(x), expected, "{x:#x}");
    }
}

#[test]
fn fp8_packs_the_first_into_the_high_byte() {
    assert_eq!(fp8::pack_f32(1.0, -2.0, fp8::e4m3_from_f32), 0x38c0);
    assert_eq!(fp8::pack_f32(1.0, -2.0, fp8::e5m2_from_f32), 0x3cc0);
    assert_eq!(fp8::pack_f16x2(0x3c00_c000, fp8::e4m3_from_f32), 0x38c0);
    assert_eq!(fp8::unpack(0x38c0, fp8::e4m3_to_f16), 0x3c00_c000);
    assert_eq!(fp8::unpack(0x3cc0, fp8::e5m2_to_f16), 0x3c00_c000);
    assert_eq!(fp8::pack_f32(-3.0, f32::NAN, |x| fp8::relu(fp8::e4m3_from_f32(x))), 0x007f);
}
