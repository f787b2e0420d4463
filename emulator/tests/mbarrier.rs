//! `mbarrier` objects: counts, phases, states, waits, and misuse.

#[path = "mbarrier/misuse.rs"]
mod misuse;
mod transfers;

use cuda_emulator::machine::{Access, AccessKind, Event, Fault, FaultKind, Observer, Scene};
use std::sync::{Arc, Mutex};
use transfers::{ORDERS, Run, UNTOUCHED, counting};

/// Thread 0 makes a barrier of `count` arrivals at `bars`; all go on.
fn barrier(count: &str) -> String {
    format!(
        "setp.ge.u32 %p0, %t, 1;
        @!%p0 mbarrier.init.shared.b64 [bars], {count};
        bar.sync 0;"
    )
}

/// Asks whether the phase is over, `question` being all after the mnemonic; writes 1 or 0 to `[%outT + offset]`.
fn ask(question: &str, offset: u32) -> String {
    format!(
        "mbarrier.test_wait{question};
        mov.u32 %r20, 0;
        @%p1 mov.u32 %r20, 1;
        st.global.u32 [%outT + {offset}], %r20;"
    )
    .replace("%p1,", "%p1,")
}

fn run(body: &str, threads: u32, len: usize) -> Vec<u32> {
    Run::of(90, threads).run(body, &counting(64), len).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn a_phase_is_over_when_the_last_of_its_arrivals_comes() {
    let question = ".parity.shared.b64 %p1, [bars], 0";
    let arrive = "mbarrier.arrive.shared.b64 _, [bars];";
    let body = [&barrier("3"), arrive, arrive, &ask(question, 0), arrive, &ask(question, 4)].concat();
    assert_eq!(run(&body, 1, 2), [0, 1]);
    // The next phase begins with all arrivals pending; its parity is 1.
    let odd = ".parity.shared.b64 %p1, [bars], 1";
    let body = [&barrier("1"), &ask(odd, 0), arrive, &ask(odd, 4), arrive, &ask(odd, 8), &ask(question, 12)];
    assert_eq!(run(&body.concat(), 1, 4), [1, 0, 1, 0]);
}

#[test]
fn a_state_tells_its_phase_and_what_was_pending() {
    let body = barrier("3")
        + "mbarrier.arrive.noComplete.shared.b64 %d1, [bars], 2;
        mbarrier.pending_count.b64 %r10, %d1;
        st.global.u32 [%out], %r10;"
        + &ask(".shared.b64 %p1, [bars], %d1", 4)
        + "mbarrier.arrive.shared.b64 %d2, [bars];"
        + &ask(".shared.b64 %p1, [bars], %d1", 8)
        + &ask(".shared.b64 %p1, [bars], %d2", 12)
        + "mbarrier.arrive.shared.b64 %d3, [bars], 1;"
        + &ask(".acquire.cta.shared::cta.b64 %p1, [bars], %d3", 16);
    assert_eq!(run(&body, 1, 5), [3, 0, 1, 1, 0]);
}

#[test]
fn the_lanes_of_a_warp_arrive_each_for_itself() {
    let body = barrier("32")
        + "mbarrier.arrive.shared.b64 %d1, [bars];"
        + &ask(".shared.b64 %p1, [bars], %d1", 0)
        + "mbarrier.pending_count.b64 %r10, %d1;
        st.global.u32 [%outT + 128], %r10;";
    let out = run(&body, 32, 64);
    assert_eq!(out[..32], [1; 32]);
    let mut pending = out[32..].to_vec();
    pending.sort();
    assert_eq!(pending, (1..=32).collect::<Vec<_>>(), "each lane saw its own count");
}

#[test]
fn who_drops_out_is_missing_in_later_phases_only() {
    let parity = |p: u32| format!(".parity.shared.b64 %p1, [bars], {p}");
    let arrive = "mbarrier.arrive.shared.b64 _, [bars];";
    let drop = "mbarrier.arrive_drop.shared.b64 _, [bars];";
    let body = [
        &barrier("3"),
        drop,
        arrive,
        &ask(&parity(0), 0),
        arrive,
        &ask(&parity(0), 4),
        arrive,
        &ask(&parity(1), 8),
        arrive,
        &ask(&parity(1), 12),
    ];
    assert_eq!(run(&body.concat(), 1, 4), [0, 1, 0, 1]);
}

#[test]
fn expected_bytes_hold_the_phase_until_they_are_complete() {
    let question = ".parity.shared.b64 %p1, [bars], 0";
    let body = [
        &barrier("1"),
        "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bars], 16;",
        "mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [bars], 48;",
        &ask(question, 0),
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bars], 8; mbarrier.complete_tx.shared::cluster.b64 [bars], 32;",
        &ask(question, 4),
        "mbarrier.complete_tx.b64 [%d9], 8;",
        &ask(question, 8),
    ];
    let body = body.concat().replacen(
        "bar.sync 0;",
        "bar.sync 0; mov.u32 %r9, bars; cvta.shared.u64 %d9, DBARS;",
        1,
    );
    let body = body.replace("cvta.shared.u64 %d9, DBARS;", "mov.u64 %d8, bars; cvta.shared.u64 %d9, %d8;");
    assert_eq!(run(&body, 1, 3), [0, 0, 1]);
}

#[test]
fn try_wait_says_no_once_even_when_the_phase_is_over() {
    let body = barrier("1")
        + "mbarrier.arrive.shared.b64 %d1, [bars];
        mov.u32 %r20, 0;
    AGAIN:
        add.u32 %r20, %r20, 1;
        mbarrier.try_wait.shared.b64 %p1, [bars], %d1, 1000;
        @!%p1 bra AGAIN;
        st.global.u32 [%out], %r20;";
    assert_eq!(run(&body, 1, 1), [2]);
}

#[test]
fn contents_copied_by_plain_loads_are_opaque_but_change() {
    let body = barrier("2")
        + "ld.shared.u64 %d1, [bars];
        mbarrier.arrive.shared.b64 _, [bars];
        ld.shared.u64 %d2, [bars];
        st.global.u64 [%out], %d1;
        st.global.u64 [%out + 8], %d2;";
    let out = run(&body, 1, 4);
    assert_ne!(out[..2], out[2..]);
    assert!(out.iter().all(|&w| w > 1 << 20), "{out:x?}");
}

/// Warps 1 and 2 pass ten tiles of 32 words each from warp 0, through a ring of two stages. Warp 0 fills a stage when both have
/// left it (`bars + 16 + 8 s`, 64 arrivals) and says so (`bars + 8 s`, 32 arrivals). Each consumer adds up its lane's words.
const RING: &str = "
    setp.ge.u32 %p0, %t, 1;
    @!%p0 mbarrier.init.shared.b64 [bars], 32;
    @!%p0 mbarrier.init.shared.b64 [bars + 8], 32;
    @!%p0 mbarrier.init.shared.b64 [bars + 16], 64;
    @!%p0 mbarrier.init.shared.b64 [bars + 24], 64;
    bar.sync 0;
    mov.u32 %r1, tile;
    mov.u32 %r2, bars;
    mov.u32 %r3, 0;         // tile
    mov.u32 %r4, 0;         // stage
    mov.u32 %r5, 0;         // parity of the phase of this round
    mov.u32 %r6, 0;         // sum
    setp.ge.u32 %p1, %t, 32;
    @%p1 bra CONSUMER;
PRODUCER:
    mad.lo.u32 %r10, %r4, 8, %r2;
    sub.u32 %r11, 1, %r5;
EMPTY:
    mbarrier.try_wait.parity.shared.b64 %p2, [%r10 + 16], %r11;
    @!%p2 bra EMPTY;
    mad.lo.u32 %r12, %r3, 1000, %t;
    mad.lo.u32 %r13, %r4, 128, %r1;
    mad.lo.u32 %r13, %t, 4, %r13;
    st.shared.u32 [%r13], %r12;
    mbarrier.arrive.shared.b64 _, [%r10];
    add.u32 %r4, %r4, 1;
    setp.ge.u32 %p3, %r4, 2;
    @%p3 mov.u32 %r4, 0;
    @%p3 sub.u32 %r5, 1, %r5;
    add.u32 %r3, %r3, 1;
    setp.ge.u32 %p4, %r3, 10;
    @!%p4 bra PRODUCER;
    ret;
CONSUMER:
    mad.lo.u32 %r10, %r4, 8, %r2;
FULL:
    mbarrier.try_wait.parity.shared.b64 %p2, [%r10], %r5;
    @!%p2 bra FULL;
    mad.lo.u32 %r13, %r4, 128, %r1;
    mad.lo.u32 %r13, %t, 4, %r13;
    setp.ge.u32 %p5, %t, 64;
    @%p5 sub.u32 %r13, %r13, 128;
    ld.shared.u32 %r14, [%r13 + -128];
    add.u32 %r6, %r6, %r14;
    mbarrier.arrive.shared.b64 _, [%r10 + 16];
    add.u32 %r4, %r4, 1;
    setp.ge.u32 %p3, %r4, 2;
    @%p3 mov.u32 %r4, 0;
    @%p3 sub.u32 %r5, 1, %r5;
    add.u32 %r3, %r3, 1;
    setp.ge.u32 %p4, %r3, 10;
    @!%p4 bra CONSUMER;
    st.global.u32 [%outT], %r6;
";

#[test]
fn a_ring_with_full_and_empty_barriers_passes_every_tile_in_every_order() {
    for order in ORDERS {
        let out =
            Run::of(90, 96).order(order).run(RING, &[0], 96).unwrap_or_else(|f| panic!("{order:?} {f}"));
        assert_eq!(out[..32], [UNTOUCHED; 32]);
        for (i, &sum) in out[32..].iter().enumerate() {
            assert_eq!(sum, 45_000 + 10 * (i as u32 % 32), "{order:?} consumer {i}");
        }
    }
}

#[test]
fn lanes_of_one_warp_may_wait_for_each_other() {
    // Lane 0 waits for an arrival that lane 1 makes behind it in the code, and the other way round.
    let wait = "AGAIN: mbarrier.try_wait.parity.shared.b64 %p2, [bars], 0; @!%p2 bra AGAIN;";
    for (first, second) in
        [(wait, "mbarrier.arrive.shared.b64 _, [bars];"), ("mbarrier.arrive.shared.b64 _, [bars];", wait)]
    {
        let body = barrier("1")
            + &format!("@%p0 bra ONE; {first} bra DONE; ONE: {second} DONE: st.global.u32 [%outT], %t;");
        for order in ORDERS {
            let out = Run::of(90, 2).order(order).run(&body, &[0], 2);
            assert_eq!(out, Ok(vec![0, 1]), "{order:?}");
        }
    }
}

#[test]
fn an_arrival_after_copies_lands_them_when_somebody_looks() {
    // Every thread copies a word and arrives; the threads of the other warp read it.
    let copy = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    cp.async.ca.shared.global [%r2], [%inT], 4;
    ARRIVE
    mov.u32 %r3, %t;
    add.u32 %r3, %r3, 32;
    setp.ge.u32 %p3, %r3, 64;
    @%p3 sub.u32 %r3, %r3, 64;
    mad.lo.u32 %r3, %r3, 4, %r1;
    LOOK
    ld.shared.u32 %r10, [%r3];
    st.global.u32 [%outT], %r10;
    bar.sync 0;
    cp.async.wait_all;
    ";
    let arrivals = [
        ("64", "cp.async.mbarrier.arrive.noinc.shared.b64 [bars];"),
        ("64", "cp.async.mbarrier.arrive.shared.b64 [bars]; mbarrier.arrive.shared.b64 _, [bars];"),
        (
            "128",
            "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bars]; mbarrier.arrive.shared.b64 _, [bars];",
        ),
    ];
    let look = "AGAIN: mbarrier.try_wait.parity.shared.b64 %p2, [bars], 0; @!%p2 bra AGAIN;";
    let expected: Vec<u32> = (0..64).map(|t| 0x1000_0000 + (t + 32) % 64).collect();
    for (count, arrive) in arrivals {
        let body = barrier(count) + &copy.replace("ARRIVE", arrive).replace("LOOK", look);
        for order in ORDERS {
            let out = Run::of(90, 64).order(order).run(&body, &counting(64), 64);
            assert_eq!(out, Ok(expected.clone()), "{arrive} {order:?}");
        }
        let body = barrier(count) + &copy.replace("ARRIVE", arrive).replace("LOOK", "bar.sync 0;");
        let out = Run::of(90, 64).lenient().run(&body, &counting(64), 64);
        assert_eq!(out, Ok(vec![0x0101_0101; 64]), "nobody looked: {arrive}");
    }
}

#[test]
fn a_producer_may_leave_before_its_copies_land() {
    let body = barrier("32")
        + "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    setp.ge.u32 %p1, %t, 32;
    @%p1 bra CONSUMER;
    cp.async.ca.shared.global [%r2], [%inT], 4;
    cp.async.mbarrier.arrive.noinc.shared.b64 [bars];
    exit;
CONSUMER:
    mbarrier.try_wait.parity.shared.b64 %p2, [bars], 0;
    @!%p2 bra CONSUMER;
    ld.shared.u32 %r10, [%r2 + -128];
    st.global.u32 [%outT + -128], %r10;";
    for order in ORDERS {
        let out = Run::of(90, 64).order(order).run(&body, &counting(32), 32);
        assert_eq!(out, Ok(counting(32)), "{order:?}");
    }
}

#[test]
fn a_wait_that_nobody_ends_is_reported() {
    let body = barrier("65")
        + "mbarrier.arrive.shared.b64 _, [bars];
    AGAIN: mbarrier.try_wait.parity.shared.b64 %p2, [bars], 0; @!%p2 bra AGAIN;";
    for order in ORDERS {
        let fault = Run::of(90, 64).order(order).fault(&body);
        assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
    }
}

/// Keeps what it is told of barriers and copies.
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn access(&mut self, _: &Scene<'_>, a: &Access<'_>) -> Result<(), Fault> {
        if a.kind == AccessKind::CopyWrite {
            self.0.lock().expect("no panic").push(format!("CopyWrite {:x} {}", a.mask, a.bytes));
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        use Event::*;
        if matches!(
            event,
            CopyPending { .. } | CopyLanded { .. } | MbarrierArrive { .. } | MbarrierWait { .. }
        ) {
            let event = format!("{event:?}").replace(" { ", " ").replace(" }", "");
            self.0.lock().expect("no panic").push(format!("{} {event}", scene.place.warp));
        }
        Ok(())
    }
}

#[test]
fn watchers_hear_of_arrivals_and_of_waits_that_succeed() {
    let body = barrier("33")
        + "
    setp.ge.u32 %p1, %t, 32;
    @%p1 bra CONSUMER;
    @!%p0 cp.async.ca.shared.global [tile + 8], [%inT], 4;
    @!%p0 cp.async.mbarrier.arrive.shared.b64 [bars];
    mbarrier.arrive.shared.b64 _, [bars];
    exit;
CONSUMER:
    mbarrier.arrive.relaxed.cta.shared.b64 _, [bars];
AGAIN:
    mbarrier.try_wait.parity.shared.b64 %p2, [bars], 0;
    @!%p2 bra AGAIN;";
    for order in ORDERS {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut run = Run::of(90, 33).order(order);
        run.observers = vec![Box::new(Log(log.clone()))];
        run.run(&body, &counting(32), 1).unwrap_or_else(|f| panic!("{f}"));
        let expected = [
            "0 CopyPending offset: 8, bytes: 4, lane: 0",
            "0 MbarrierArrive offset: 8192, mask: 4294967295",
            "CopyWrite 1 4",
            "1 CopyLanded offset: 8, bytes: 4, lane: 0",
            "1 MbarrierArrive offset: 8192, mask: 1",
            "1 MbarrierWait offset: 8192, mask: 1",
        ];
        assert_eq!(*log.lock().expect("no panic"), expected, "{order:?}");
    }
}
