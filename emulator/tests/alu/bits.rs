//! Bit instructions against definitions bit by bit.

use crate::harness::{EDGES, form, instruction, rows, signed, unsigned};

/// Bit `i` of `x`.
fn bit(x: u64, i: u32) -> u64 {
    if i < 64 { x >> i & 1 } else { 0 }
}

#[test]
fn logic_bit_by_bit() {
    let rows = rows(&[&EDGES, &EDGES], 40);
    for (ty, bits) in [("b16", 16), ("b32", 32), ("b64", 64)] {
        instruction(&format!("and.{ty}"), ty, &[ty, ty]).check(&rows, |r| r[0] & r[1]);
        instruction(&format!("or.{ty}"), ty, &[ty, ty]).check(&rows, |r| r[0] | r[1]);
        instruction(&format!("xor.{ty}"), ty, &[ty, ty]).check(&rows, |r| r[0] ^ r[1]);
        instruction(&format!("not.{ty}"), ty, &[ty]).check(&rows, |r| !r[0]);
        instruction(&format!("cnot.{ty}"), ty, &[ty]).check(&rows, |r| u64::from(unsigned(r[0], bits) == 0));
    }
}

#[test]
fn logic_of_predicates() {
    let rows = rows(&[&[0, 1], &[0, 1]], 0);
    instruction("and.pred", "pred", &["pred", "pred"]).check(&rows, |r| r[0] & r[1]);
    instruction("or.pred", "pred", &["pred", "pred"]).check(&rows, |r| r[0] | r[1]);
    instruction("xor.pred", "pred", &["pred", "pred"]).check(&rows, |r| r[0] ^ r[1]);
    instruction("not.pred", "pred", &["pred"]).check(&rows, |r| 1 - r[0]);
    form("and.pred %d0, %s0, !%s1", &["pred"], &["pred"; 2]).check(&rows, |r| r[0] & (1 - r[1]));
    form("xor.pred %d0, !%s0, %s1", &["pred"], &["pred"; 2]).check(&rows, |r| 1 ^ r[0] ^ r[1]);
    form("mov.pred %d0, -1", &["pred"], &[]).check(&[vec![]], |_| 1);
    form("mov.pred %d0, 0", &["pred"], &[]).check(&[vec![]], |_| 0);
    form("mov.pred %d0, %s0", &["pred"], &["pred"]).check(&rows, |r| r[0]);
}

#[test]
fn lop3_looks_up_every_table() {
    let rows = rows(&[&[0xf0f0_cc55], &[0xcc3c_0f0f], &[0xaa55_ff00]], 31);
    for table in 0..256u64 {
        form(&format!("lop3.b32 %d0, %s0, %s1, %s2, {table}"), &["b32"], &["b32"; 3]).check(&rows, |r| {
            (0..32)
                .map(|i| bit(table, (bit(r[0], i) << 2 | bit(r[1], i) << 1 | bit(r[2], i)) as u32) << i)
                .sum()
        });
    }
    for (join, f) in
        [("and", (|a, b| a && b) as fn(bool, bool) -> bool), ("or", |a, b| a || b), ("xor", |a, b| a != b)]
    {
        let rows = crate::harness::rows(&[&[0, 3, 1 << 31], &[0, 1 << 31], &[0, 1]], 0);
        let text = format!("lop3.{join}.b32 %d0|%d1, %s0, %s1, %s0, 0xc0, %s2");
        for (r, found) in
            rows.iter().zip(form(&text, &["b32", "pred"], &["b32", "b32", "pred"]).run_all(&rows))
        {
            let d = r[0] & r[1];
            assert_eq!(found, [d, u64::from(f(d != 0, r[2] == 1))], "{text} {r:x?}");
        }
    }
    let message = form("lop3.b32 %d0, %s0, %s0, %s0, 256", &["b32"], &["b32"]).refusal();
    assert!(message.contains("expected an integer from 0 to 255"), "{message}");
}

/// Shift counts around every width.
const COUNTS: [u64; 12] = [0, 1, 7, 15, 16, 31, 32, 33, 63, 64, 65, 0xffff_ffff];

#[test]
fn shifts_clamp_their_count() {
    let rows = rows(&[&EDGES, &COUNTS], 0);
    for bits in [16, 32, 64u32] {
        let b = ["b16", "b32", "b64"][bits as usize / 32];
        instruction(&format!("shl.b{bits}"), b, &[b, "b32"])
            .check(&rows, |r| if r[1] >= u64::from(bits) { 0 } else { r[0] << r[1] });
        for kind in ["b", "u"] {
            instruction(&format!("shr.{kind}{bits}"), b, &[b, "b32"]).check(&rows, |r| {
                if r[1] >= u64::from(bits) { 0 } else { (unsigned(r[0], bits) >> r[1]) as u64 }
            });
        }
        instruction(&format!("shr.s{bits}"), b, &[b, "b32"])
            .check(&rows, |r| (signed(r[0], bits) >> r[1].min(u64::from(bits))) as u64);
    }
}

#[test]
fn funnel_shifts() {
    let rows = rows(&[&EDGES, &EDGES, &COUNTS], 0);
    for (mode, count) in [("wrap", (|c| c & 31) as fn(u64) -> u64), ("clamp", |c| c.min(32))] {
        let both = |r: &[u64]| u128::from(r[1] << 32 | r[0] & 0xffff_ffff);
        let both = |r: &[u64]| both(&[r[0], r[1] & 0xffff_ffff]);
        instruction(&format!("shf.l.{mode}.b32"), "b32", &["b32"; 3])
            .check(&rows, |r| ((both(r) << count(r[2])) >> 32) as u64);
        instruction(&format!("shf.r.{mode}.b32"), "b32", &["b32"; 3])
            .check(&rows, |r| (both(r) >> count(r[2])) as u64);
    }
}

#[test]
fn prmt_picks_bytes_in_every_mode() {
    let rows = rows(
        &[&[0x8070_6050, 0xff00_8001], &[0xf0e1_d2c3], &[0, 1, 2, 3, 0x7654, 0xfedc, 0x3210, 0xba98]],
        60,
    );
    let byte = |r: &[u64], i: u64| (r[1] << 32 | r[0] & 0xffff_ffff) >> (8 * (i & 7)) & 0xff;
    type Select = fn(u64, u64) -> u64;
    let modes: [(&str, Select); 6] = [
        (".f4e", |c, i| c + i),
        (".b4e", |c, i| 8 + c - i),
        (".rc8", |c, _| c),
        (".ecl", |c, i| c.max(i)),
        (".ecr", |c, i| c.min(i)),
        (".rc16", |c, i| 2 * (c & 1) + (i & 1)),
    ];
    for (mode, select) in modes {
        instruction(&format!("prmt.b32{mode}"), "b32", &["b32"; 3])
            .check(&rows, |r| (0..4).map(|i| byte(r, select(r[2] & 3, i)) << (8 * i)).sum());
    }
    instruction("prmt.b32", "b32", &["b32"; 3]).check(&rows, |r| {
        let one = |i: u64| {
            let (nibble, byte) = (r[2] >> (4 * i) & 15, byte(r, r[2] >> (4 * i) & 7));
            let sign = if byte >= 0x80 { 0xff } else { 0 };
            (if nibble >= 8 { sign } else { byte }) << (8 * i)
        };
        (0..4).map(one).sum()
    });
}

#[test]
fn counts_and_searches() {
    let rows = rows(&[&EDGES], 100);
    for bits in [32, 64u32] {
        let b = if bits == 32 { "b32" } else { "b64" };
        let ones = |x: u64| (0..bits).filter(|&i| bit(x, i) == 1).count() as u64;
        let top = |x: u64| (0..bits).rev().find(|&i| bit(x, i) == 1);
        instruction(&format!("popc.b{bits}"), "b32", &[b]).check(&rows, |r| ones(r[0]));
        instruction(&format!("clz.b{bits}"), "b32", &[b])
            .check(&rows, |r| u64::from(top(r[0]).map_or(bits, |i| bits - 1 - i)));
        instruction(&format!("brev.b{bits}"), b, &[b])
            .check(&rows, |r| (0..bits).map(|i| bit(r[0], i) << (bits - 1 - i)).sum());
        for (kind, s) in [("u", false), ("s", true)] {
            let place = |x: u64| top(if s && bit(x, bits - 1) == 1 { !x } else { x });
            instruction(&format!("bfind.{kind}{bits}"), "b32", &[b])
                .check(&rows, |r| place(r[0]).map_or(u64::MAX, u64::from));
            instruction(&format!("bfind.shiftamt.{kind}{bits}"), "b32", &[b])
                .check(&rows, |r| place(r[0]).map_or(u64::MAX, |i| u64::from(bits - 1 - i)));
        }
    }
}

const PLACES: [u64; 8] = [0, 1, 8, 31, 32, 63, 64, 0x101];

#[test]
fn fields_are_extracted_and_inserted() {
    let rows = rows(
        &[&[0x8421_f00f_7bde_0ff0, u64::MAX, 0x8000_0000], &[0x1234_5678_9abc_def0], &PLACES, &PLACES],
        40,
    );
    for bits in [32, 64u32] {
        let b = if bits == 32 { "b32" } else { "b64" };
        for (kind, s) in [("u", false), ("s", true)] {
            form(&format!("bfe.{kind}{bits} %d0, %s0, %s2, %s3"), &[b], &[b, b, "b32", "b32"]).check(
                &rows,
                |r| {
                    // The ISA's own pseudo-code.
                    let (pos, len) = ((r[2] & 255) as u32, (r[3] & 255) as u32);
                    let sign = if s && len > 0 { bit(r[0], (pos + len - 1).min(bits - 1)) } else { 0 };
                    (0..bits)
                        .map(|i| (if i < len && pos + i < bits { bit(r[0], pos + i) } else { sign }) << i)
                        .sum()
                },
            );
        }
        form(&format!("bfi.b{bits} %d0, %s0, %s1, %s2, %s3"), &[b], &[b, b, "b32", "b32"]).check(
            &rows,
            |r| {
                let (pos, len) = ((r[2] & 255) as u32, (r[3] & 255) as u32);
                (0..bits)
                    .map(|i| (if i >= pos && i < pos + len { bit(r[0], i - pos) } else { bit(r[1], i) }) << i)
                    .sum()
            },
        );
    }
}

#[test]
fn masks_extensions_and_the_nth_set_bit() {
    let places = [0, 1, 7, 31, 32, 33, 0xffff_ffff];
    let two = rows(&[&places, &places], 0);
    for (mode, wrap) in [("wrap", true), ("clamp", false)] {
        instruction(&format!("bmsk.{mode}.b32"), "b32", &["b32"; 2]).check(&two, |r| {
            let (pos, width) = if wrap { (r[0] & 31, r[1] & 31) } else { (r[0].min(32), r[1].min(32)) };
            (0..32).filter(|&i| i >= pos && i < pos + width).map(|i| 1 << i).sum()
        });
        for (kind, s) in [("u", false), ("s", true)] {
            let rows = rows(&[&EDGES, &places], 0);
            instruction(&format!("szext.{mode}.{kind}32"), "b32", &["b32"; 2]).check(&rows, |r| {
                let n = if wrap { r[1] & 31 } else { r[1].min(32) } as u32;
                let sign = if s && n > 0 { bit(r[0], n - 1) } else { 0 };
                (0..32).map(|i| (if i < n { bit(r[0], i) } else { sign }) << i).sum()
            });
        }
    }
    let rows = rows(
        &[
            &[0, 0x8000_0001, 0x00f0_0ff0, 0xffff_ffff],
            &[0, 4, 11, 31, 32],
            &[0, 1, 3, 32, 0xffff_ffff, 0xffff_fffd],
        ],
        0,
    );
    instruction("fns.b32", "b32", &["b32"; 3]).check(&rows, |r| {
        let (mask, base, offset) = (r[0], r[1] as i64, signed(r[2], 32));
        if base > 31 {
            return u64::MAX;
        }
        if offset == 0 {
            return if bit(mask, base as u32) == 1 { base as u64 } else { u64::MAX };
        }
        let (mut at, mut left) = (base, offset.abs());
        while (0..32).contains(&at) {
            left -= i128::from(bit(mask, at as u32));
            if left == 0 {
                return at as u64;
            }
            at += offset.signum() as i64;
        }
        u64::MAX
    });
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |opcode: &str, d, sources: &[&'static str], why: &str| {
        let message = instruction(opcode, d, sources).refusal();
        assert!(message.contains(why), "{opcode}: {message}");
    };
    refused("and.u32", "b32", &["b32"; 2], "found modifier .u32");
    refused("xor.b8", "b32", &["b32"; 2], "found modifier .b8");
    refused("and.pred", "b32", &["pred", "pred"], "register %d0 has type B32");
    refused("and.pred", "pred", &["b32", "pred"], "register %s0 has type B32");
    refused("shl.u32", "b32", &["b32"; 2], "found modifier .u32");
    refused("shl.b64", "b64", &["b64", "b64"], "register %s1 has type B64, expected one of the size of U32");
    refused("shf.l.b32", "b32", &["b32"; 3], "found modifier .b32, expected one of .clamp .wrap");
    refused("shf.wrap.b32", "b32", &["b32"; 3], "expected one of .l .r");
    refused("prmt.b32.f8e", "b32", &["b32"; 3], "found modifier .f8e");
    refused("popc.u32", "b32", &["b32"], "found modifier .u32");
    refused("popc.b64", "b64", &["b64"], "register %d0 has type B64, expected one of the size of U32");
    refused("bfe.b32", "b32", &["b32"; 3], "found modifier .b32");
    refused("bfi.b64", "b64", &["b64", "b64", "b64", "b64"], "register %s2 has type B64");
}
