//! Barriers of a block, and lanes that reach them apart.

mod lab;

use cuda_emulator::machine::{FaultKind, Order};
use lab::{Lab, random};

const ORDERS: [Order; 4] = [Order::InOrder, Order::Random(1), Order::Random(2), Order::Random(3)];
const SHARED: &str = ".shared .align 16 .b8 buffer[4096];";

/// The address of the thread's word in `buffer` in `%r10`, that of the thread `%r11` in `%r12`.
const WORDS: &str = "mul.wide.u32 %rd20, %r0, 4;\nmov.b64 {%r10, %r13}, %rd20;\nmul.wide.u32 %rd20, %r11, 4;\nmov.b64 {%r12, %r13}, %rd20;\n\
    mov.u32 %r14, buffer;\nadd.u32 %r10, %r10, %r14;\nadd.u32 %r12, %r12, %r14;";

#[test]
fn a_barrier_orders_stores_before_loads_of_other_warps() {
    for (order, threads) in ORDERS.iter().flat_map(|&o| [33, 64, 100, 256].map(|n| (o, n))) {
        // Each thread reads the word of the thread opposite, ten rounds long.
        let last = threads - 1;
        let lines = format!(
            "sub.u32 %r11, {last}, %r0;\n{WORDS}\nmov.u32 %r20, 0;\nLOOP:\nst.shared.u32 [%r10], %r2;\nbar.sync 0;\nld.shared.u32 %r2, [%r12];\nbar.sync 0;\n\
             add.u32 %r2, %r2, 1;\nadd.u32 %r20, %r20, 1;\nsetp.ge.u32 %p1, %r20, 10;\n@!%p1 bra LOOP;\nst.global.u32 [%rd2], %r2;"
        );
        let x = random(1, threads as usize);
        let y = Lab::new(lines).module(SHARED).block(threads).order(order).run(&x, threads as usize);
        let expected: Vec<u32> = x.iter().map(|v| v.wrapping_add(10)).collect();
        assert_eq!(y, expected, "{threads} threads, {order:?}");
    }
}

#[test]
fn warps_that_have_left_are_not_waited_for() {
    let lines = "setp.ge.u32 %p1, %r0, 70;\n@%p1 ret;\nbar.sync 0;\nst.global.u32 [%rd2], 1;";
    for order in ORDERS {
        let y = Lab::new(lines).block(160).order(order).run(&[], 160);
        assert_eq!(y.iter().sum::<u32>(), 70);
    }
}

#[test]
fn a_reduction_counts_the_threads_of_its_own_round() {
    // The predicate is whether the thread's number is at least the round's: 100, 99, 98, ... threads.
    let lines = "mov.u32 %r20, 0;\nmov.u64 %rd5, %rd0;\nLOOP:\nsetp.ge.u32 %p1, %r0, %r20;\nbar.red.popc.u32 %r21, 0, %p1;\nst.global.u32 [%rd5], %r21;\n\
        bar.red.and.pred %p2, 0, %p1;\n@%p2 st.global.u32 [%rd5+4], 1;\nbar.red.or.pred %p2, 0, !%p1;\n@%p2 st.global.u32 [%rd5+8], 1;\n\
        add.u64 %rd5, %rd5, 12;\nadd.u32 %r20, %r20, 1;\nsetp.ge.u32 %p3, %r20, 20;\n@!%p3 bra LOOP;";
    for order in ORDERS {
        let y = Lab::new(lines).block(100).order(order).run(&[], 60);
        for (round, results) in y.chunks_exact(3).enumerate() {
            assert_eq!(
                results,
                [100 - round as u32, u32::from(round == 0), u32::from(round > 0)],
                "round {round}"
            );
        }
    }
}

#[test]
fn producers_that_arrive_and_consumers_that_wait_hand_each_round_over() {
    // Warps 0 and 1 write 5 rounds of numbers, warps 2 and 3 read them: barrier 1 says full, barrier 2 empty.
    let lines = format!(
        "mov.u32 %r20, 0;\nmov.u32 %r21, 0;\nsetp.ge.u32 %p1, %r0, 64;\n@%p1 sub.u32 %r11, %r0, 64;\n{WORDS}\n@%p1 bra CONSUME;\n\
         PRODUCE:\nadd.u32 %r22, %r2, %r20;\nsetp.ge.u32 %p3, %r20, 1;\n@%p3 bar.sync 2, 128;\nst.shared.u32 [%r10], %r22;\nbar.arrive 1, 128;\n\
         add.u32 %r20, %r20, 1;\nsetp.ge.u32 %p2, %r20, 5;\n@!%p2 bra PRODUCE;\nret;\n\
         CONSUME:\nbar.sync 1, 128;\nld.shared.u32 %r22, [%r12];\nadd.u32 %r21, %r21, %r22;\nadd.u32 %r20, %r20, 1;\nsetp.ge.u32 %p2, %r20, 5;\n\
         @!%p2 bar.arrive 2, 128;\n@!%p2 bra CONSUME;\nst.global.u32 [%rd2], %r21;"
    );
    let x = random(2, 128);
    for order in ORDERS {
        let y = Lab::new(&*lines).module(SHARED).block(128).order(order).run(&x, 128);
        for t in 0..64 {
            assert_eq!(y[64 + t], x[t].wrapping_mul(5).wrapping_add(10), "thread {t}, {order:?}");
        }
    }
}

#[test]
fn one_arrival_after_another_completes_one_phase_after_another() {
    // Warp 0 arrives three times in a row; warp 1 waits three times: no arrival may be lost.
    let lines = "setp.ge.u32 %p1, %r0, 32;\n@%p1 bra WAIT;\nbar.sync 3, 64;\nbar.arrive 1, 64;\nbar.sync 2, 64;\nbar.arrive 1, 64;\nbar.sync 2, 64;\nbar.arrive 1, 64;\nret;\n\
        WAIT:\nbar.arrive 3, 64;\nbar.sync 1, 64;\nbar.arrive 2, 64;\nbar.sync 1, 64;\nbar.arrive 2, 64;\nbar.sync 1, 64;\nst.global.u32 [%rd2], 1;";
    for order in ORDERS {
        assert_eq!(Lab::new(lines).block(64).order(order).run(&[], 64).iter().sum::<u32>(), 32);
    }
}

#[test]
fn a_partial_warp_counts_as_a_whole_one_where_threads_are_numbered() {
    let y = Lab::new("bar.sync 1, 64;\nst.global.u32 [%rd2], 1;").block(40).run(&[], 40);
    assert_eq!(y, [1; 40]);
    // And when its lanes arrive apart.
    let apart = "setp.ge.u32 %p1, %r0, 36;\n@%p1 bra B;\nbarrier.sync 1, 64;\nbra C;\nB:\nbarrier.sync 1, 64;\nC:\nst.global.u32 [%rd2], 1;";
    assert_eq!(Lab::new(apart).block(40).run(&[], 40), [1; 40]);
}

#[test]
fn lanes_may_reach_a_barrier_that_is_not_aligned_apart() {
    let lines = "setp.ge.u32 %p1, %r0, 7;\n@%p1 bra B;\nbarrier.sync 0;\nst.global.u32 [%rd2], 1;\nret;\nB:\nst.global.u32 [%rd2], 2;\nbarrier.sync 0;";
    for order in ORDERS {
        let y = Lab::new(lines).block(64).order(order).run(&[], 64);
        assert!((0..64).all(|t| y[t] == if t < 7 { 1 } else { 2 }), "{y:?}");
    }
}

/// `if (lane < 7) __syncthreads(); else __syncthreads();`
const TWO_BARRIERS: &str = "setp.ge.u32 %p1, %r0, 7;\n@%p1 bra B;\nbar.sync 0;\nst.global.u32 [%rd2], 1;\nret;\nB:\nbar.sync 0;\nst.global.u32 [%rd2], 2;";

#[test]
fn an_aligned_barrier_in_a_diverged_warp_is_a_finding_of_the_checks_alone() {
    let lab = Lab::new(TWO_BARRIERS).block(64);
    let y = lab.run(&[], 64);
    assert!((0..64).all(|t| y[t] == if t < 7 { 1 } else { 2 }), "{y:?}");
    let fault = Lab { strict: true, ..lab }.fault(&[], 64);
    assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
    assert!(fault.message.contains("divergent barrier"), "{fault}");
    let skipped = Lab::new("setp.ge.u32 %p1, %r0, 7;\n@!%p1 bar.sync 0;\nbar.sync 1;").block(32);
    assert_eq!(Lab { strict: true, ..skipped }.fault(&[], 32).kind, FaultKind::Finding);
}

#[test]
fn lanes_that_come_late_to_an_aligned_barrier_are_waited_for() {
    // Each lane loops as often as its number says, far more often than lanes wait for others by themselves.
    let lines = "mul.lo.u32 %r5, %r2, 40;\nmov.u32 %r6, 0;\nLOOP:\nadd.u32 %r6, %r6, 1;\nsetp.ge.u32 %p1, %r6, %r5;\n@!%p1 bra LOOP;\nbar.sync 0;\nst.global.u32 [%rd2], %r6;";
    let x: Vec<u32> = (0..64).map(|t| 1 + t % 32).collect();
    for order in ORDERS {
        let y = Lab { strict: true, ..Lab::new(lines).block(64).order(order) }.run(&x, 64);
        assert!((0..64).all(|t| y[t] == 40 * x[t]), "{y:?}");
    }
}

#[test]
fn barriers_that_cannot_be_right_are_faults() {
    let fault = |lines: &str, threads| Lab::new(lines).block(threads).fault(&[], 1);
    assert_eq!(fault("bar.sync 16;", 32).kind, FaultKind::IllegalInstruction);
    assert_eq!(fault("bar.sync 1, 33;", 32).kind, FaultKind::IllegalInstruction);
    assert_eq!(fault("bar.sync %r0;", 32).kind, FaultKind::IllegalInstruction);
    let mixed =
        "setp.ge.u32 %p1, %r0, 32;\n@%p1 bra B;\nbar.sync 1;\nret;\nB:\nbar.red.popc.u32 %r3, 1, %p1;";
    assert_eq!(fault(mixed, 64).kind, FaultKind::IllegalInstruction);
    let counts = "setp.ge.u32 %p1, %r0, 32;\n@%p1 bra B;\nbar.sync 1, 64;\nret;\nB:\nbar.sync 1, 96;";
    assert_eq!(fault(counts, 64).kind, FaultKind::IllegalInstruction);
    let never = fault("bar.sync 1, 64;", 32);
    assert_eq!(never.kind, FaultKind::Timeout);
    assert!(
        never.message.contains("deadlock") && never.message.contains("barrier 1: 32 of 64 threads"),
        "{never}"
    );
    let crossed = "setp.ge.u32 %p1, %r0, 32;\n@%p1 bra B;\nbar.sync 1, 64;\nbar.sync 2, 64;\nret;\nB:\nbar.sync 2, 64;\nbar.sync 1, 64;";
    assert_eq!(fault(crossed, 64).kind, FaultKind::Timeout);
}

#[test]
fn a_barrier_number_in_a_register_may_differ_between_lanes_where_it_is_not_aligned() {
    // Lanes below 16 meet at barrier 3, the others at 4; then all at 0.
    let lines = "setp.ge.u32 %p1, %r0, 16;\nmov.u32 %r5, 3;\n@%p1 mov.u32 %r5, 4;\nbarrier.sync %r5;\nst.global.u32 [%rd2], %r5;";
    let fault = Lab::new(lines).fault(&[], 32);
    assert!(
        fault.message.contains("barrier 3: 16 of 32") && fault.message.contains("barrier 4: 16 of 32"),
        "{fault}"
    );
}
