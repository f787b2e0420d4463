//! Floating-point instructions against exact numbers rounded by definition.

use crate::harness::instruction;
use crate::reference::{BF16, F16, F32, F64, Float, ROUNDS, halves, paired};
use cuda_emulator::numeric::Round;

/// The modifiers of a form after its rounding.
#[derive(Clone, Copy)]
struct Last {
    text: &'static str,
    ftz: bool,
    sat: bool,
    relu: bool,
}

const fn last(text: &'static str, ftz: bool, sat: bool, relu: bool) -> Last {
    Last { text, ftz, sat, relu }
}

const NOTHING: Last = last("", false, false, false);
const FTZ: Last = last(".ftz", true, false, false);
const SAT: Last = last(".sat", false, true, false);
const FTZ_SAT: Last = last(".ftz.sat", true, true, false);
const RELU: Last = last(".relu", false, false, true);
const FTZ_RELU: Last = last(".ftz.relu", true, false, true);

fn expected(f: Float, operation: &str, row: &[u64], round: Round, m: Last) -> u64 {
    let row: Vec<u64> = row.iter().map(|&x| if m.ftz { f.ftz(x) } else { x }).collect();
    let mut d = f.apply(operation, &row, round);
    if m.ftz {
        d = f.ftz(d);
    }
    if m.sat {
        d = f.sat(d);
    }
    if m.relu { f.relu(d) } else { d }
}

/// Checks `operation` with these roundings and modifiers, on `n` sources.
fn check(
    f: Float,
    ty: &'static str,
    operation: &str,
    n: usize,
    rounds: &[(&str, Round)],
    modifiers: &[Last],
) {
    let pair = ty.ends_with("x2");
    let rows = if pair { paired(&f.rows(n)) } else { f.rows(n) };
    for &(text, round) in rounds {
        for &m in modifiers {
            let opcode = format!("{operation}{text}{}.{ty}", m.text);
            instruction(&opcode, ty, &vec![ty; n]).check(&rows, |row| match pair {
                true => halves(row, |half| expected(f, operation, half, round, m)),
                false => expected(f, operation, row, round, m),
            });
        }
    }
}

const DEFAULT: [(&str, Round); 2] = [("", Round::Rn), (".rn", Round::Rn)];

#[test]
fn f32_sums_and_products_round_once_in_every_mode() {
    let all = [&[("", Round::Rn)], &ROUNDS[..]].concat();
    for operation in ["add", "sub", "mul"] {
        check(F32, "f32", operation, 2, &all, &[NOTHING, FTZ, SAT, FTZ_SAT]);
    }
    for operation in ["fma", "mad"] {
        check(F32, "f32", operation, 3, &ROUNDS, &[NOTHING, FTZ, SAT, FTZ_SAT]);
    }
}

#[test]
fn f64_sums_and_products_round_once_in_every_mode() {
    let all = [&[("", Round::Rn)], &ROUNDS[..]].concat();
    for operation in ["add", "sub", "mul"] {
        check(F64, "f64", operation, 2, &all, &[NOTHING]);
    }
    for operation in ["fma", "mad"] {
        check(F64, "f64", operation, 3, &ROUNDS, &[NOTHING]);
    }
}

#[test]
fn quotients_and_roots_round_once_in_every_mode() {
    check(F32, "f32", "div", 2, &ROUNDS, &[NOTHING, FTZ]);
    check(F64, "f64", "div", 2, &ROUNDS, &[NOTHING]);
    for operation in ["rcp", "sqrt"] {
        check(F32, "f32", operation, 1, &ROUNDS, &[NOTHING, FTZ]);
        check(F64, "f64", operation, 1, &ROUNDS, &[NOTHING]);
    }
}

#[test]
fn f16_arithmetic_single_and_packed() {
    for ty in ["f16", "f16x2"] {
        for operation in ["add", "sub", "mul"] {
            check(F16, ty, operation, 2, &DEFAULT, &[NOTHING, FTZ, SAT, FTZ_SAT]);
        }
        check(F16, ty, "fma", 3, &ROUNDS[..1], &[NOTHING, FTZ, SAT, FTZ_SAT, RELU, FTZ_RELU]);
    }
}

#[test]
fn bf16_arithmetic_single_and_packed() {
    for ty in ["bf16", "bf16x2"] {
        for operation in ["add", "sub", "mul"] {
            check(BF16, ty, operation, 2, &DEFAULT, &[NOTHING]);
        }
        check(BF16, ty, "fma", 3, &ROUNDS[..1], &[NOTHING, RELU]);
    }
}

#[test]
fn abs_and_neg_change_the_sign_alone() {
    let types: [(&'static str, Float, bool); 6] = [
        ("f32", F32, true),
        ("f64", F64, false),
        ("f16", F16, true),
        ("bf16", BF16, false),
        ("f16x2", F16, true),
        ("bf16x2", BF16, false),
    ];
    for (ty, f, has_ftz) in types {
        let pair = ty.ends_with("x2");
        let rows: Vec<Vec<u64>> = f.rows(1).into_iter().filter(|r| !f.is_nan(r[0])).collect();
        let rows = if pair { paired(&rows) } else { rows };
        let sign = 1 << (f.width - 1);
        for (opcode, abs) in [("abs", true), ("neg", false)] {
            for (text, ftz) in [("", false), (".ftz", true)] {
                if ftz && !has_ftz {
                    continue;
                }
                let one = |x: u64| {
                    let x = if ftz { f.ftz(x) } else { x };
                    if abs { x & !sign } else { x ^ sign }
                };
                instruction(&format!("{opcode}{text}.{ty}"), ty, &[ty]).check(&rows, |row| match pair {
                    true => halves(row, |half| one(half[0])),
                    false => one(row[0]),
                });
            }
        }
    }
}

#[test]
fn newer_forms_need_their_target() {
    for (opcode, ty, n, target) in [
        ("fma.rn.relu.f16", "f16", 3, 80),
        ("fma.rn.bf16", "bf16", 3, 80),
        ("fma.rn.bf16x2", "bf16x2", 3, 80),
        ("add.bf16", "bf16", 2, 90),
        ("mul.rn.bf16x2", "bf16x2", 2, 90),
        ("neg.bf16", "bf16", 1, 80),
        ("max.f16x2", "f16x2", 2, 80),
        ("min.NaN.f32", "f32", 2, 80),
        ("min.xorsign.abs.f32", "f32", 2, 86),
        ("max.f32", "f32", 3, 100),
    ] {
        let i = instruction(opcode, ty, &vec![ty; n]).target(target - 1);
        let message = i.refusal();
        assert!(message.contains(&format!("needs .target sm_{target}")), "{opcode}: {message}");
    }
    for opcode in ["add.f16x2", "fma.rn.f16", "mul.ftz.sat.f16"] {
        let ty = if opcode.ends_with("x2") { "f16x2" } else { "f16" };
        let n = if opcode.starts_with("fma") { 3 } else { 2 };
        instruction(opcode, ty, &vec![ty; n]).target(75).run(&[vec![0; n]]);
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |opcode: &str, ty: &'static str, n: usize, why: &str| {
        let message = instruction(opcode, ty, &vec![ty; n]).refusal();
        assert!(message.contains(why), "{opcode}: {message}");
    };
    refused("fma.f32", "f32", 3, "has no rounding");
    refused("fma.f16", "f16", 3, "has no rounding");
    refused("mad.f64", "f64", 3, "has no rounding");
    refused("add.rna.f32", "f32", 2, "found modifier .rna");
    refused("add.sat.ftz.f32", "f32", 2, "found modifier .ftz");
    refused("add.ftz.rn.f32", "f32", 2, "found modifier .rn");
    refused("add.ftz.f64", "f64", 2, "found modifier .f64");
    refused("add.sat.f64", "f64", 2, "found modifier .f64");
    refused("add.relu.f16", "f16", 2, "modifier .relu is one of fma alone");
    refused("add.rz.f16", "f16", 2, "found modifier .rz");
    refused("fma.rn.sat.bf16", "bf16", 3, "found modifier .bf16");
    refused("fma.rn.oob.f16", "f16", 3, "found modifier .oob");
    refused("fma.rn.s32", "b32", 3, "found type .s32, expected one of floats");
    refused("div.f32", "f32", 2, "has no rounding");
    refused("div.full.f64", "f64", 2, "found modifier .f64");
    refused("rcp.full.f32", "f32", 1, "has no rounding");
    refused("rsqrt.rn.f32", "f32", 1, "found modifier .rn, expected one of .approx");
    refused("rcp.approx.f64", "f64", 1, "found modifier .f64");
    refused("sin.f32", "f32", 1, "found modifier .f32, expected one of .approx");
    refused("tanh.approx.ftz.f32", "f32", 1, "found modifier .ftz");
    refused("ex2.approx.bf16", "bf16", 1, "found modifier .bf16");
    refused("abs.ftz.f64", "f64", 1, "found modifier .f64");
    refused("add.f32x2", "b64", 2, "found modifier .f32x2");
}
