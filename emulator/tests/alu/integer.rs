//! Integer instructions against exact arithmetic in i128.

use crate::harness::{EDGES, form, instruction, rows, signed, unsigned};

/// The integer types, with their bits and whether they are signed.
const TYPES: [(&str, u32, bool); 6] = [
    ("u16", 16, false),
    ("s16", 16, true),
    ("u32", 32, false),
    ("s32", 32, true),
    ("u64", 64, false),
    ("s64", 64, true),
];

fn value(x: u64, bits: u32, is_signed: bool) -> i128 {
    if is_signed { signed(x, bits) } else { unsigned(x, bits) }
}

/// `x` within the type's range.
fn clamp(x: i128, bits: u32) -> i128 {
    x.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
}

#[test]
fn two_source_arithmetic_is_exact_arithmetic_cut_to_the_type() {
    let rows = rows(&[&EDGES, &EDGES], 60);
    for (ty, bits, s) in TYPES {
        let check = |opcode: &str, f: &dyn Fn(i128, i128) -> i128| {
            instruction(&format!("{opcode}.{ty}"), ty, &[ty, ty])
                .check(&rows, |r| f(value(r[0], bits, s), value(r[1], bits, s)) as u64);
        };
        check("add", &|a, b| a + b);
        check("sub", &|a, b| a - b);
        check("mul.lo", &|a, b| a.wrapping_mul(b));
        check("min", &|a, b| a.min(b));
        check("max", &|a, b| a.max(b));
        // Division by zero, which the ISA leaves open: all ones, and the dividend.
        check("div", &|a, b| if b == 0 { -1 } else { a / b });
        check("rem", &|a, b| if b == 0 { a } else { a % b });
    }
}

/// The product of 64-bit numbers needs more than i128 where both are large and unsigned.
fn high(a: i128, b: i128, bits: u32, s: bool) -> u64 {
    if s { ((a * b) >> bits) as u64 } else { ((a as u128 * b as u128) >> bits) as u64 }
}

#[test]
fn high_halves_and_wide_products() {
    let two = rows(&[&EDGES, &EDGES], 60);
    let three = rows(&[&EDGES, &EDGES, &[0, 1, 0xffff_ffff, u64::MAX]], 60);
    for (ty, bits, s) in TYPES {
        let v = |x: u64| value(x, bits, s);
        instruction(&format!("mul.hi.{ty}"), ty, &[ty, ty]).check(&two, |r| high(v(r[0]), v(r[1]), bits, s));
        instruction(&format!("mad.hi.{ty}"), ty, &[ty, ty, ty])
            .check(&three, |r| high(v(r[0]), v(r[1]), bits, s).wrapping_add(r[2]));
        instruction(&format!("mad.lo.{ty}"), ty, &[ty, ty, ty])
            .check(&three, |r| r[0].wrapping_mul(r[1]).wrapping_add(r[2]));
        if bits == 64 {
            continue;
        }
        let wide = if bits == 16 { "b32" } else { "b64" };
        instruction(&format!("mul.wide.{ty}"), wide, &[ty, ty]).check(&two, |r| (v(r[0]) * v(r[1])) as u64);
        instruction(&format!("mad.wide.{ty}"), wide, &[ty, ty, wide])
            .check(&three, |r| ((v(r[0]) * v(r[1])) as u64).wrapping_add(r[2]));
    }
}

#[test]
fn saturating_forms_clamp() {
    let two = rows(&[&EDGES, &EDGES], 60);
    let three = rows(&[&EDGES, &EDGES, &[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]], 60);
    let v = |x: u64| signed(x, 32);
    instruction("add.sat.s32", "b32", &["s32", "s32"]).check(&two, |r| clamp(v(r[0]) + v(r[1]), 32) as u64);
    instruction("sub.sat.s32", "b32", &["s32", "s32"]).check(&two, |r| clamp(v(r[0]) - v(r[1]), 32) as u64);
    instruction("mad.hi.sat.s32", "b32", &["s32", "s32", "s32"])
        .check(&three, |r| clamp(((v(r[0]) * v(r[1])) >> 32) + v(r[2]), 32) as u64);
    instruction("mad24.hi.sat.s32", "b32", &["s32", "s32", "s32"]).check(&three, |r| {
        clamp(i128::from(((signed(r[0], 24) * signed(r[1], 24)) >> 16) as i32) + v(r[2]), 32) as u64
    });
}

#[test]
fn one_source_and_sad() {
    let one = rows(&[&EDGES], 60);
    let three = rows(&[&EDGES, &EDGES, &[0, 1, u64::MAX]], 60);
    for (ty, bits, s) in TYPES {
        let v = |x: u64| value(x, bits, s);
        if s {
            instruction(&format!("abs.{ty}"), ty, &[ty]).check(&one, |r| v(r[0]).unsigned_abs() as u64);
            instruction(&format!("neg.{ty}"), ty, &[ty]).check(&one, |r| (-v(r[0])) as u64);
        }
        instruction(&format!("sad.{ty}"), ty, &[ty, ty, ty])
            .check(&three, |r| ((v(r[0]) - v(r[1])).abs() + v(r[2])) as u64);
    }
}

#[test]
fn products_of_24_bits() {
    let rows = rows(&[&[0, 1, 0x7f_ffff, 0x80_0000, 0xff_ffff, 0x1234_5678], &EDGES, &EDGES], 60);
    for (ty, s) in [("u32", false), ("s32", true)] {
        for (half, shift) in [("lo", 0), ("hi", 16)] {
            let product = |r: &[u64]| ((value(r[0], 24, s) * value(r[1], 24, s)) >> shift) as u64;
            instruction(&format!("mul24.{half}.{ty}"), ty, &[ty, ty]).check(&rows, |r| product(r));
            instruction(&format!("mad24.{half}.{ty}"), ty, &[ty, ty, ty])
                .check(&rows, |r| product(r).wrapping_add(r[2]));
        }
    }
}

#[test]
fn packed_16_bit_forms_and_relu() {
    let rows = rows(&[&EDGES, &EDGES], 100);
    type Pick = fn(i128, i128) -> i128;
    let forms: [(&str, bool, Pick); 8] = [
        ("add.u16x2", false, |a, b| a + b),
        ("add.s16x2", true, |a, b| a + b),
        ("min.u16x2", false, |a, b| a.min(b)),
        ("max.u16x2", false, |a, b| a.max(b)),
        ("min.s16x2", true, |a, b| a.min(b)),
        ("max.s16x2", true, |a, b| a.max(b)),
        ("min.relu.s16x2", true, |a, b| a.min(b).max(0)),
        ("max.relu.s16x2", true, |a, b| a.max(b).max(0)),
    ];
    for (opcode, s, f) in forms {
        let half = |a: u64, b: u64| f(value(a & 0xffff, 16, s), value(b & 0xffff, 16, s)) as u64 & 0xffff;
        let i = instruction(opcode, "b32", &["b32", "b32"]);
        i.check(&rows, |r| half(r[0], r[1]) | half(r[0] >> 16, r[1] >> 16) << 16);
        assert!(i.target(80).refusal().contains("needs .target sm_90"), "{opcode}");
    }
    instruction("min.relu.s32", "b32", &["b32", "b32"])
        .check(&rows, |r| signed(r[0], 32).min(signed(r[1], 32)).max(0) as u64);
    instruction("max.relu.s32", "b32", &["b32", "b32"])
        .check(&rows, |r| signed(r[0], 32).max(signed(r[1], 32)).max(0) as u64);
}

#[test]
fn carries_chain_through_128_bits() {
    let rows = rows(&[&EDGES, &[0, 1, 0xffff_ffff, u64::MAX], &EDGES, &[0, 1, u64::MAX]], 100);
    for (ty, bits) in [("u32", 32), ("s32", 32), ("u64", 64), ("s64", 64)] {
        let cut = |x: u64| if bits == 32 { x & 0xffff_ffff } else { x };
        let number = |low: u64, high: u64| u128::from(cut(low)) | u128::from(cut(high)) << bits;
        for (opcode, add) in [("add", true), ("sub", false)] {
            let text = format!(
                "{{ {opcode}.cc.{ty} %d0, %s0, %s2; {opcode}c.cc.{ty} %d1, %s1, %s3; {opcode}c.{ty} %d2, 0, 0; }}"
            );
            let found = form(&text, &[ty, ty, ty], &[ty, ty, ty, ty]).run_on_every_isa(&rows);
            for (row, found) in rows.iter().zip(found) {
                let (a, b) = (number(row[0], row[1]), number(row[2], row[3]));
                let (sum, carry) = if add { a.overflowing_add(b) } else { a.overflowing_sub(b) };
                let carry = if bits == 32 { sum >> 64 & 1 != 0 } else { carry };
                let third = match (carry, add) {
                    (false, _) => 0,
                    (true, true) => 1,
                    (true, false) => cut(u64::MAX),
                };
                let expected = [cut(sum as u64), cut((sum >> bits) as u64), third];
                assert_eq!(found, expected, "{opcode} {ty} {row:x?}");
            }
        }
    }
}

#[test]
fn multiply_add_with_carry() {
    let rows = rows(&[&EDGES, &EDGES, &EDGES], 100);
    for (ty, bits, s) in [("u32", 32, false), ("s32", 32, true), ("u64", 64, false), ("s64", 64, true)] {
        let text = format!(
            "{{ mad.lo.cc.{ty} %d0, %s0, %s1, %s2; madc.hi.cc.{ty} %d1, %s0, %s1, %s2; madc.lo.{ty} %d2, 0, 0, 0; }}"
        );
        let found = form(&text, &[ty, ty, ty], &[ty, ty, ty]).run_on_every_isa(&rows);
        let cut = |x: u64| unsigned(x, bits) as u64;
        for (row, found) in rows.iter().zip(found) {
            let low = u128::from(cut(cut(row[0]).wrapping_mul(cut(row[1])))) + u128::from(cut(row[2]));
            let top = cut(high(value(row[0], bits, s), value(row[1], bits, s), bits, s));
            let upper = u128::from(top) + u128::from(cut(row[2])) + (low >> bits);
            let expected = [cut(low as u64), cut(upper as u64), (upper >> bits) as u64];
            assert_eq!(found, expected, "{ty} {row:x?}");
        }
    }
}

#[test]
fn dot_products() {
    let rows = rows(&[&EDGES, &EDGES, &[0, u64::MAX]], 200);
    for (ta, sa) in [("u32", false), ("s32", true)] {
        for (tb, sb) in [("u32", false), ("s32", true)] {
            let byte = |x: u64, i: u32, s| value(x >> (8 * i) & 0xff, 8, s);
            instruction(&format!("dp4a.{ta}.{tb}"), "b32", &["b32"; 3]).check(&rows, |r| {
                let sum: i128 = (0..4).map(|i| byte(r[0], i, sa) * byte(r[1], i, sb)).sum();
                (sum + unsigned(r[2], 32)) as u64
            });
            for (half, first) in [("lo", 0), ("hi", 2)] {
                instruction(&format!("dp2a.{half}.{ta}.{tb}"), "b32", &["b32"; 3]).check(&rows, |r| {
                    let word = |i: u32| value(r[0] >> (16 * i) & 0xffff, 16, sa);
                    let sum: i128 = (0..2).map(|i| word(i) * byte(r[1], first + i, sb)).sum();
                    (sum + unsigned(r[2], 32)) as u64
                });
            }
        }
    }
}

#[test]
fn byte_wise_instructions() {
    let rows = rows(&[&EDGES, &EDGES, &[0, u64::MAX]], 200);
    for (ta, sa) in [("u32", false), ("s32", true)] {
        for (td, low, top) in [("u32", 0, 255), ("s32", -128, 127)] {
            let byte = |x: u64, i: u32| value(x >> (8 * i) & 0xff, 8, sa);
            let each = |r: &[u64], f: &dyn Fn(i128, i128) -> i128| -> u64 {
                (0..4).map(|i| (f(byte(r[0], i), byte(r[1], i)) as u64 & 0xff) << (8 * i)).sum()
            };
            let types = format!("{td}.{ta}.{ta}");
            let run = |opcode: &str, f: &dyn Fn(&[u64]) -> u64| {
                instruction(opcode, "b32", &["b32"; 3]).check(&rows, f)
            };
            run(&format!("vabsdiff4.{types}"), &|r| each(r, &|a, b| (a - b).abs()));
            run(&format!("vabsdiff4.{types}.sat"), &|r| each(r, &|a, b| (a - b).abs().clamp(low, top)));
            run(&format!("vadd4.{types}"), &|r| each(r, &|a, b| a + b));
            run(&format!("vadd4.{types}.sat"), &|r| each(r, &|a, b| (a + b).clamp(low, top)));
            run(&format!("vabsdiff4.{types}.add"), &|r| {
                ((0..4).map(|i| (byte(r[0], i) - byte(r[1], i)).abs()).sum::<i128>() + unsigned(r[2], 32))
                    as u64
            });
        }
    }
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |opcode: &str, d, sources: &[&'static str], why: &str| {
        let message = instruction(opcode, d, sources).refusal();
        assert!(message.contains(why), "{opcode}: {message}");
    };
    refused("add.sat.u32", "b32", &["b32"; 2], "found modifier .u32, expected one of the types .s32");
    refused("add.s32.sat", "b32", &["b32"; 2], "found modifier .sat");
    refused("add.b32", "b32", &["b32"; 2], "found modifier .b32");
    refused("add", "b32", &["b32"; 2], "the modifiers end");
    refused("add.s8", "b32", &["b32"; 2], "found modifier .s8");
    refused("mul.s32", "b32", &["b32"; 2], "found modifier .s32, expected one of .lo .hi .wide");
    refused("mul.wide.s64", "b64", &["b64"; 2], "found modifier .s64");
    refused("mul.wide.s32", "b32", &["b32"; 2], "register %d0 has type B32, expected one of the size of S64");
    refused("mad.lo.sat.s32", "b32", &["b32"; 3], "found modifier .sat");
    refused("abs.u32", "b32", &["b32"], "found modifier .u32");
    refused("add.u32", "b32", &["b32"; 3], "has 4 operands, expected 3");
    refused("add.u32", "b32", &["b32"], "has 2 operands, expected 3");
    refused("add.u32", "b32", &["b32", "b64"], "register %s1 has type B64, expected one of the size of U32");
    refused("add.u32", "pred", &["b32", "b32"], "register %d0 has type Pred");
    refused("addc.cc.u16", "b16", &["b16"; 2], "found modifier .u16");
    refused("dp4a.u32", "b32", &["b32"; 3], "the modifiers end");
    refused("frobnicate.u32", "b32", &["b32"; 3], "unknown instruction");
    let sink = form("add.u32 _, %s0, %s0", &[], &["b32"]).refusal();
    assert!(sink.contains("the destination is _"), "{sink}");
}
