//! `min`, `max`, comparisons, classes and `copysign`, over all pairs of edges.

mod exact;

use cuda_emulator::numeric::compare::{self, Class, Compare};
use cuda_emulator::numeric::minmax::{self, Mode};
use cuda_emulator::numeric::{bf16, half};
use exact::{EDGES32, EDGES64};
use std::cmp::Ordering;

const MODES: [Mode; 4] = [
    Mode { nan: false, xorsign_abs: false },
    Mode { nan: true, xorsign_abs: false },
    Mode { nan: false, xorsign_abs: true },
    Mode { nan: true, xorsign_abs: true },
];

fn signed32() -> Vec<u32> {
    EDGES32.iter().flat_map(|&e| [e, e | 0x8000_0000]).collect()
}

/// Numbers in ascending order, -0 before +0.
fn order(a: f64, b: f64) -> Ordering {
    a.total_cmp(&b)
}

/// `min` or `max` as the ISA words it, on values of any width: the sign of the result, and its magnitude, or none for NaN.
fn select(a: f64, b: f64, mode: Mode, wanted: Ordering) -> Option<f64> {
    let sign = if a.is_sign_negative() == b.is_sign_negative() { 1.0 } else { -1.0 };
    let (x, y) = if mode.xorsign_abs { (a.abs(), b.abs()) } else { (a, b) };
    let chosen = match (x.is_nan(), y.is_nan()) {
        (true, true) => return None,
        (true, _) | (_, true) if mode.nan => return None,
        (true, false) => y,
        (false, true) => x,
        _ if order(x, y) == wanted => x,
        _ => y,
    };
    Some(if mode.xorsign_abs { chosen.copysign(sign) } else { chosen })
}

#[test]
fn f32_min_and_max_follow_the_isa_for_all_pairs_of_edges() {
    let edges = signed32();
    for &a in &edges {
        for &b in &edges {
            let (a, b) = (f32::from_bits(a), f32::from_bits(b));
            for mode in MODES {
                let expected = |wanted| {
                    // `f64::from` keeps the sign of a NaN, which `.xorsign` never shows.
                    select(a.into(), b.into(), mode, wanted).map_or(0x7fff_ffff, |x| (x as f32).to_bits())
                };
                let (min, max) = (expected(Ordering::Less), expected(Ordering::Greater));
                assert_eq!(minmax::min32_mode(a, b, mode).to_bits(), min, "min {a:e} {b:e} {mode:?}");
                assert_eq!(minmax::max32_mode(a, b, mode).to_bits(), max, "max {a:e} {b:e} {mode:?}");
                if mode == Mode::default() {
                    assert_eq!(minmax::min32(a, b).to_bits(), min, "min {a:e} {b:e}");
                    assert_eq!(minmax::max32(a, b).to_bits(), max, "max {a:e} {b:e}");
                }
            }
        }
    }
}

#[test]
fn f64_min_and_max_follow_the_isa_for_all_pairs_of_edges() {
    let edges: Vec<f64> = EDGES64.iter().map(|&e| f64::from_bits(e)).flat_map(|e| [e, -e]).collect();
    for &a in &edges {
        for &b in &edges {
            let expected =
                |wanted| select(a, b, Mode::default(), wanted).map_or(0xfff8_0000_0000_0000, f64::to_bits);
            assert_eq!(minmax::min64(a, b).to_bits(), expected(Ordering::Less), "min {a:e} {b:e}");
            assert_eq!(minmax::max64(a, b).to_bits(), expected(Ordering::Greater), "max {a:e} {b:e}");
        }
    }
}

#[test]
fn f16_and_bf16_min_and_max_follow_the_isa() {
    let around = |infinity: u16, least: u16| {
        let some =
            [0, 1, least - 1, least, 0x3c00, 0x3f80, 0x3f81, infinity - 1, infinity, infinity + 1, 0x7fff];
        some.into_iter().flat_map(|x| [x, x | 0x8000]).collect::<Vec<u16>>()
    };
    for mode in MODES {
        for &b in &around(half::INF, 0x400) {
            for a in 0..=u16::MAX {
                let expected = |wanted| {
                    select(
                        half::to_f64(a & 0x7fff).copysign(sign(a)),
                        half::to_f64(b & 0x7fff).copysign(sign(b)),
                        mode,
                        wanted,
                    )
                    .map_or(0x7fff, |x| half::from_f32(x as f32))
                };
                let (min, max) = (expected(Ordering::Less), expected(Ordering::Greater));
                assert_eq!(minmax::min16::<{ half::INF }>(a, b, mode), min, "min {a:#x} {b:#x} {mode:?}");
                assert_eq!(minmax::max16::<{ half::INF }>(a, b, mode), max, "max {a:#x} {b:#x} {mode:?}");
            }
        }
        for &b in &around(bf16::INF, 0x80) {
            for a in 0..=u16::MAX {
                let expected = |wanted| {
                    select(
                        bf16::to_f64(a & 0x7fff).copysign(sign(a)),
                        bf16::to_f64(b & 0x7fff).copysign(sign(b)),
                        mode,
                        wanted,
                    )
                    .map_or(0x7fff, |x| bf16::from_f32(x as f32))
                };
                let (min, max) = (expected(Ordering::Less), expected(Ordering::Greater));
                assert_eq!(minmax::min16::<{ bf16::INF }>(a, b, mode), min, "min {a:#x} {b:#x} {mode:?}");
                assert_eq!(minmax::max16::<{ bf16::INF }>(a, b, mode), max, "max {a:#x} {b:#x} {mode:?}");
            }
        }
    }
}

fn sign(x: u16) -> f64 {
    if x & 0x8000 == 0 { 1.0 } else { -1.0 }
}

#[test]
fn three_inputs_give_the_least_and_greatest_number() {
    let nan = f32::NAN;
    assert_eq!(minmax::min32_of3(3.0, -1.0, 2.0, false, false), -1.0);
    assert_eq!(minmax::max32_of3(3.0, -5.0, 2.0, false, true), 5.0);
    assert_eq!(minmax::min32_of3(nan, 4.0, nan, false, false), 4.0);
    assert_eq!(minmax::max32_of3(nan, nan, nan, false, false).to_bits(), 0x7fff_ffff);
    for place in 0..3 {
        let mut inputs = [1.0, 2.0, 3.0];
        inputs[place] = nan;
        let [a, b, c] = inputs;
        assert_eq!(minmax::min32_of3(a, b, c, true, false).to_bits(), 0x7fff_ffff, "{inputs:?}");
        assert_eq!(minmax::max32_of3(a, b, c, true, true).to_bits(), 0x7fff_ffff, "{inputs:?}");
    }
}

/// The operators, and for which outcomes each holds: less, equal, greater, unordered.
const OPERATORS: [(Compare, [bool; 4]); 14] = [
    (Compare::Eq, [false, true, false, false]),
    (Compare::Ne, [true, false, true, false]),
    (Compare::Lt, [true, false, false, false]),
    (Compare::Le, [true, true, false, false]),
    (Compare::Gt, [false, false, true, false]),
    (Compare::Ge, [false, true, true, false]),
    (Compare::Equ, [false, true, false, true]),
    (Compare::Neu, [true, false, true, true]),
    (Compare::Ltu, [true, false, false, true]),
    (Compare::Leu, [true, true, false, true]),
    (Compare::Gtu, [false, false, true, true]),
    (Compare::Geu, [false, true, true, true]),
    (Compare::Num, [true, true, true, false]),
    (Compare::Nan, [false, false, false, true]),
];

#[test]
fn comparison_operators_hold_for_the_outcomes_of_the_isa() {
    let values = [f32::NEG_INFINITY, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, f32::INFINITY, f32::NAN, -f32::NAN];
    // -0 equals +0; every other place in the list is its own.
    let rank = |i: usize| [0, 1, 2, 3, 3, 4, 5, 6][i];
    for (i, &a) in values.iter().enumerate() {
        for (j, &b) in values.iter().enumerate() {
            let outcome = match i >= 8 || j >= 8 {
                true => 3,
                false => [Ordering::Less, Ordering::Equal, Ordering::Greater]
                    .iter()
                    .position(|&o| o == Ord::cmp(&rank(i), &rank(j)))
                    .unwrap(),
            };
            for (op, holds) in OPERATORS {
                assert_eq!(compare::compare32(op, a, b), holds[outcome], "{a:e} {op:?} {b:e}");
                assert_eq!(compare::compare64(op, a.into(), b.into()), holds[outcome], "{a:e} {op:?} {b:e}");
            }
        }
    }
}

#[test]
fn classes_of_testp_count_zero_as_normal() {
    use Class::*;
    let cases = [
        (0x0000_0000, [Finite, Number, Normal].as_slice()),
        (0x8000_0000, &[Finite, Number, Normal]),
        (0x0000_0001, &[Finite, Number, Subnormal]),
        (0x807f_ffff, &[Finite, Number, Subnormal]),
        (0x0080_0000, &[Finite, Number, Normal]),
        (0x7f7f_ffff, &[Finite, Number, Normal]),
        (0xff80_0000, &[Infinite, Number]),
        (0x7fff_ffff, &[NotANumber]),
        (0xff80_0001, &[NotANumber]),
    ];
    for (bits, classes) in cases {
        for class in [Finite, Infinite, Number, NotANumber, Normal, Subnormal] {
            let x = f32::from_bits(bits);
            assert_eq!(compare::testp32(class, x), classes.contains(&class), "{bits:#x} {class:?}");
        }
    }
    assert!(compare::testp64(Subnormal, f64::from_bits(1)) && compare::testp64(Normal, -0.0));
}

#[test]
fn copysign_takes_the_sign_of_its_first_operand() {
    assert_eq!(compare::copysign32(-1.0, 3.0), -3.0);
    assert_eq!(compare::copysign32(0.0, -3.0), 3.0);
    assert_eq!(compare::copysign32(-0.0, f32::from_bits(0x7f80_0001)).to_bits(), 0xff80_0001);
    assert_eq!(compare::copysign64(-1.0, 0.0).to_bits(), 1 << 63);
}
