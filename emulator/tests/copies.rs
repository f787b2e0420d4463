//! `cp.async`: what lands, when, and what is refused.

mod transfers;

use cuda_emulator::machine::{Access, AccessKind, Event, Fault, FaultKind, Observer, Order, Scene};
use std::sync::{Arc, Mutex};
use transfers::{ORDERS, Run, UNTOUCHED, counting, refusal};

/// What shared memory holds before a kernel writes it.
const OLD: u32 = 0x0101_0101;

/// Each thread copies its 16 bytes to `tile + 16 t`; `%r2` is that address.
const COPY_16: &str = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 16, %r1;
    mul.wide.u32 %d1, %t, 16;
    add.s64 %d2, %in, %d1;
    add.s64 %d3, %out, %d1;
    cp.async.cg.shared.global [%r2], [%d2], 16;
";
/// Each thread writes the 16 bytes at `%r2` to the output.
const GIVE_16: &str = "
    ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];
    st.global.v4.u32 [%d3], {%r10, %r11, %r12, %r13};
";

#[test]
fn a_kernel_that_forgets_to_wait_reads_the_old_bytes() {
    for commit in ["", "cp.async.commit_group;", "cp.async.commit_group; bar.sync 0;"] {
        let body = [COPY_16, commit, GIVE_16].concat();
        let out = Run::of(80, 64).lenient().run(&body, &counting(256), 256).expect("it runs");
        assert_eq!(out, [OLD; 256], "{commit}");
    }
}

#[test]
fn at_random_an_early_landing_shows_under_some_seeds_only() {
    let body = [COPY_16, "bar.sync 0; bar.sync 0; bar.sync 0; bar.sync 0;", GIVE_16].concat();
    let run = |seed| {
        let out = Run::of(80, 64).lenient().order(Order::Random(seed)).run(&body, &counting(256), 256);
        let out = out.expect("it runs");
        for warp in [&out[..128], &out[128..]] {
            assert!(warp == &[OLD; 128][..] || !warp.contains(&OLD), "a warp's copy lands whole");
        }
        assert_eq!(
            out,
            Run::of(80, 64)
                .lenient()
                .order(Order::Random(seed))
                .run(&body, &counting(256), 256)
                .expect("it runs")
        );
        out
    };
    let outs: Vec<_> = (0..20).map(run).collect();
    assert!(outs.iter().any(|o| o.contains(&OLD)), "some land late");
    assert!(outs.iter().any(|o| o != &[OLD; 256]), "some land early");
}

#[test]
fn every_way_to_wait_lands_the_copy() {
    let waits = [
        "cp.async.wait_all;",
        "cp.async.commit_group; cp.async.wait_all;",
        "cp.async.commit_group; cp.async.wait_group 0;",
        "cp.async.commit_group; cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 2;",
    ];
    for wait in waits {
        for order in ORDERS {
            let body = [COPY_16, wait, GIVE_16].concat();
            let out = Run::of(80, 64).order(order).run(&body, &counting(256), 256).expect("it runs");
            assert_eq!(out, counting(256), "{wait} {order:?}");
        }
    }
}

#[test]
fn waiting_for_all_but_n_groups_leaves_the_last_n() {
    // Three groups of one word each; the last two stay pending, and an uncommitted one with them.
    let body = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 16, %r1;
    cp.async.ca.shared.global [%r2], [%inT], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r2 + 4], [%inT], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r2 + 8], [%inT], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r2 + 12], [%inT], 4;
    cp.async.wait_group WAIT;
    mul.wide.u32 %d1, %t, 16;
    add.s64 %d3, %out, %d1;
    ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];
    st.global.v4.u32 [%d3], {%r10, %r11, %r12, %r13};
    cp.async.wait_all;
    ";
    for (wait, landed) in [(0, 3), (1, 2), (2, 1), (3, 0), (4, 0)] {
        let body = body.replace("WAIT", &wait.to_string());
        let out = Run::of(80, 32).run(&body, &counting(32), 128).expect("it runs");
        for (i, &word) in out.iter().enumerate() {
            let expected = if i % 4 < landed { 0x1000_0000 + i as u32 / 4 } else { OLD };
            assert_eq!(word, expected, "wait_group {wait}, word {i}");
        }
    }
}

#[test]
fn lanes_that_diverged_count_their_own_groups() {
    // Odd lanes commit once more than even ones, so that `wait_group 1` lands the first copy of odd lanes only.
    let body = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    mul.lo.u32 %r3, %t, 0x80000000;
    setp.ge.u32 %p1, %r3, 0x80000000;
    cp.async.ca.shared.global [%r2], [%inT], 4;
    cp.async.commit_group;
    @!%p1 bra SKIP;
    cp.async.commit_group;
SKIP:
    cp.async.wait_group 1;
    ld.shared.u32 %r10, [%r2];
    st.global.u32 [%outT], %r10;
    cp.async.wait_group 0;
    ld.shared.u32 %r10, [%r2];
    st.global.u32 [%outT + 128], %r10;
    ";
    let out = Run::of(80, 32).run(body, &counting(32), 64).expect("it runs");
    for l in 0..32 {
        let expected = if l % 2 == 1 { 0x1000_0000 + l as u32 } else { OLD };
        assert_eq!((out[l], out[32 + l]), (expected, 0x1000_0000 + l as u32), "lane {l}");
    }
}

#[test]
fn a_source_shorter_than_the_copy_is_followed_by_zeros() {
    // Lane l copies l bytes; lane 0 has no source at all.
    let body = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 16, %r1;
    mul.wide.u32 %d1, %t, 16;
    add.s64 %d2, %in, %d1;
    add.s64 %d3, %out, %d1;
    setp.ge.u32 %p1, %t, 1;
    @!%p1 mov.u64 %d2, 0;
    cp.async.cg.shared.global.L2::128B [%r2], [%d2], 16, %t;
    cp.async.wait_all;
    ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];
    st.global.v4.u32 [%d3], {%r10, %r11, %r12, %r13};
    ";
    let input: Vec<u8> = (0..16 * 17).map(|i| (i % 251) as u8 + 1).collect();
    let out = Run::of(80, 17).run(body, bytemuck::cast_slice(&input), 4 * 17).expect("it runs");
    for (i, &byte) in bytemuck::cast_slice::<u32, u8>(&out).iter().enumerate() {
        assert_eq!(byte, if i % 16 < i / 16 { input[i] } else { 0 }, "byte {i}");
    }
}

#[test]
fn an_ignored_source_is_not_touched() {
    // Even lanes have no source.
    let body = |predicate: &str| {
        format!(
            "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 8, %r1;
    mul.wide.u32 %d1, %t, 8;
    add.s64 %d2, %in, %d1;
    add.s64 %d3, %out, %d1;
    mul.lo.u32 %r4, %t, 0x80000000;
    setp.ge.u32 %p2, %r4, 0x80000000;
    setp.ge.u32 %p1, 0, %r4;
    @%p1 mov.u64 %d2, 0;
    mov.u64 %d9, 0;
    cp.async.ca.shared.global.L2::cache_hint [%r2], [%d2], 8, {predicate}, %d9;
    cp.async.wait_all;
    ld.shared.v2.u32 {{%r10, %r11}}, [%r2];
    st.global.v2.u32 [%d3], {{%r10, %r11}};
    "
        )
    };
    for predicate in ["%p1", "!%p2"] {
        let out = Run::of(80, 32).run(&body(predicate), &counting(64), 64).expect("it runs");
        for (i, &word) in out.iter().enumerate() {
            assert_eq!(word, if i / 2 % 2 == 0 { 0 } else { 0x1000_0000 + i as u32 }, "word {i} {predicate}");
        }
    }
}

#[test]
fn a_pipeline_of_three_stages_adds_up_the_input_in_every_order() {
    // out[t] = sum over tiles i < 16 of in[64 i + (t + 1) % 64]: each thread reads what its neighbour copied.
    let body = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    add.u32 %r3, %t, 1;
    setp.ge.u32 %p1, %r3, 64;
    @%p1 mov.u32 %r3, 0;
    mad.lo.u32 %r3, %r3, 4, %r1;
    mov.u32 %r5, 0;
    mov.u32 %r6, 0;
    mov.u32 %r7, 0;
    mov.u32 %r8, 0;
    cp.async.ca.shared.global [%r2], [%inT], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r2 + 256], [%inT + 256], 4;
    cp.async.commit_group;
    add.s64 %d1, %inT, 512;
LOOP:
    cp.async.wait_group 1;
    bar.sync 0;
    add.u32 %r10, %r3, %r6;
    ld.shared.u32 %r9, [%r10];
    add.u32 %r5, %r5, %r9;
    add.u32 %r11, %r6, 512;
    setp.ge.u32 %p2, %r11, 768;
    @%p2 sub.u32 %r11, %r11, 768;
    add.u32 %r11, %r2, %r11;
    setp.ge.u32 %p3, %r7, 14;
    @!%p3 cp.async.ca.shared.global [%r11], [%d1], 4;
    cp.async.commit_group;
    add.s64 %d1, %d1, 256;
    add.u32 %r6, %r6, 256;
    setp.ge.u32 %p2, %r6, 768;
    @%p2 mov.u32 %r6, 0;
    add.u32 %r7, %r7, 1;
    setp.ge.u32 %p2, %r7, 16;
    @!%p2 bra LOOP;
    st.global.u32 [%outT], %r5;
    ";
    let input: Vec<u32> = (0..1024).map(|i: u32| i.wrapping_mul(2_654_435_761)).collect();
    let expected: Vec<u32> = (0..64)
        .map(|t| (0..16).fold(0u32, |sum, i| sum.wrapping_add(input[64 * i + (t + 1) % 64])))
        .collect();
    for order in ORDERS {
        assert_eq!(Run::of(80, 64).order(order).run(body, &input, 64), Ok(expected.clone()), "{order:?}");
    }
}

#[test]
fn wrong_copies_are_faults_with_their_numbers() {
    let copy = |dst: &str, src: &str, rest: &str| {
        format!("mov.u32 %r1, tile; cp.async.ca.shared.global [{dst}], [{src}], {rest}; cp.async.wait_all;")
    };
    let cases = [
        (copy("%r1 + 4", "%in", "8"), FaultKind::MisalignedAddress, "is not a multiple of 8"),
        (copy("%r1", "%in + 2", "4"), FaultKind::MisalignedAddress, "is not a multiple of 4"),
        (copy("%r1 + 16384", "%in", "4"), FaultKind::IllegalAddress, "shared memory has"),
        (
            copy("%r1", "%in + 4096", "16"),
            FaultKind::IllegalAddress,
            "0 bytes past the end of an allocation of 4096",
        ),
        (copy("%r1", "%in + 4096", "16, 1"), FaultKind::IllegalAddress, "access of 1 bytes"),
        (copy("%r1", "%in", "8, 9"), FaultKind::IllegalInstruction, "source of 9 bytes for a copy of 8"),
    ];
    for (body, kind, message) in cases {
        let fault = Run::of(80, 32).fault(&body);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.message.contains(message), "{fault}");
        assert!(fault.place.text.starts_with("mov.u32 %r1, tile; cp.async.ca"), "{fault}");
    }
    // Of a source at the end of its allocation, only the bytes asked for are touched.
    let body = copy("%r1", "%in + 4080", "16, 16") + &copy("%r1", "%in + 4096", "16, 0");
    assert_eq!(Run::of(80, 32).run(&body, &counting(1024), 1), Ok(vec![UNTOUCHED]));
}

#[test]
fn leaving_with_a_copy_under_way_is_a_finding_of_the_checks() {
    for commit in ["", "cp.async.commit_group; cp.async.wait_group 1;"] {
        let body = [COPY_16, commit].concat();
        let fault = Run::of(80, 64).fault(&body);
        assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
        assert!(
            fault.message.contains("cp.async of 16 bytes to shared offset 0x0, issued at PTX line"),
            "{fault}"
        );
        assert_eq!(Run::of(80, 64).lenient().run(&body, &counting(256), 1), Ok(vec![UNTOUCHED]));
    }
    // Only the lanes that leave.
    let body = "sub.u32 %r1, %t, 5; setp.ge.u32 %p1, %r1, 1; @!%p1 cp.async.ca.shared.global [tile], [%in], 4; setp.ge.u32 %p2, %t, 8; @%p2 exit;
    cp.async.wait_all;";
    assert_eq!(Run::of(80, 32).run(body, &counting(1), 1), Ok(vec![UNTOUCHED]));
    let fault = Run::of(80, 32).fault(&body.replace("@%p2", "@!%p2"));
    assert_eq!((fault.kind, fault.place.thread), (FaultKind::Finding, [5, 0, 0]), "{fault}");
}

/// Keeps what it is told of copies.
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn access(&mut self, scene: &Scene<'_>, a: &Access<'_>) -> Result<(), Fault> {
        if matches!(a.kind, AccessKind::CopyRead | AccessKind::CopyWrite) {
            let at = a.addresses[a.mask.trailing_zeros() as usize] & 0xFF;
            let line = format!("{:?} {:?} {:x} {} {at}", a.kind, a.space, a.mask, a.bytes);
            self.0.lock().expect("no panic").push(line);
            assert!(
                scene.program.text[scene.program.lines[scene.place.pc as usize].ptx as usize - 1]
                    .contains("cp.async")
            );
        }
        Ok(())
    }

    fn event(&mut self, _: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        if matches!(event, Event::CopyPending { .. } | Event::CopyLanded { .. }) {
            self.0.lock().expect("no panic").push(format!("{event:?}"));
        }
        Ok(())
    }
}

#[test]
fn watchers_hear_of_issue_and_of_the_landing_that_somebody_waited_for() {
    for order in ORDERS {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut run = Run::of(80, 2).order(order);
        run.observers = vec![Box::new(Log(log.clone()))];
        let body = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 8, %r1;
    cp.async.ca.shared.global [%r2], [%in], 8;
    bar.sync 0;
    bar.sync 0;
    cp.async.wait_all;";
        run.run(body, &counting(4), 1).expect("it runs");
        let expected = [
            "CopyRead Global 3 8 0",
            "CopyPending { offset: 0, bytes: 8, lane: 0 }",
            "CopyPending { offset: 8, bytes: 8, lane: 1 }",
            "CopyWrite Shared 3 8 0",
            "CopyLanded { offset: 0, bytes: 8, lane: 0 }",
            "CopyLanded { offset: 8, bytes: 8, lane: 1 }",
        ];
        assert_eq!(*log.lock().expect("no panic"), expected, "{order:?}");
    }
}

#[test]
fn what_is_not_exact_does_not_load() {
    let cases = [
        (80, "cp.async.cg.shared.global [tile], [%in], 8;", "copies 8 bytes, expected 16"),
        (80, "cp.async.ca.shared.global [tile], [%in], 12;", "expected 4, 8 or 16"),
        (80, "cp.async.ca.shared.global.L2::32B [tile], [%in], 4;", "unknown modifiers L2::32B"),
        (80, "cp.async.ca.shared.global.L2::cache_hint [tile], [%in], 4;", "has 3 operands"),
        (80, "cp.async.ca.shared.global [tile], [tile], 4;", "expected in Global memory"),
        (80, "cp.async.ca.global.shared [%in], [tile], 4;", "unknown form"),
        (80, "cp.async.wait_group %r1;", "is not a register or a constant"),
        (75, "cp.async.wait_all;", "needs .target sm_80 or higher, found sm_75"),
        (
            90,
            "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%in, {%r1, %r2}], [bars];",
            "",
        ),
    ];
    for (arch, body, message) in cases {
        let refusal = refusal(arch, body);
        assert!(refusal.contains(message), "{body}: {refusal}");
    }
}
