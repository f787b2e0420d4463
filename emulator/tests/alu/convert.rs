//! Conversions against exact numbers.

use crate::exact::Exact;
use crate::harness::{EDGES, form, instruction, rows};
use crate::reference::{BF16, F16, F32, F64, Float, ROUNDS, halves, paired};
use cuda_emulator::numeric::Round;

const INTS: [(&str, u32, bool); 8] = [
    ("u8", 8, false),
    ("u16", 16, false),
    ("u32", 32, false),
    ("u64", 64, false),
    ("s8", 8, true),
    ("s16", 16, true),
    ("s32", 32, true),
    ("s64", 64, true),
];
const FLOATS: [(&str, Float); 4] = [("f16", F16), ("bf16", BF16), ("f32", F32), ("f64", F64)];

fn value(x: u64, bits: u32, s: bool) -> i128 {
    if s { crate::harness::signed(x, bits) } else { crate::harness::unsigned(x, bits) }
}

/// The registers that may hold a value of this many bits: as wide, or wider.
fn registers(bits: u32) -> impl Iterator<Item = &'static str> {
    [("b8", 8), ("b16", 16), ("b32", 32), ("b64", 64)].into_iter().filter(move |r| r.1 >= bits).map(|r| r.0)
}

fn register(bits: u32) -> &'static str {
    registers(bits).next().expect("no type is wider than 64 bits")
}

fn least(bits: u32, s: bool) -> i128 {
    if s { -(1 << (bits - 1)) } else { 0 }
}

fn greatest(bits: u32, s: bool) -> i128 {
    (1 << (bits - u32::from(s))) - 1
}

#[test]
fn integers_are_cut_or_extended_from_and_to_registers_of_any_width() {
    let rows = rows(&[&EDGES], 50);
    for (source, from, source_signed) in INTS {
        for (d, to, d_signed) in INTS {
            for a in registers(from) {
                for r in registers(to) {
                    let text = format!("cvt.{d}.{source} %d0, %s0");
                    form(&text, &[r], &[a]).check(&rows, |row| {
                        // Cut to the destination's type, then extended to the register by its sign.
                        value(value(row[0], from, source_signed) as u64, to, d_signed) as u64
                    });
                }
            }
            instruction(&format!("cvt.sat.{d}.{source}"), register(to), &[register(from)]).check(
                &rows,
                |row| {
                    value(row[0], from, source_signed).clamp(least(to, d_signed), greatest(to, d_signed))
                        as u64
                },
            );
        }
    }
}

type Integral = fn(f64) -> f64;
const INTEGRAL: [(&str, Integral); 4] =
    [(".rni", f64::round_ties_even), (".rzi", f64::trunc), (".rmi", f64::floor), (".rpi", f64::ceil)];

/// Values of the format around those of integer types, too.
fn floats(f: Float) -> Vec<Vec<u64>> {
    let mut rows = f.rows(1);
    for bits in [7, 8, 15, 16, 31, 32, 63, 64] {
        let power = f.bits(2f64.powi(bits), Round::Rn);
        if power != f.infinity() {
            for near in [power - 1, power, power + 1] {
                rows.extend([vec![near], vec![near | 1 << (f.width - 1)]]);
            }
        }
    }
    for quarters in -20..20 {
        rows.push(vec![f.bits(f64::from(quarters) / 4.0, Round::Rn)]);
    }
    rows
}

#[test]
fn floats_to_integers_round_and_clamp() {
    for (source, f) in FLOATS {
        let rows = floats(f);
        for (d, bits, s) in INTS {
            for (mode, round) in INTEGRAL {
                for ftz in [false, true].into_iter().filter(|&ftz| f == F32 || !ftz) {
                    let expected = |r: &[u64]| {
                        let x = f.value(if ftz { f.ftz(r[0]) } else { r[0] });
                        if x.is_nan() {
                            // 0, or the topmost bit alone where 64 bits are involved.
                            return if bits == 64 || f == F64 { 1 << (bits - 1) } else { 0 };
                        }
                        // `as` clamps to i128, whose range holds every type's.
                        (round(x) as i128).clamp(least(bits, s), greatest(bits, s)) as u64
                    };
                    let text = if ftz { ".ftz" } else { "" };
                    instruction(
                        &format!("cvt{mode}{text}.{d}.{source}"),
                        register(bits),
                        &[register(f.width)],
                    )
                    .check(&rows, expected);
                    if mode == ".rzi" {
                        instruction(
                            &format!("cvt{mode}{text}.sat.{d}.{source}"),
                            register(bits),
                            &[register(f.width)],
                        )
                        .check(&rows, expected);
                    }
                }
            }
        }
    }
}

#[test]
fn integers_to_floats_round_once() {
    let rows = rows(&[&EDGES, &[0]], 150);
    for (source, bits, s) in INTS {
        for (d, f) in FLOATS {
            for (mode, round) in ROUNDS {
                let expected = |r: &[u64]| {
                    let x = value(r[0], bits, s);
                    f.round(&Exact::new(x < 0, x.unsigned_abs(), 0), round)
                };
                let i = instruction(&format!("cvt{mode}.{d}.{source}"), register(f.width), &[register(bits)]);
                i.check(&rows, expected);
                if mode == ".rn" {
                    instruction(&format!("cvt{mode}.sat.{d}.{source}"), register(f.width), &[register(bits)])
                        .check(&rows, |r| f.sat(expected(r)));
                }
            }
        }
    }
}

#[test]
fn floats_to_floats_round_once_or_are_exact() {
    for (source, from) in FLOATS {
        let rows = floats(from);
        for (d, to) in FLOATS.into_iter().filter(|(d, _)| *d != source) {
            let wider = to.width > from.width;
            for (mode, round) in if wider { &[("", Round::Rn)][..] } else { &ROUNDS } {
                for (text, ftz, sat) in [
                    ("", false, false),
                    (".ftz", true, false),
                    (".sat", false, true),
                    (".ftz.sat", true, true),
                ] {
                    if ftz && from != F32 && to != F32 {
                        continue;
                    }
                    let opcode = format!("cvt{mode}{text}.{d}.{source}");
                    instruction(&opcode, register(to.width), &[register(from.width)]).check(&rows, |r| {
                        let x = if ftz && from == F32 { from.ftz(r[0]) } else { r[0] };
                        let x = to.bits(from.value(x), *round);
                        let x = if ftz && to == F32 { to.ftz(x) } else { x };
                        if sat { to.sat(x) } else { x }
                    });
                }
            }
        }
    }
}

#[test]
fn floats_to_their_own_type() {
    for (ty, f) in FLOATS {
        let rows = floats(f);
        let modes = [&[("", (|x| x) as Integral)], &INTEGRAL[..]].concat();
        for (mode, round) in modes {
            for (text, ftz, sat) in
                [("", false, false), (".ftz", true, false), (".sat", false, true), (".ftz.sat", true, true)]
            {
                if ftz && f != F32 {
                    continue;
                }
                let r = register(f.width);
                instruction(&format!("cvt{mode}{text}.{ty}.{ty}"), r, &[r]).check(&rows, |row| {
                    let x = if ftz { f.ftz(row[0]) } else { row[0] };
                    let x = f.bits(round(f.value(x)), Round::Rn);
                    if sat { f.sat(x) } else { x }
                });
            }
        }
    }
}

#[test]
fn pairs_of_halves_with_relu_and_satfinite() {
    let (one, two) = (floats(F32), F32.rows(2));
    for (d, f) in [("f16", F16), ("bf16", BF16)] {
        for (mode, round) in &ROUNDS[..2] {
            for (text, relu, satfinite) in [
                ("", false, false),
                (".relu", true, false),
                (".satfinite", false, true),
                (".relu.satfinite", true, true),
            ] {
                let convert = |x: u64| {
                    let x = f.bits(F32.value(x), *round);
                    let x = if satfinite { f.satfinite(x) } else { x };
                    if relu { f.relu(x) } else { x }
                };
                instruction(&format!("cvt{mode}{text}.{d}.f32"), "b16", &["b32"])
                    .check(&one, |r| convert(r[0]));
                // The first operand goes to the high half.
                instruction(&format!("cvt{mode}{text}.{d}x2.f32"), "b32", &["b32"; 2])
                    .check(&two, |r| convert(r[0]) << 16 | convert(r[1]));
            }
        }
    }
}

/// The nearest of the 8-bit format's values, by search: `value` gives what each code stands for.
fn nearest(x: f64, value: impl Fn(u8) -> f64, largest: u8) -> u64 {
    if x.is_nan() {
        return 0x7f;
    }
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let size = x.abs().min(value(largest));
    let near = (0..=largest).min_by(|&a, &b| {
        let distance = |code: u8| (value(code) - size).abs();
        distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)))
    });
    u64::from(near.unwrap_or(0) | sign)
}

/// The value of the magnitude `code` in a format of 8 bits without regard to its special values.
fn byte(code: u8, fraction: i32, bias: i32) -> f64 {
    let (field, low) = (i32::from(code >> fraction), f64::from(code & ((1 << fraction) - 1)));
    let scale = 2f64.powi(-fraction);
    if field == 0 { low * scale * 2f64.powi(1 - bias) } else { (1.0 + low * scale) * 2f64.powi(field - bias) }
}

#[test]
fn pairs_of_bytes() {
    for (ty, fraction, bias, largest, nan) in
        [("e4m3x2", 3, 7, 0x7eu8, 0x7fu8), ("e5m2x2", 2, 15, 0x7b, 0x7d)]
    {
        let convert = |x: f64, relu: bool| {
            let code = nearest(x, |code| byte(code, fraction, bias), largest);
            if relu && code & 0x80 != 0 { 0 } else { code }
        };
        let two = F32.rows(2).into_iter().chain((0..400).map(|i| {
            [f64::from(i) * 0.37 - 60.0, 2f64.powi(i % 30 - 18) * 1.3]
                .map(|x| F32.bits(x, Round::Rn))
                .to_vec()
        }));
        let (two, pairs) = (two.collect::<Vec<_>>(), paired(&floats(F16)));
        for (text, relu) in [("", false), (".relu", true)] {
            instruction(&format!("cvt.rn.satfinite{text}.{ty}.f32"), "b16", &["b32"; 2])
                .check(&two, |r| convert(F32.value(r[0]), relu) << 8 | convert(F32.value(r[1]), relu));
            instruction(&format!("cvt.rn.satfinite{text}.{ty}.f16x2"), "b16", &["b32"]).check(&pairs, |r| {
                convert(F16.value(r[0] >> 16), relu) << 8 | convert(F16.value(r[0] & 0xffff), relu)
            });
            let all: Vec<Vec<u64>> = (0..0x1_0000).step_by(7).map(|x| vec![x]).collect();
            let back = |code: u64| {
                let magnitude = (code & 0x7f) as u8;
                let size = if magnitude >= nan { f64::NAN } else { byte(magnitude, fraction, bias) };
                // 0x7c of e5m2 is infinity, which the formula takes for 2^16.
                let size = if size >= 65536.0 { f64::INFINITY } else { size };
                let x = F16.bits(if code & 0x80 != 0 { -size } else { size }, Round::Rn);
                if relu { F16.relu(x) } else { x }
            };
            instruction(&format!("cvt.rn{text}.f16x2.{ty}"), "b32", &["b16"])
                .check(&all, |r| back(r[0] >> 8) << 16 | back(r[0] & 0xff));
        }
    }
}

#[test]
fn tf32_keeps_ten_bits_of_fraction() {
    // Ties away from zero are what adding half and cutting does.
    let kept = |x: u64, mode: &str| {
        if F32.is_nan(x) {
            return 0x7fff_ffff;
        }
        let half = match mode {
            "rna" => 0x1000,
            "rn" => 0xfff + (x >> 13 & 1),
            _ => 0,
        };
        (x + half) & !0x1fff
    };
    for mode in ["rna", "rn", "rz"] {
        let i = instruction(&format!("cvt.{mode}.tf32.f32"), "b32", &["b32"]);
        i.check(&floats(F32), |r| kept(r[0], mode));
    }
    instruction("cvt.rn.relu.tf32.f32", "b32", &["b32"]).check(&floats(F32), |r| F32.relu(kept(r[0], "rn")));
    instruction("cvt.rna.satfinite.tf32.f32", "b32", &["b32"]).check(&floats(F32), |r| {
        match kept(r[0], "rna") {
            0x7f80_0000 => 0x7f7f_e000,
            0xff80_0000 => 0xff7f_e000,
            other => other,
        }
    });
}

#[test]
fn the_halves_helper_sees_both_halves() {
    assert_eq!(halves(&[0x0002_0001], |h| h[0] + 1), 0x0003_0002);
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |opcode: &str, d, sources: &[&'static str], why: &str| {
        let message = instruction(opcode, d, sources).refusal();
        assert!(message.contains(why), "{opcode}: {message}");
    };
    refused("cvt.s32.f32", "b32", &["b32"], "has no rounding, expected one of .rni");
    refused("cvt.rz.s32.f32", "b32", &["b32"], "do not go with rounding");
    refused("cvt.f32.s32", "b32", &["b32"], "has no rounding, expected one of .rn");
    refused("cvt.rni.f32.s32", "b32", &["b32"], "do not go with rounding to integers");
    refused("cvt.f32.f64", "b32", &["b64"], "has no rounding");
    refused("cvt.rn.f64.f32", "b64", &["b32"], "do not go with rounding");
    refused("cvt.rn.f32.f32", "b32", &["b32"], "do not go with rounding");
    refused("cvt.rn.s32.u32", "b32", &["b32"], "do not go with rounding");
    refused("cvt.ftz.s32.u32", "b32", &["b32"], ".ftz");
    refused("cvt.rn.ftz.f16.f64", "b16", &["b64"], ".ftz");
    refused("cvt.rm.relu.f16.f32", "b16", &["b32"], "go with .rn and .rz");
    refused("cvt.rn.relu.f16.f64", "b16", &["b64"], "go with .rn and .rz");
    refused("cvt.rn.f16x2.f32", "b32", &["b32"], "has 2 operands, expected 3");
    refused("cvt.rm.f16x2.f32", "b32", &["b32"; 2], "has no rounding .rn or .rz");
    refused("cvt.rs.f16x2.f32", "b32", &["b32"; 3], "found modifier .rs");
    refused("cvt.rn.e4m3x2.f32", "b16", &["b32"; 2], "has no modifier .satfinite");
    refused("cvt.rn.satfinite.e2m1x2.f32", "b16", &["b32"; 2], "found modifier .e2m1x2");
    refused("cvt.rna.f16.f32", "b16", &["b32"], "found modifier .rna");
    refused("cvt.u32.b32", "b32", &["b32"], "found modifier .b32");
    refused("cvt.u32.u64", "b16", &["b64"], "register %d0 has type B16");
    refused("cvt.u64.u32", "b64", &["b16"], "register %s0 has type B16");
    refused("cvt.u32.u32", "pred", &["b32"], "register %d0 has type Pred");
    for (opcode, d, sources, target) in [
        ("cvt.rn.bf16.f32", "b16", &["b32"][..], 80),
        ("cvt.rm.bf16.f32", "b16", &["b32"], 90),
        ("cvt.f32.bf16", "b32", &["b16"], 90),
        ("cvt.rn.bf16.s32", "b16", &["b32"], 90),
        ("cvt.rn.relu.f16.f32", "b16", &["b32"], 80),
        ("cvt.rn.f16x2.f32", "b32", &["b32", "b32"], 80),
        ("cvt.rna.tf32.f32", "b32", &["b32"], 80),
        ("cvt.rn.tf32.f32", "b32", &["b32"], 90),
        ("cvt.rn.satfinite.e4m3x2.f32", "b16", &["b32", "b32"], 89),
        ("cvt.rn.f16x2.e5m2x2", "b32", &["b16"], 89),
    ] {
        let message = instruction(opcode, d, sources).target(target - 1).refusal();
        assert!(message.contains(&format!("needs .target sm_{target}")), "{opcode}: {message}");
    }
}
