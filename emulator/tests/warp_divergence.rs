//! Lanes that part, meet again, wait for each other, and leave.

mod lab;

use cuda_emulator::machine::{FaultKind, Order};
use lab::{Lab, random};

const ORDERS: [Order; 3] = [Order::InOrder, Order::Random(4), Order::Random(5)];

/// `y[i]` becomes the lanes that are together here.
const WHO: &str = "activemask.b32 %r40;\nst.global.u32 [%rd2], %r40;";

#[test]
fn lanes_meet_after_loops_of_different_lengths() {
    let lines = format!(
        "mov.u32 %r6, 0;\nmov.u32 %r7, 0;\nLOOP:\nadd.u32 %r7, %r7, %r6;\nadd.u32 %r6, %r6, 1;\nsetp.ge.u32 %p1, %r6, %r2;\n@!%p1 bra LOOP;\n{WHO}\nst.global.u32 [%rd2+128], %r7;"
    );
    let x: Vec<u32> = random(1, 32).iter().map(|v| 1 + v % 7).collect();
    let y = Lab::new(lines).run(&x, 64);
    assert_eq!(y[..32], [u32::MAX; 32]);
    assert!((0..32).all(|l| y[32 + l] == x[l] * (x[l] - 1) / 2), "{y:?}");
}

#[test]
fn lanes_meet_where_one_group_falls_through_and_the_other_jumps() {
    let lines = format!("setp.ge.u32 %p1, %r0, 9;\n@%p1 bra JOIN;\nadd.u32 %r3, %r3, 1;\nJOIN:\n{WHO}");
    assert_eq!(Lab::new(lines).run(&[], 32), [u32::MAX; 32]);
    // The same with the other group's code after the join, as compilers place unlikely blocks.
    let lines = format!(
        "setp.ge.u32 %p1, %r0, 9;\n@%p1 bra FAR;\nJOIN:\n{WHO}\nret;\nFAR:\nadd.u32 %r3, %r3, 1;\nbra JOIN;"
    );
    let y = Lab::new(lines).run(&[], 32);
    assert!(
        y.iter().all(|&m| m == 0x1FF || m == !0x1FF),
        "each lane is with those of its kind at least: {y:?}"
    );
}

#[test]
fn a_shuffle_waits_for_lanes_whose_code_stands_after_it() {
    let lines = "setp.ge.u32 %p1, %r0, 9;\n@%p1 bra FAR;\nJOIN:\nshfl.sync.bfly.b32 %r3, %r2, 31, 31, -1;\nst.global.u32 [%rd2], %r3;\nret;\nFAR:\nadd.u32 %r2, %r2, 1;\nbra JOIN;";
    let x = random(2, 32);
    for order in ORDERS {
        let y = Lab::new(lines).order(order).run(&x, 32);
        for l in 0..32 {
            assert_eq!(y[l], x[31 - l].wrapping_add(u32::from(31 - l >= 9)), "lane {l}");
        }
    }
}

#[test]
fn nested_branches_meet_from_the_inside_out() {
    // The two low bits of x choose one of four paths; the lanes of a half meet, then all.
    let lines = format!(
        "setp.ge.u32 %p1, %r2, 2;\n@%p1 bra HIGH;\nsetp.ge.u32 %p2, %r2, 1;\n@%p2 bra ONE;\nmov.u32 %r5, 10;\nbra LOWJOIN;\nONE:\nmov.u32 %r5, 11;\nLOWJOIN:\n\
         activemask.b32 %r6;\nbra JOIN;\nHIGH:\nsetp.ge.u32 %p2, %r2, 3;\n@%p2 bra THREE;\nmov.u32 %r5, 12;\nbra HIGHJOIN;\nTHREE:\nmov.u32 %r5, 13;\nHIGHJOIN:\n\
         activemask.b32 %r6;\nJOIN:\n{WHO}\nst.global.u32 [%rd2+128], %r6;\nst.global.u32 [%rd2+256], %r5;"
    );
    let x: Vec<u32> = random(3, 32).iter().map(|v| v % 4).collect();
    let low = (0..32).filter(|&l| x[l] < 2).map(|l| 1u32 << l).sum::<u32>();
    let y = Lab::new(lines).run(&x, 96);
    for l in 0..32 {
        assert_eq!(y[l], u32::MAX, "lane {l}");
        assert_eq!(y[32 + l], if x[l] < 2 { low } else { !low }, "lane {l}");
        assert_eq!(y[64 + l], 10 + x[l], "lane {l}");
    }
}

#[test]
fn lanes_that_return_early_are_not_waited_for() {
    let x = random(4, 32);
    let lines = "setp.ge.u32 %p1, %r0, 16;\n@%p1 ret;\nshfl.sync.bfly.b32 %r3, %r2, 1, 31, 0xffff;\nst.global.u32 [%rd2], %r3;\n\
        vote.sync.ballot.b32 %r4, %p0, 0xffffffff;\nbar.warp.sync -1;\nshfl.sync.bfly.b32 %r3, %r2, 2, 31, -1;\nst.global.u32 [%rd2+128], %r3;";
    for order in ORDERS {
        let y = Lab::new(lines).order(order).run(&x, 64);
        for l in 0..16 {
            assert_eq!((y[l], y[32 + l]), (x[l ^ 1], x[l ^ 2]), "lane {l}");
        }
    }
    // They may also leave while the others wait for them.
    let late = "setp.ge.u32 %p1, %r0, 16;\n@%p1 bra FAR;\nvote.sync.ballot.b32 %r3, %p2, -1;\nst.global.u32 [%rd2], 1;\nret;\nFAR:\nst.global.u32 [%rd2], 2;\nexit;";
    let y = Lab::new(late).run(&[], 32);
    assert!((0..32).all(|l| y[l] == if l < 16 { 1 } else { 2 }), "{y:?}");
}

#[test]
fn parts_of_a_warp_that_name_only_themselves_do_not_wait_for_each_other() {
    // Masks of halves, quarters and single lanes, in one instruction.
    let x = random(5, 32);
    for size in [1u32, 4, 16] {
        let masks: Vec<u32> = (0..32).map(|l: u32| (u32::MAX >> (32 - size)) << (l / size * size)).collect();
        let both: Vec<u32> = masks.iter().chain(&x).copied().collect();
        let lines = format!(
            "ld.global.u32 %r5, [%rd63+128];\nshfl.sync.bfly.b32 %r3, %r5, {}, 31, %r2;\nst.global.u32 [%rd2], %r3;\nvote.sync.ballot.b32 %r4, !%p9, %r2;\nst.global.u32 [%rd2+128], %r4;\nbar.warp.sync %r2;",
            size - 1
        );
        for order in ORDERS {
            let y = Lab::new(&*lines).order(order).run(&both, 64);
            for l in 0..32u32 {
                assert_eq!(y[l as usize], x[(l ^ (size - 1)) as usize], "lane {l} in parts of {size}");
                assert_eq!(y[32 + l as usize], masks[l as usize], "lane {l} in parts of {size}");
            }
        }
    }
}

#[test]
fn half_a_warp_passes_its_barrier_while_the_other_half_waits_for_what_comes_after_it() {
    // Lanes 16.. spin until lane 0 stores a flag, which it does after a bar.warp.sync of lanes 0..16.
    let lines = "setp.ge.u32 %p1, %r0, 16;\n@%p1 bra SPIN;\nbar.warp.sync 0xffff;\nst.volatile.global.u32 [%rd0+512], 1;\nbra OUT;\n\
        SPIN:\nld.volatile.global.u32 %r3, [%rd0+512];\nsetp.ge.u32 %p2, %r3, 1;\n@!%p2 bra SPIN;\nOUT:\nst.global.u32 [%rd2], 1;";
    for order in ORDERS {
        assert_eq!(Lab::new(lines).order(order).run(&[], 129)[..32], [1; 32]);
    }
}

#[test]
fn lanes_whose_guard_is_off_have_not_arrived() {
    let shuffle = "setp.ge.u32 %p1, %r0, 16;\n@%p1 shfl.sync.idx.b32 %r3, %r2, 20, 31, -1;\n@%p1 st.global.u32 [%rd2], %r3;";
    // They go on and leave; the others are then all there are.
    let x = random(7, 32);
    let y = Lab::new(shuffle).run(&x, 32);
    assert!((0..32).all(|l| y[l] == if l < 16 { 0 } else { x[20] }), "{y:?}");
    // They go on and wait: nobody can go on any more.
    let fault = Lab::new(format!("{shuffle}\nbar.sync 0;")).fault(&x, 32);
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    assert!(fault.message.contains("barrier 0: 16 of 32 threads"), "{fault}");
    assert!(fault.message.contains("lanes 0xffff0000 at line 24 waits for lanes 0xffffffff"), "{fault}");
}

#[test]
fn lanes_that_never_come_are_named() {
    let lines = "setp.ge.u32 %p1, %r0, 16;\n@%p1 bra B;\nvote.sync.ballot.b32 %r3, %p1, -1;\nret;\nB:\nvote.sync.ballot.b32 %r3, %p1, -1;";
    let fault = Lab::new(lines).fault(&[], 1);
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    assert!(fault.message.contains("0x0000ffff wait for lanes 0xffff0000"), "{fault}");
    let lines = "setp.ge.u32 %p1, %r0, 16;\n@%p1 bra B;\nbar.warp.sync -1;\nret;\nB:\nvote.sync.ballot.b32 %r3, %p1, 0xffff0000;\nbar.sync 0;";
    assert_eq!(Lab::new(lines).fault(&[], 1).kind, FaultKind::Timeout);
}

#[test]
fn bar_warp_sync_joins_lanes_at_different_places() {
    let lines = "setp.ge.u32 %p1, %r0, 16;\n@%p1 bra B;\nst.global.u32 [%rd2], %r2;\nbar.warp.sync -1;\nbra C;\nB:\nst.global.u32 [%rd2], %r2;\nbar.warp.sync 0xffffffff;\nC:\n\
        sub.u32 %r5, 31, %r0;\nmul.wide.u32 %rd5, %r5, 4;\nadd.s64 %rd5, %rd5, %rd0;\nld.global.u32 %r6, [%rd5];\nst.global.u32 [%rd2+128], %r6;";
    let x = random(6, 32);
    let y = Lab::new(lines).run(&x, 64);
    assert!((0..32).all(|l| y[32 + l] == x[31 - l]), "{y:?}");
}

/// The classic lock: the winner's way out stands after the loop, so the losers must let it go on.
const LOCK: &str = "SPIN:\natom.global.cas.b32 %r3, [%rd0+512], 0, 1;\nsetp.ge.u32 %p1, %r3, 1;\n@%p1 bra SPIN;\n\
    ld.volatile.global.u32 %r4, [%rd0+516];\nadd.u32 %r4, %r4, 1;\nst.volatile.global.u32 [%rd0+516], %r4;\nmembar.gl;\natom.global.exch.b32 %r5, [%rd0+512], 0;";

#[test]
fn a_lock_between_lanes_of_one_warp_makes_progress() {
    for order in ORDERS {
        let y = Lab::new(LOCK).block(64).order(order).run(&[], 130);
        assert_eq!(y[128..], [0, 64], "{order:?}");
    }
}

#[test]
fn three_groups_that_wait_for_each_other_in_turn_make_progress() {
    // Lane l spins until the flag is l, then sets it to l + 1: down to up, and the other way round.
    for step in ["mov.u32 %r5, %r0;", "sub.u32 %r5, 31, %r0;"] {
        let lines = format!(
            "{step}\nSPIN:\nld.volatile.global.u32 %r3, [%rd0+512];\nsub.u32 %r4, %r3, %r5;\nsetp.ge.u32 %p1, %r4, 1;\n@%p1 bra SPIN;\nadd.u32 %r5, %r5, 1;\nst.volatile.global.u32 [%rd0+512], %r5;\nst.global.u32 [%rd2], %r5;"
        );
        for order in ORDERS {
            let y = Lab::new(&*lines).order(order).run(&[], 129);
            assert_eq!(y[128], 32);
        }
    }
    // Before the flag falls, two groups spin in loops around the one that must go on.
    let lines = "setp.ge.u32 %p1, %r0, 10;\n@%p1 bra OTHERS;\nA:\nld.volatile.global.u32 %r3, [%rd0+512];\nsetp.ge.u32 %p2, %r3, 1;\n@!%p2 bra A;\nbra OUT;\n\
        OTHERS:\nsetp.ge.u32 %p1, %r0, 20;\n@%p1 bra C;\nst.volatile.global.u32 [%rd0+512], 1;\nbra OUT;\nC:\nld.volatile.global.u32 %r3, [%rd0+512];\nsetp.ge.u32 %p2, %r3, 1;\n@!%p2 bra C;\nOUT:\nst.global.u32 [%rd2], 1;";
    assert_eq!(Lab::new(lines).run(&[], 129)[..32], [1; 32]);
}

#[test]
fn a_lane_that_spins_for_ever_runs_out_of_patience() {
    let lines = "SPIN:\nld.volatile.global.u32 %r3, [%rd0];\nsetp.ge.u32 %p1, %r3, 1;\n@!%p1 bra SPIN;";
    let fault = Lab { patience: 100_000, ..Lab::new(lines) }.fault(&[], 1);
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    assert!(fault.message.contains("spins"), "{fault}");
}
