//! `atom` and `red`.

mod lab;

use cuda_emulator::machine::{FaultKind, Order};
use lab::{Lab, random};

const ORDERS: [Order; 3] = [Order::InOrder, Order::Random(7), Order::Random(8)];

/// Where the word lies that all threads change: before the lines below set `%rd10` to its address.
const SPACES: [(&str, &str, &str); 4] = [
    (".global", "add.s64 %rd10, %rd0, 4096;", "ld.global"),
    ("", "add.s64 %rd10, %rd0, 4096;", "ld.global"),
    (".shared", "mov.u64 %rd10, word;", "ld.shared"),
    ("", "mov.u64 %rd11, word;\ncvta.shared.u64 %rd10, %rd11;", "ld"),
];

type Word = fn(u32, u32) -> u32;
type Double = fn(u64, u64) -> u64;

#[test]
fn atomics_of_32_bits_fold_what_every_thread_gives() {
    let operations: [(&str, u32, Word); 11] = [
        ("add.u32", 5, |a, b| a.wrapping_add(b)),
        ("add.s32", 5, |a, b| a.wrapping_add(b)),
        ("min.u32", u32::MAX, |a, b| if a < b { a } else { b }),
        ("max.u32", 0, |a, b| if a > b { a } else { b }),
        ("min.s32", 0, |a, b| if (a as i32) < b as i32 { a } else { b }),
        ("max.s32", 0, |a, b| if (a as i32) > b as i32 { a } else { b }),
        ("and.b32", 0xFFFF_0FFF, |a, b| a & b),
        ("or.b32", 1, |a, b| a | b),
        ("xor.b32", 0x55, |a, b| a ^ b),
        ("inc.u32", 3, |a, _| if a >= 6 { 0 } else { a + 1 }),
        ("dec.u32", 3, |a, _| if a == 0 || a > 6 { 6 } else { a - 1 }),
    ];
    let x = random(5, 64);
    for (form, start, f) in operations {
        let b = if form.ends_with("c.u32") { "6" } else { "%r2" };
        let values: Vec<u32> = x
            .iter()
            .map(|&v| {
                if form == "and.b32" {
                    v | 0xFF00_00FF
                } else if form == "or.b32" {
                    v & 0xF0F0
                } else {
                    v
                }
            })
            .collect();
        let expected = values.iter().fold(start, |a, &v| f(a, v));
        for (space, address, load) in SPACES {
            for returns in [true, false] {
                let op = if returns {
                    format!("atom{space}.{form} %r20, [%rd10], {b};")
                } else {
                    format!("red{space}.{form} [%rd10], {b};")
                };
                let lines = format!(
                    "{address}\nsetp.ge.u32 %p1, %r0, 1;\n@!%p1 st{0}.u32 [%rd10], {start};\nbar.sync 0;\n{op}\nbar.sync 0;\n{load}.u32 %r3, [%rd10];\nst.global.u32 [%rd2], %r3;",
                    load.trim_start_matches("ld")
                );
                let lab = Lab::new(lines).block(64).module(".shared .align 8 .b8 word[16];");
                let y = lab.run(&values, 1025);
                assert_eq!(y[..64], [expected; 64], "{form} {space} returns {returns}");
            }
        }
    }
}

#[test]
fn each_thread_gets_the_value_before_its_own() {
    for order in ORDERS {
        let lines = "atom.global.add.u32 %r3, [%rd0+1024], 1;\nst.global.u32 [%rd2], %r3;";
        let y = Lab::new(lines).block(64).grid(4).order(order).run(&[], 257);
        let mut tickets = y[..256].to_vec();
        if order == Order::InOrder {
            assert!(tickets.is_sorted(), "lanes take their turn in order");
        } else {
            assert!(!tickets.is_sorted(), "random order is not the same as in order");
        }
        tickets.sort_unstable();
        assert!(tickets.iter().copied().eq(0..256), "{tickets:?}");
        assert_eq!(y[256], 256);
    }
}

#[test]
fn compare_and_swap_changes_only_what_it_expects() {
    for (ty, register, size) in [("b16", "%h", 2u64), ("b32", "%r", 4), ("b64", "%rd", 8)] {
        for space in ["global", "shared"] {
            // Thread 0 finds 0 and swaps in 7; the others then find 7 and leave it.
            let (base, declare) =
                if space == "global" { ("%rd0", "") } else { ("word", ".shared .align 8 .b8 word[64];") };
            let extend = match size {
                2 => "mov.b16 %h0, 0;\nmov.b32 %r21, {%h20, %h0};",
                4 => "mov.u32 %r21, %r20;",
                _ => "mov.b64 {%r21, %r22}, %rd20;",
            };
            let zero = if space == "shared" {
                "mov.u32 %r30, 0;\nst.shared.u32 [word+32], %r30;\nst.shared.u32 [word+36], %r30;"
            } else {
                ""
            };
            let lines = format!(
                "{zero}\natom.{space}.cas.{ty} {register}20, [{base}+{}], 0, 7;\n{extend}\nst.global.u32 [%rd2+64], %r21;\n\
                 atom.{space}.cas.{ty} {register}20, [{base}+{}], 9, 8;\n{extend}\nst.global.u32 [%rd2+192], %r21;",
                32 + if size == 2 { 2 } else { 0 },
                32 + if size == 2 { 2 } else { 0 },
            );
            let y = Lab::new(lines).module(declare).run(&[], 80);
            assert_eq!(y[16], 0, "{ty} {space}");
            assert_eq!(y[17..48], [7; 31], "{ty} {space}");
            assert_eq!(y[48..80], [7; 32], "{ty} {space}");
        }
    }
}

#[test]
fn exchange_hands_a_value_on() {
    for order in ORDERS {
        let y = Lab::new("atom.global.exch.b32 %r3, [%rd0+128], %r2;\nst.global.u32 [%rd2], %r3;")
            .order(order)
            .run(&(1..33).collect::<Vec<_>>(), 33);
        let mut seen: Vec<u32> = y.clone();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..33), "every value is got once or left: {y:?}");
    }
}

#[test]
fn atomics_of_64_bits_carry_between_the_words() {
    let operations: [(&str, u64, Double); 9] = [
        ("add.u64", 0xFFFF_FFF0, |a, b| a.wrapping_add(b)),
        ("min.u64", u64::MAX, |a, b| a.min(b)),
        ("max.u64", 0, |a, b| a.max(b)),
        ("min.s64", 0, |a, b| (a as i64).min(b as i64) as u64),
        ("max.s64", 0, |a, b| (a as i64).max(b as i64) as u64),
        ("and.b64", u64::MAX, |a, b| a & b),
        ("or.b64", 1 << 40, |a, b| a | b),
        ("xor.b64", 1 << 40, |a, b| a ^ b),
        ("exch.b64", 0, |_, b| b),
    ];
    let random = random(6, 32);
    for (form, start, f) in operations {
        let ones = if form == "and.b64" { 0xFF00_00FF } else { 0 };
        let x: Vec<u32> = random.iter().map(|v| v | ones).collect();
        let wide = |v: u32| u64::from(v) << 32 | u64::from(v.wrapping_add(1));
        let expected = x.iter().fold(start, |a, &v| f(a, wide(v)));
        for space in ["global", "shared"] {
            let (base, declare) =
                if space == "global" { ("%rd0", "") } else { ("word", ".shared .align 8 .b8 word[16];") };
            let lines = format!(
                "add.u32 %r3, %r2, 1;\nmov.b64 %rd5, {{%r3, %r2}};\nmov.u64 %rd6, {start};\nst.{space}.u64 [{base}+8], %rd6;\nbar.warp.sync -1;\n\
                 atom.{space}.{form} %rd7, [{base}+8], %rd5;\nld.{space}.u64 %rd8, [{base}+8];\nst.global.u64 [%rd0], %rd8;"
            );
            let y = Lab::new(lines).module(declare).run(&x, 32);
            assert_eq!(u64::from(y[1]) << 32 | u64::from(y[0]), expected, "{form} {space}");
        }
    }
}

#[test]
fn float_sums_round_each_step_and_flush_only_in_global_memory() {
    let x: Vec<u32> = random(9, 32).iter().map(|v| ((*v as f32) * 1e-3).to_bits()).collect();
    let sum = x.iter().fold(0.0f32, |a, &v| a + f32::from_bits(v));
    let y = Lab::new("mov.b32 %f1, %r2;\nred.global.add.f32 [%rd0], %f1;").run(&x, 1);
    assert_eq!(y[0], sum.to_bits());
    let tiny = vec![1u32; 32];
    assert_eq!(Lab::new("mov.b32 %f1, %r2;\nred.global.add.f32 [%rd0], %f1;").run(&tiny, 1), [0]);
    let shared = "mov.b32 %f1, %r2;\nmov.u32 %r9, 0;\nst.shared.u32 [word], %r9;\nred.shared.add.f32 [word], %f1;\nld.shared.u32 %r3, [word];\nst.global.u32 [%rd0], %r3;";
    assert_eq!(Lab::new(shared).module(".shared .align 4 .b8 word[4];").run(&tiny, 1), [32]);
    // Doubles by their high words.
    let high: Vec<u32> = random(10, 32).iter().map(|&v| (f64::from(v).to_bits() >> 32) as u32).collect();
    let double = "mov.u32 %r3, 0;\nmov.b64 %fd1, {%r3, %r2};\natom.global.add.f64 %fd2, [%rd0], %fd1;";
    let y = Lab::new(double).run(&high, 2);
    let exact = high.iter().fold(0.0f64, |a, &v| a + f64::from_bits(u64::from(v) << 32));
    assert_eq!(u64::from(y[1]) << 32 | u64::from(y[0]), exact.to_bits());
}

#[test]
fn halves_add_apart_and_keep_subnormals() {
    // 1 + 2 and the least subnormal, in f16 (0x3c00, 0x0001) and in bf16 (0x3f80, 0x0001), 32 times: 32, and 32 subnormals.
    for (ty, one, thirty_two) in [("f16x2", 0x3C00u32, 0x5000u32), ("bf16x2", 0x3F80, 0x4200)] {
        let lines = format!("atom.global.add.noftz.{ty} %r3, [%rd0], %r2;");
        let y = Lab::new(lines).run(&[one << 16 | 1; 32], 1);
        assert_eq!(y, [thirty_two << 16 | 32], "{ty}");
        let scalar = &ty[..ty.len() - 2];
        let lines = format!("mov.b32 {{%h1, %h2}}, %r2;\natom.global.add.noftz.{scalar} %h3, [%rd0+2], %h2;");
        let y = Lab::new(lines).run(&[one << 16 | 1; 32], 1);
        assert_eq!(y, [thirty_two << 16], "{scalar}");
    }
}

#[test]
fn vectors_change_each_element() {
    let lines = "mov.b32 %f1, %r2;\nmov.b32 %f2, 0f3F800000;\nmov.b32 %f3, 0f40000000;\nmov.b32 %f4, 0fC0000000;\nred.global.add.v4.f32 [%rd0+16], {%f1, %f2, %f3, %f4};";
    let x: Vec<u32> = (0..32).map(|l| (l as f32).to_bits()).collect();
    let y: Vec<f32> = Lab::new(lines).run(&x, 8).into_iter().map(f32::from_bits).collect();
    assert_eq!(y, [0.0, 0.0, 0.0, 0.0, 496.0, 32.0, 64.0, -64.0]);
    let lines = "mov.b32 %f1, %r2;\natom.global.v2.f32.add {%f5, %f6}, [%rd0], {%f1, %f1};\nst.global.f32 [%rd2+8], %f6;";
    let y: Vec<f32> = Lab::new(lines).run(&x, 34).into_iter().map(f32::from_bits).collect();
    assert_eq!(y[..2], [496.0, 496.0]);
    assert!((0..32).all(|l| y[2 + l] == (l * l.saturating_sub(1) / 2) as f32), "{y:?}");
    let lines =
        "mov.b32 {%h1, %h2}, %r2;\nred.global.v8.f16.max.noftz [%rd0], {%h1,%h2,%h1,%h2,%h1,%h2,%h2,%h1};";
    let y = Lab::new(lines).run(&[0x3C00_4000; 32], 4);
    assert_eq!(y, [0x3C00_4000, 0x3C00_4000, 0x3C00_4000, 0x4000_3C00]);
}

#[test]
fn bounds_and_alignment_are_those_of_the_whole_access() {
    let kind = |lines: &str, n| Lab::new(lines).fault(&[], n).kind;
    assert_eq!(kind("atom.global.add.u32 %r3, [%rd0+2], 1;", 2), FaultKind::MisalignedAddress);
    assert_eq!(kind("atom.global.add.u64 %rd3, [%rd0+4], 1;", 4), FaultKind::MisalignedAddress);
    assert_eq!(kind("red.global.add.v2.f32 [%rd0+4], {%f1, %f1};", 4), FaultKind::MisalignedAddress);
    assert_eq!(kind("atom.global.add.u32 %r3, [%rd0+4], 1;", 1), FaultKind::IllegalAddress);
    assert_eq!(kind("atom.global.add.u64 %rd3, [%rd0], 1;", 1), FaultKind::IllegalAddress);
    assert_eq!(kind("mov.u32 %r9, 0;\natom.shared.add.u32 %r3, [%r9], 1;", 1), FaultKind::IllegalAddress);
    let local = Lab::new("mov.u64 %rd3, spot;\ncvta.local.u64 %rd4, %rd3;\natom.add.u32 %r3, [%rd4], 1;");
    let local = Lab { lines: format!(".local .align 4 .b8 spot[4];\n{}", local.lines), ..local };
    assert_eq!(local.fault(&[], 1).kind, FaultKind::InvalidAddressSpace);
    let constant = Lab::new("mov.u64 %rd3, table;\natom.global.add.u32 %r3, [%rd3], 1;")
        .module(".const .align 4 .b8 table[4];");
    assert_eq!(constant.fault(&[], 1).kind, FaultKind::IllegalAddress);
}

#[test]
fn orders_scopes_and_cache_hints_are_understood_and_anything_else_is_refused() {
    for line in [
        "atom.relaxed.gpu.global.add.u32 %r3, [%rd0], 1;",
        "atom.acq_rel.sys.global.add.u32 %r3, [%rd0], 1;",
        "atom.global.acquire.cta.cas.b32 %r3, [%rd0], 0, 1;",
        "red.release.gpu.global.add.u32 [%rd0], 1;",
        "atom.global.add.L2::cache_hint.u32 %r3, [%rd0], 1, %rd5;",
    ] {
        let lab = Lab::new(format!("mov.u64 %rd5, 0;\n{line}"));
        assert_ne!(lab.run(&[], 1), [0], "{line}");
    }
    for line in [
        "atom.global.add.f16 %h1, [%rd0], %h2;",
        "atom.global.add.noftz.f32 %f1, [%rd0], %f2;",
        "atom.global.add.b32 %r3, [%rd0], 1;",
        "atom.global.exch.u32 %r3, [%rd0], 1;",
        "red.global.exch.b32 [%rd0], 1;",
        "red.global.acquire.add.u32 [%rd0], 1;",
        "atom.global.cas.b128 %r3, [%rd0], 1, 1;",
        "atom.global.global.add.u32 %r3, [%rd0], 1;",
        "atom.global.volatile.add.u32 %r3, [%rd0], 1;",
        "atom.local.add.u32 %r3, [%rd0], 1;",
        "atom.global.add.u32 %r3, [%rd0];",
        "atom.global.add.u32 %rd3, [%rd0], 1;",
        "atom.shared.add.v2.f32 {%f1, %f2}, [%r0], {%f1, %f2};",
        "atom.global.max.v2.f32 {%f1, %f2}, [%rd0], {%f1, %f2};",
        "atom.global.min.noftz.f16 %h1, [%rd0], %h2;",
    ] {
        let error = Lab::new(line).refused();
        assert!(error.contains(line.split(' ').next().expect("not empty")), "{line}: {error}");
    }
    assert!(Lab::new("red.global.add.v2.f32 [%rd0], {%f1, %f2};").arch(80).refused().contains("9.0"));
}
