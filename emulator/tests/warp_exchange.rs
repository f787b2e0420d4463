//! What lanes tell each other: `shfl`, `vote`, `match`, `redux`, `elect`, `activemask`.

mod lab;

use cuda_emulator::machine::FaultKind;
use lab::{Lab, random};

/// The lane that a shuffle reads from, worked out from what the shuffle is for: moves within parts of `width` lanes. `None` keeps the lane's
/// own value.
fn source(mode: &str, lane: i32, b: i32, width: i32) -> Option<i32> {
    let first = lane / width * width;
    let source = match mode {
        "up" => lane - b,
        "down" => lane + b,
        "bfly" => lane ^ b,
        _ => first + b % width,
    };
    // A butterfly into a part further up finds nobody; one into a part further down does.
    let above = source < first + width;
    (above && (mode == "bfly" || source >= first)).then_some(source)
}

#[test]
fn shuffles_move_values_within_parts_of_the_warp() {
    let x = random(1, 32);
    for mode in ["up", "down", "bfly", "idx"] {
        for width in [1, 2, 4, 8, 16, 32] {
            for b in 0..32 {
                let clamp = if mode == "up" { 0 } else { 31 };
                let c = (32 - width) << 8 | clamp;
                let y = Lab::new(format!(
                    "shfl.sync.{mode}.b32 %r3|%p1, %r2, {b}, {c}, -1;\nst.global.u32 [%rd2], %r3;\n@%p1 st.global.u32 [%rd2+128], 1;"
                ));
                let y = y.run(&x, 64);
                for lane in 0..32 {
                    let from = source(mode, lane, b, width);
                    let at = (mode, width, b, lane);
                    assert_eq!(y[lane as usize], x[from.unwrap_or(lane) as usize], "{at:?}");
                    assert_eq!(y[32 + lane as usize], u32::from(from.is_some()), "{at:?}");
                }
            }
        }
    }
}

#[test]
fn a_shuffle_whose_destination_is_its_source_reads_the_values_before() {
    let x = random(2, 32);
    let y = Lab::new("shfl.sync.down.b32 %r2, %r2, 1, 31, -1;\nst.global.u32 [%rd2], %r2;").run(&x, 32);
    for lane in 0..32 {
        assert_eq!(y[lane], x[(lane + 1).min(31)], "lane {lane}");
    }
}

#[test]
fn a_shuffle_takes_lane_clamp_and_mask_from_registers() {
    let x: Vec<u32> = (0..32).map(|l| 31 - l).collect();
    let lines = "mov.u32 %r10, 31;\nmov.u32 %r11, -1;\nshfl.sync.idx.b32 %r3, %r0, %r2, %r10, %r11;\nst.global.u32 [%rd2], %r3;";
    assert_eq!(Lab::new(lines).run(&x, 32), x);
}

#[test]
fn a_shuffle_from_a_lane_that_does_not_take_part_is_a_fault() {
    let lines = "mov.u32 %r3, 0;\nsetp.ge.u32 %p1, %r0, 16;\n@%p1 bra OUT;\nshfl.sync.down.b32 %r3, %r2, 4, 31, 0xffff;\nOUT:";
    let fault = Lab::new(lines).fault(&[0; 32], 32);
    assert_eq!((fault.kind, fault.place.thread[0]), (FaultKind::IllegalInstruction, 12), "{fault}");
    assert!(fault.message.contains("0x0000f000 read from lanes 0x000f0000"), "{fault}");
}

#[test]
fn a_lane_that_its_mask_does_not_name_is_a_fault() {
    let fault = Lab::new("shfl.sync.bfly.b32 %r3, %r2, 1, 31, 0xfffffffe;").fault(&[0; 32], 32);
    assert_eq!((fault.kind, fault.place.thread[0]), (FaultKind::IllegalInstruction, 0), "{fault}");
}

#[test]
fn votes_count_the_lanes_of_the_mask_alone() {
    for (mask, predicate) in [
        (u32::MAX, 0x1234_5678),
        (u32::MAX, u32::MAX),
        (u32::MAX, 0),
        (0x00FF_FF00, 0x00FF_FF00),
        (0x8000_0001, 0x7FFF_FFFE),
    ] {
        // Lanes outside the mask leave first.
        let x: Vec<u32> = (0..32).map(|l| (mask >> l & 1) << 1 | (predicate >> l & 1)).collect();
        let lines = format!(
            "setp.ge.u32 %p1, %r2, 2;\n@!%p1 ret;\nsetp.ge.u32 %p2, %r2, 3;\n\
             vote.sync.ballot.b32 %r3, %p2, {mask};\nst.global.u32 [%rd2], %r3;\n\
             vote.sync.all.pred %p3, %p2, {mask};\n@%p3 st.global.u32 [%rd2+128], 1;\n\
             vote.sync.any.pred %p3, %p2, {mask};\n@%p3 st.global.u32 [%rd2+256], 1;\n\
             vote.sync.uni.pred %p3, %p2, {mask};\n@%p3 st.global.u32 [%rd2+384], 1;\n\
             vote.sync.ballot.b32 %r3, !%p2, {mask};\nst.global.u32 [%rd2+512], %r3;\n\
             activemask.b32 %r4;\nst.global.u32 [%rd2+640], %r4;"
        );
        let y = Lab::new(lines).run(&x, 6 * 32);
        let held = predicate & mask;
        let expected = [
            held,
            u32::from(held == mask),
            u32::from(held != 0),
            u32::from(held == mask || held == 0),
            mask & !held,
            mask,
        ];
        for lane in (0..32).filter(|l| mask >> l & 1 == 1) {
            for (k, e) in expected.iter().enumerate() {
                assert_eq!(
                    y[32 * k + lane],
                    *e,
                    "result {k} of lane {lane}, mask {mask:#x}, predicate {predicate:#x}"
                );
            }
        }
    }
}

#[test]
fn match_finds_the_lanes_with_the_same_value() {
    let x: Vec<u32> = random(3, 32).iter().map(|v| v % 5).collect();
    let lines = "match.any.sync.b32 %r3, %r2, -1;\nst.global.u32 [%rd2], %r3;\nmov.u32 %r5, 7;\nmov.b64 %rd3, {%r5, %r2};\n\
        match.any.sync.b64 %r4, %rd3, -1;\nst.global.u32 [%rd2+128], %r4;\nmatch.all.sync.b32 %r6|%p1, %r2, -1;\n\
        st.global.u32 [%rd2+256], %r6;\n@%p1 st.global.u32 [%rd2+384], 1;\nmatch.all.sync.b64 %r6|%p1, 9, -1;\n\
        st.global.u32 [%rd2+512], %r6;\n@%p1 st.global.u32 [%rd2+640], 1;";
    let y = Lab::new(lines).run(&x, 6 * 32);
    for lane in 0..32 {
        let same = (0..32).filter(|&l| x[l] == x[lane]).map(|l| 1 << l).sum::<u32>();
        let found: Vec<u32> = (0..6).map(|k| y[32 * k + lane]).collect();
        assert_eq!(found, [same, same, 0, 0, u32::MAX, 1], "lane {lane}");
    }
}

#[test]
fn redux_folds_the_lanes_of_the_mask() {
    let x = random(4, 32);
    let signed = || x.iter().map(|&v| v as i32);
    let expected = [
        ("add.u32", x.iter().fold(0, |a: u32, &v| a.wrapping_add(v))),
        ("add.s32", signed().fold(0, |a: i32, v| a.wrapping_add(v)) as u32),
        ("min.u32", *x.iter().min().expect("not empty")),
        ("max.u32", *x.iter().max().expect("not empty")),
        ("min.s32", signed().min().expect("not empty") as u32),
        ("max.s32", signed().max().expect("not empty") as u32),
        ("and.b32", x.iter().fold(u32::MAX, |a, &v| a & v)),
        ("or.b32", x.iter().fold(0, |a, &v| a | v)),
        ("xor.b32", x.iter().fold(0, |a, &v| a ^ v)),
    ];
    for (form, e) in expected {
        let y = Lab::new(format!("redux.sync.{form} %r3, %r2, -1;\nst.global.u32 [%rd2], %r3;")).run(&x, 32);
        assert_eq!(y, [e; 32], "{form}");
    }
}

#[test]
fn redux_of_floats_orders_zeros_and_treats_nan_as_min_and_max_do() {
    let nan = f32::NAN.to_bits();
    let lanes =
        |values: &[f32]| -> Vec<u32> { (0..32).map(|l| values[l % values.len()].to_bits()).collect() };
    let cases: [(&str, &[f32], u32); 9] = [
        ("min", &[1.5, -2.0, 7.0], (-2.0f32).to_bits()),
        ("max", &[1.5, -2.0, 7.0, -9.0], 7.0f32.to_bits()),
        ("max.abs", &[1.5, -2.0, 7.0, -9.0], 9.0f32.to_bits()),
        ("min.abs", &[1.5, -2.0, 7.0, -9.0], 1.5f32.to_bits()),
        ("min", &[0.0, -0.0], 0x8000_0000),
        ("max", &[0.0, -0.0], 0),
        ("min", &[f32::NAN, 3.0], 3.0f32.to_bits()),
        ("min.NaN", &[f32::NAN, 3.0], 0x7FFF_FFFF),
        ("max", &[f32::NAN], 0x7FFF_FFFF),
    ];
    assert_ne!(
        nan, 0x7FFF_FFFF,
        "the host's NaN is not the canonical one, so that the last case says something"
    );
    for (form, values, e) in cases {
        let lines =
            format!("mov.b32 %f1, %r2;\nredux.sync.{form}.f32 %f2, %f1, -1;\nst.global.f32 [%rd2], %f2;");
        assert_eq!(Lab::new(lines).arch(120).run(&lanes(values), 32), [e; 32], "{form} of {values:?}");
    }
}

#[test]
fn elect_chooses_one_lane_and_tells_all() {
    let lines = "elect.sync %r3|%p1, -1;\nst.global.u32 [%rd2], %r3;\n@%p1 st.global.u32 [%rd2+128], 1;";
    let y = Lab::new(lines).run(&[0; 32], 64);
    let leader = y[0] as usize;
    assert!(leader < 32 && y[..32].iter().all(|&v| v as usize == leader), "{y:?}");
    assert!((0..32).all(|l| y[32 + l] == u32::from(l == leader)), "{y:?}");
}

#[test]
fn forms_that_no_longer_exist_and_forms_of_later_devices_are_refused() {
    for line in [
        "shfl.idx.b32 %r3, %r2, 0, 31;",
        "vote.ballot.b32 %r3, %p1;",
        "vote.all.pred %p1, %p2;",
        "redux.sync.min.f32 %f1, %f2, -1;",
        "shfl.sync.idx.b64 %rd3, %rd4, 0, 31, -1;",
        "match.any.sync.b32 %r3|%p1, %r2, -1;",
        "redux.sync.and.u32 %r3, %r2, -1;",
        "shfl.sync.idx.b32 %r3, %rd2, 0, 31, -1;",
    ] {
        let error = Lab::new(line).refused();
        assert!(error.contains(line.split(' ').next().expect("not empty")), "{error}");
    }
    assert!(Lab::new("redux.sync.add.u32 %r3, %r2, -1;").arch(75).refused().contains("75"));
}
