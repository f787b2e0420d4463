//! mov: copies, packs and unpacks, and special registers as sources of other instructions.

use crate::harness::{EDGES, form, instruction, rows};

#[test]
fn copies_of_every_type() {
    let rows = rows(&[&EDGES], 20);
    for ty in ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"] {
        instruction(&format!("mov.{ty}"), ty, &[ty]).check(&rows, |r| r[0]);
    }
    for (text, ty, value) in [
        ("mov.f32 %d0, 0f3FC00000", "b32", 0x3fc0_0000u64),
        ("mov.f32 %d0, 1.5", "b32", 0x3fc0_0000),
        ("mov.f64 %d0, 0d3FF8000000000000", "b64", 1.5f64.to_bits()),
        ("mov.b32 %d0, 0f3FC00000", "b32", 0x3fc0_0000),
        ("mov.u16 %d0, -1", "b16", 0xffff),
        ("mov.u64 %d0, -2", "b64", -2i64 as u64),
    ] {
        form(text, &[ty], &[]).check(&[vec![]], |_| value);
    }
}

#[test]
fn packs_and_unpacks_of_every_shape() {
    let rows = rows(&[&[0x1122_3344_5566_7788, u64::MAX, 0x8001_7ffe_0180_fe7f]], 40);
    for (whole, part, n) in [(16, 8, 2), (32, 8, 4), (32, 16, 2), (64, 16, 4), (64, 32, 2)] {
        let [w, p] =
            [whole, part].map(|bits| ["b8", "b16", "b32", "b64"][(bits as u32).ilog2() as usize - 3]);
        let names = |prefix: &str| (0..n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", ");
        let parts: Vec<Vec<u64>> =
            rows.iter().map(|r| (0..n).map(|i| r[0] >> (part * i) & ((1 << part) - 1)).collect()).collect();
        let unpack = form(&format!("mov.b{whole} {{{}}}, %s0", names("d")), &vec![p; n], &[w]);
        assert_eq!(unpack.run_all(&rows), parts, "{}", unpack.text);
        let pack = form(&format!("mov.b{whole} %d0, {{{}}}", names("s")), &[w], &vec![p; n]);
        pack.check(&parts, |r| r.iter().enumerate().map(|(i, x)| x << (part * i)).sum());
    }
    form("mov.b32 {_, %d0}, %s0", &["b16"], &["b32"]).check(&rows, |r| r[0] >> 16);
    form("mov.b64 {_, _, %d0, _}, %s0", &["b16"], &["b64"]).check(&rows, |r| r[0] >> 32);
    form("mov.b32 %d0, {0, %s0}", &["b32"], &["b16"]).check(&rows, |r| r[0] << 16 & 0xffff_0000);
    form("mov.b32 %d0, {%s0, %s0}", &["b32"], &["b16"]).check(&rows, |r| (r[0] & 0xffff) * 0x1_0001);
}

#[test]
fn special_registers_are_read_where_other_instructions_use_them() {
    let rows: Vec<Vec<u64>> = (0..64).map(|i| vec![100 * i, i % 32, i / 32]).collect();
    form("add.s32 %d0, %s0, %tid.x", &["b32"], &["b32"; 3]).check(&rows, |r| r[0] + r[1]);
    form("mad.lo.s32 %d0, %ctaid.x, %ntid.x, %tid.x", &["b32"], &["b32"; 3])
        .check(&rows, |r| 32 * r[2] + r[1]);
    form("setp.eq.u32 %d0, %tid.x, %s1", &["pred"], &["b32"; 3]).check(&rows, |_| 1);
    form("shl.b32 %d0, %s0, %ctaid.x", &["b32"], &["b32"; 3]).check(&rows, |r| r[0] << r[2]);
    form("cvt.u64.u32 %d0, %tid.x", &["b64"], &["b32"; 3]).check(&rows, |r| r[1]);
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let refused = |text: &str, d: &[&'static str], sources: &[&'static str], why: &str| {
        let message = form(text, d, sources).refusal();
        assert!(message.contains(why), "{text}: {message}");
    };
    refused("mov.b128 %d0, %s0", &["b64"], &["b64"], "mov has no such type");
    refused("mov.b8 %d0, %s0", &["b16"], &["b16"], "mov has no such type");
    refused("mov.f16 %d0, %s0", &["b16"], &["b16"], "mov has no such type");
    refused("mov %d0, %s0", &["b32"], &["b32"], "expected one type");
    refused("mov.sat.b32 %d0, %s0", &["b32"], &["b32"], "expected one type");
    refused("mov.b32 %d0, %s0", &["b32"], &["b16"], "register %s0 has type B16");
    refused("mov.b32 %d0, %s0", &["b32"], &["pred"], "register %s0 has type Pred");
    refused("mov.pred %d0, 2", &["pred"], &[], "is not a predicate");
    refused("mov.f32 %d0, 1", &["b32"], &[], "is an integer");
    refused("mov.b64 %d0, {%s0, %s1, %s2}", &["b64"], &["b32", "b16", "b16"], "3 values and 8 bytes");
    refused("mov.b64 %d0, {%s0, %s1}", &["b64"], &["b32", "b16"], "register %s1 has type B16");
    refused("mov.u32 %d0, {%s0, %s1}", &["b32"], &["b16", "b16"], "as bits");
    refused("mov.b32 {_, _}, %s0", &[], &["b32"], "no destination is a register");
    refused("mov.b32 _, %s0", &[], &["b32"], "the destination is _");
}
