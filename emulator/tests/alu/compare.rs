//! Comparisons and choices against definitions by words.

use crate::harness::{EDGES, form, instruction, rows, signed, unsigned};
use crate::reference::{BF16, F16, F32, F64, Float, paired};
use std::cmp::Ordering::{self, Equal, Greater, Less};

/// Whether an operator holds for an order, or for none where a NaN is among the operands.
fn holds(operator: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        return operator.ends_with('u') && operator.len() == 3 || operator == "nan";
    };
    match operator.trim_end_matches('u') {
        "eq" => order == Equal,
        "ne" => order != Equal,
        "lt" | "lo" => order == Less,
        "le" | "ls" => order != Greater,
        "gt" | "hi" => order == Greater,
        "ge" | "hs" => order != Less,
        "num" => true,
        "nan" => false,
        _ => panic!("{operator} is not known"),
    }
}

const ORDERS: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const UNSIGNED: [&str; 10] = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];
const FLOATS: [&str; 14] =
    ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];
type Join = (&'static str, fn(bool, bool) -> bool);
const JOINS: [Join; 4] =
    [("", |a, _| a), (".and", |a, b| a && b), (".or", |a, b| a || b), (".xor", |a, b| a != b)];

#[test]
fn setp_of_integers() {
    let rows = rows(&[&EDGES, &EDGES], 60);
    for (bits, b) in [(16, "b16"), (32, "b32"), (64, "b64")] {
        let check = |operator: &str, kind: &str, order: &dyn Fn(&[u64]) -> Ordering| {
            instruction(&format!("setp.{operator}.{kind}{bits}"), "pred", &[b, b])
                .check(&rows, |r| u64::from(holds(operator, Some(order(r)))));
        };
        let u = |r: &[u64]| unsigned(r[0], bits).cmp(&unsigned(r[1], bits));
        let s = |r: &[u64]| signed(r[0], bits).cmp(&signed(r[1], bits));
        ORDERS[..2].iter().for_each(|o| check(o, "b", &u));
        UNSIGNED.iter().for_each(|o| check(o, "u", &u));
        ORDERS.iter().for_each(|o| check(o, "s", &s));
    }
}

/// The order of two values, `.ftz` applied.
fn order(f: Float, a: u64, b: u64, ftz: bool) -> Option<Ordering> {
    let value = |x| f.value(if ftz { f.ftz(x) } else { x });
    value(a).partial_cmp(&value(b))
}

#[test]
fn setp_of_floats() {
    for (ty, f, flushes) in
        [("f32", F32, true), ("f64", F64, false), ("f16", F16, true), ("bf16", BF16, false)]
    {
        let rows = f.rows(2);
        for operator in FLOATS {
            for (text, ftz) in [("", false), (".ftz", true)].into_iter().filter(|m| flushes || !m.1) {
                instruction(&format!("setp.{operator}{text}.{ty}"), "pred", &[ty, ty])
                    .check(&rows, |r| u64::from(holds(operator, order(f, r[0], r[1], ftz))));
            }
        }
    }
}

#[test]
fn setp_joins_with_a_predicate_and_writes_the_opposite() {
    let rows = rows(&[&[0, 1, 5], &[1, 5], &[0, 1]], 0);
    for (text, join) in JOINS {
        for (negation, c) in [("", 0), ("!", 1)] {
            let operand = if text.is_empty() { String::new() } else { format!(", {negation}%s2") };
            let expected = |r: &[u64], compared: bool| u64::from(join(compared, r[2] ^ c == 1));
            let sources = ["b32", "b32", "pred"];
            let full = format!("setp.lt{text}.u32 %d0|%d1, %s0, %s1{operand}");
            for (r, found) in rows.iter().zip(form(&full, &["pred", "pred"], &sources).run_all(&rows)) {
                assert_eq!(found, [expected(r, r[0] < r[1]), expected(r, r[0] >= r[1])], "{full} {r:?}");
            }
            form(&format!("setp.lt{text}.u32 %d0, %s0, %s1{operand}"), &["pred"], &sources)
                .check(&rows, |r| expected(r, r[0] < r[1]));
            form(&format!("setp.lt{text}.u32 _|%d0, %s0, %s1{operand}"), &["pred"], &sources)
                .check(&rows, |r| expected(r, r[0] >= r[1]));
        }
    }
    // The predicate joined with may be the destination, and the guard too.
    let text = "{ @%s2 setp.eq.and.u32 %s2|%d0, %s0, %s1, %s2; mov.pred %d1, %s2; }";
    let found = form(text, &["pred", "pred"], &["b32", "b32", "pred"]).run_on_every_isa(&rows);
    for (r, found) in rows.iter().zip(found) {
        let equal = u64::from(r[0] == r[1]);
        let before = crate::harness::cut(crate::harness::BEFORE, "pred");
        let expected = if r[2] == 1 { [1 - equal, equal] } else { [before, 0] };
        assert_eq!(found, expected, "{r:?}");
    }
}

#[test]
fn setp_of_pairs_writes_a_predicate_for_each_half() {
    for (ty, f) in [("f16x2", F16), ("bf16x2", BF16)] {
        let rows: Vec<Vec<u64>> = paired(&f.rows(2))
            .into_iter()
            .enumerate()
            .map(|(i, row)| [row, vec![i as u64 / 3 % 2]].concat())
            .collect();
        for operator in FLOATS {
            for (text, join) in JOINS {
                let operand = if text.is_empty() { "" } else { ", %s2" };
                let text = format!("setp.{operator}{text}.{ty} %d0|%d1, %s0, %s1{operand}");
                for (r, found) in
                    rows.iter().zip(form(&text, &["pred"; 2], &["b32", "b32", "pred"]).run_all(&rows))
                {
                    let half = |place: u32| {
                        u64::from(join(
                            holds(operator, order(f, r[0] >> place, r[1] >> place, false)),
                            r[2] == 1,
                        ))
                    };
                    assert_eq!(found, [half(0), half(16)], "{text} {r:x?}");
                }
            }
        }
    }
}

#[test]
fn set_writes_ones_of_its_type() {
    let integers = rows(&[&EDGES, &EDGES, &[0, 1]], 0);
    for (d, truth) in
        [("u32", 0xffff_ffff), ("s32", 0xffff_ffff), ("f32", 0x3f80_0000), ("f16", 0x3c00), ("bf16", 0x3f80)]
    {
        let register = if truth < 0x1_0000 { "b16" } else { "b32" };
        form(&format!("set.lt.{d}.s32 %d0, %s0, %s1"), &[register], &["b32"; 2])
            .check(&integers, |r| if signed(r[0], 32) < signed(r[1], 32) { truth } else { 0 });
        form(&format!("set.lt.xor.{d}.s32 %d0, %s0, %s1, !%s2"), &[register], &["b32", "b32", "pred"]).check(
            &integers,
            |r| if (signed(r[0], 32) < signed(r[1], 32)) != (r[2] == 0) { truth } else { 0 },
        );
    }
    let halves: [(&str, &'static str, u64); 5] = [
        ("f16", "b16", 0x3c00),
        ("u16", "b16", 0xffff),
        ("s16", "b16", 0xffff),
        ("u32", "b32", 0xffff_ffff),
        ("s32", "b32", 0xffff_ffff),
    ];
    for (d, register, truth) in halves {
        form(&format!("set.leu.{d}.f16 %d0, %s0, %s1"), &[register], &["b16"; 2])
            .check(&F16.rows(2), |r| if holds("leu", order(F16, r[0], r[1], false)) { truth } else { 0 });
    }
    for (d, ty, f, truth) in [
        ("f16x2", "f16x2", F16, 0x3c00),
        ("u32", "f16x2", F16, 0xffff),
        ("bf16x2", "bf16x2", BF16, 0x3f80),
        ("s32", "bf16x2", BF16, 0xffff),
    ] {
        let rows = paired(&f.rows(2));
        instruction(&format!("set.gt.{d}.{ty}"), "b32", &["b32"; 2]).check(&rows, |r| {
            let half = |place: u32| {
                if holds("gt", order(f, r[0] >> place, r[1] >> place, false)) { truth } else { 0 }
            };
            half(0) | half(16) << 16
        });
    }
    instruction("set.eq.ftz.f32.f32", "b32", &["b32"; 2])
        .check(&F32.rows(2), |r| if holds("eq", order(F32, r[0], r[1], true)) { 0x3f80_0000 } else { 0 });
}

#[test]
fn choices() {
    let rows = rows(&[&EDGES, &EDGES, &[0, 1]], 0);
    for ty in ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"] {
        instruction(&format!("selp.{ty}"), ty, &[ty, ty, "pred"])
            .check(&rows, |r| if r[2] == 1 { r[0] } else { r[1] });
        let by: [u64; 8] =
            [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x8000_0001, 0x7fc0_0000, 0xbf80_0000];
        let rows = crate::harness::rows(&[&[0x1111_2222_3333_4444], &[0x5555_6666_7777_8888], &by], 0);
        instruction(&format!("slct.{ty}.s32"), ty, &[ty, ty, "b32"])
            .check(&rows, |r| if signed(r[2], 32) >= 0 { r[0] } else { r[1] });
        for (text, ftz) in [("", false), (".ftz", true)] {
            instruction(&format!("slct{text}.{ty}.f32"), ty, &[ty, ty, "b32"]).check(&rows, |r| {
                let c = F32.value(if ftz { F32.ftz(r[2]) } else { r[2] });
                if c >= 0.0 { r[0] } else { r[1] }
            });
        }
    }
}

/// `min` (`wanted` is `Less`) or `max` of the values.
fn extreme(f: Float, bits: &[u64], wanted: Ordering, nan: bool) -> u64 {
    let numbers: Vec<u64> = bits.iter().copied().filter(|&x| !f.is_nan(x)).collect();
    if numbers.is_empty() || nan && numbers.len() < bits.len() {
        return f.nan;
    }
    let better = |a: u64, b: u64| if f.value(b).total_cmp(&f.value(a)) == wanted { b } else { a };
    numbers.into_iter().reduce(better).unwrap_or(f.nan)
}

#[test]
fn min_and_max_of_floats() {
    for (opcode, wanted) in [("min", Less), ("max", Greater)] {
        let check = |ty: &'static str, f: Float, text: &str, n: usize| {
            let (ftz, nan) = (text.contains("ftz"), text.contains("NaN"));
            let (xorsign, abs) = (text.contains("xorsign"), text.contains("abs"));
            let sign = 1 << (f.width - 1);
            let one = |row: &[u64]| {
                let flushed: Vec<u64> = row.iter().map(|&x| if ftz { f.ftz(x) } else { x }).collect();
                let sources: Vec<u64> = flushed.iter().map(|&x| if abs { x & !sign } else { x }).collect();
                let d = extreme(f, &sources, wanted, nan);
                if xorsign && !f.is_nan(d) { d | (flushed[0] ^ flushed[1]) & sign } else { d }
            };
            let pair = ty.ends_with("x2");
            let rows = if pair { paired(&f.rows(n)) } else { f.rows(n) };
            let i = instruction(&format!("{opcode}{text}.{ty}"), ty, &vec![ty; n]);
            i.target(if n == 3 { 100 } else { 90 }).check(&rows, |row| match pair {
                true => crate::reference::halves(row, one),
                false => one(row),
            });
        };
        let all = ["", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs"];
        let flushed = [".ftz", ".ftz.NaN", ".ftz.xorsign.abs", ".ftz.NaN.xorsign.abs"];
        check("f64", F64, "", 2);
        for text in all.iter().chain(&flushed) {
            check("f32", F32, text, 2);
            check("f16", F16, text, 2);
            check("f16x2", F16, text, 2);
        }
        for text in all {
            check("bf16", BF16, text, 2);
            check("bf16x2", BF16, text, 2);
        }
        for text in ["", ".ftz", ".NaN", ".abs", ".ftz.NaN.abs"] {
            check("f32", F32, text, 3);
        }
    }
}

#[test]
fn classes_and_signs() {
    for (ty, f) in [("f32", F32), ("f64", F64)] {
        let sign = 1 << (f.width - 1);
        type Class = fn(f64, bool) -> bool;
        let classes: [(&str, Class); 6] = [
            ("finite", |x, _| x.is_finite()),
            ("infinite", |x, _| x.is_infinite()),
            ("number", |x, _| !x.is_nan()),
            ("notanumber", |x, _| x.is_nan()),
            ("normal", |x, subnormal| x.is_finite() && !subnormal),
            ("subnormal", |_, subnormal| subnormal),
        ];
        for (class, holds) in classes {
            instruction(&format!("testp.{class}.{ty}"), "pred", &[ty]).check(&f.rows(1), |r| {
                let subnormal = f.ftz(r[0]) != r[0];
                u64::from(holds(f.value(r[0]), subnormal))
            });
        }
        instruction(&format!("copysign.{ty}"), ty, &[ty, ty])
            .check(&f.rows(2), |r| r[0] & sign | r[1] & !sign);
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |opcode: &str, d, sources: &[&'static str], why: &str| {
        let message = instruction(opcode, d, sources).refusal();
        assert!(message.contains(why), "{opcode}: {message}");
    };
    refused("setp.lt.b32", "pred", &["b32"; 2], "operator .lt is not one of .b32");
    refused("setp.lo.s32", "pred", &["b32"; 2], "operator .lo is not one of .s32");
    refused("setp.ltu.s32", "pred", &["b32"; 2], "operator .ltu is not one of .s32");
    refused("setp.lo.f32", "pred", &["b32"; 2], "operator .lo is not one of .f32");
    refused("setp.lt.ftz.f64", "pred", &["b64"; 2], "modifier .ftz is not one of F64");
    refused("setp.lt.nand.s32", "pred", &["b32"; 2], "found modifier .nand");
    refused("setp.lt.and.s32", "pred", &["b32"; 2], "has 3 operands, expected 4");
    refused("setp.lt.s32", "pred", &["b32", "b32", "pred"], "has 4 operands, expected 3");
    refused("setp.lt.s32", "b32", &["b32"; 2], "register %d0 has type B32");
    refused("setp.lt.s8", "pred", &["b32"; 2], "found modifier .s8");
    refused("setp.lt.f16x2", "pred", &["b32"; 2], "expected p|q");
    refused("set.lt.f64.s32", "b64", &["b32"; 2], "found modifier .f64");
    refused("set.lt.u16.s32", "b16", &["b32"; 2], "S32 cannot be compared into U16");
    refused("set.lt.f32.f16", "b32", &["b16"; 2], "F16 cannot be compared into F32");
    refused("selp.pred", "pred", &["pred"; 3], "found modifier .pred");
    refused("selp.b32", "b32", &["b32", "b32", "b32"], "register %s2 has type B32");
    refused("slct.b32.u32", "b32", &["b32"; 3], "found modifier .u32");
    refused("slct.ftz.b32.s32", "b32", &["b32"; 3], "found modifier .s32");
    refused("testp.even.f32", "pred", &["b32"], "found modifier .even");
    refused("min.abs.f32", "b32", &["b32"; 2], "found modifier .abs");
    refused("min.xorsign.f32", "b32", &["b32"; 2], "found modifier .xorsign");
    let negated = form("selp.b32 %d0, %s0, %s0, !%s1", &["b32"], &["b32", "pred"]).refusal();
    assert!(negated.contains("negated"), "{negated}");
    for opcode in ["setp.lt.bf16", "set.lt.bf16.bf16"] {
        let d = if opcode.starts_with("setp") { "pred" } else { "b16" };
        let message = instruction(opcode, d, &["b16"; 2]).target(80).refusal();
        assert!(message.contains("needs .target sm_90"), "{message}");
    }
}
