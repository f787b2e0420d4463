//! Clusters of one block, and what dependent launches say.

mod transfers;

use cuda_emulator::machine::{Event, Fault, FaultKind, Observer, Scene};
use std::sync::{Arc, Mutex};
use transfers::{ORDERS, Run, counting, refusal};

#[test]
fn nobody_passes_the_barrier_of_the_cluster_before_all_have_arrived() {
    // Four warps in five rounds: each thread reads what the last one wrote in this round; threads may work between the halves.
    let body = "
    mov.u32 %r1, tile;
    sub.u32 %r2, 127, %t;
    mad.lo.u32 %r3, %t, 4, %r1;
    mad.lo.u32 %r4, %r2, 4, %r1;
    mov.u32 %r5, 0;
    mov.u32 %r6, 0;
LOOP:
    mad.lo.u32 %r7, %r5, 1000, %t;
    st.shared.u32 [%r3], %r7;
    barrier.cluster.arrive.release.aligned;
    add.u32 %r6, %r6, 1;
    barrier.cluster.wait.acquire.aligned;
    ld.shared.u32 %r8, [%r4];
    add.u32 %r6, %r6, %r8;
    barrier.cluster.arrive;
    barrier.cluster.wait;
    add.u32 %r5, %r5, 1;
    setp.ge.u32 %p1, %r5, 5;
    @!%p1 bra LOOP;
    st.global.u32 [%outT], %r6;";
    let expected: Vec<u32> = (0..128).map(|t| 10_000 + 5 * (127 - t) + 5).collect();
    for order in ORDERS {
        assert_eq!(Run::of(90, 128).order(order).run(body, &[0], 128), Ok(expected.clone()), "{order:?}");
    }
}

#[test]
fn those_who_have_left_are_not_waited_for_and_lanes_may_wait_apart() {
    let body = "
    setp.ge.u32 %p1, %t, 40;
    @%p1 barrier.cluster.arrive;
    @%p1 exit;
    setp.ge.u32 %p2, %t, 20;
    @%p2 bra LATE;
    barrier.cluster.arrive;
    barrier.cluster.wait;
    bra END;
LATE:
    st.shared.u32 [tile], 77;
    barrier.cluster.arrive;
    barrier.cluster.wait;
END:
    ld.shared.u32 %r1, [tile];
    st.global.u32 [%outT], %r1;";
    for order in ORDERS {
        assert_eq!(Run::of(90, 64).order(order).run(body, &[0], 40), Ok(vec![77; 40]), "{order:?}");
    }
}

#[test]
fn misuse_of_the_barrier_is_a_fault() {
    let cases = [
        ("barrier.cluster.arrive; barrier.cluster.arrive;", FaultKind::IllegalInstruction, "a second time"),
        ("barrier.cluster.wait;", FaultKind::IllegalInstruction, "without barrier.cluster.arrive"),
        (
            "setp.ge.u32 %p1, %t, 1; @%p1 bra OTHER; bar.sync 1; OTHER: barrier.cluster.arrive; barrier.cluster.wait;",
            FaultKind::Timeout,
            "for the barrier of the cluster",
        ),
    ];
    for (body, kind, message) in cases {
        let fault = Run::of(90, 64).fault(body);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.message.contains(message), "{fault}");
    }
}

#[test]
fn addresses_of_the_cluster_are_those_of_the_block() {
    let body = "
    mov.u32 %r1, tile;
    mov.u32 %r9, 0;
    mapa.shared::cluster.u32 %r2, %r1, %r9;
    st.shared.u32 [%r2], 5;
    mov.u64 %d1, tile;
    cvta.shared.u64 %d1, %d1;
    mapa.u64 %d2, %d1, 0;
    ld.u32 %r3, [%d2];
    st.global.u32 [%out], %r3;
    mapa.shared::cluster.u32 %r4, bars, 0;
    mbarrier.init.shared.b64 [bars], 1;
    mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r4];
    mov.u64 %d1, bars;
    cvta.shared.u64 %d1, %d1;
    mapa.u64 %d2, %d1, 0;
    mbarrier.arrive.release.cluster.b64 _, [%d2];
    mbarrier.test_wait.parity.acquire.cluster.shared.b64 %p1, [bars], 1;
    mov.u32 %r5, 0;
    @%p1 mov.u32 %r5, 1;
    st.global.u32 [%out + 4], %r5;";
    assert_eq!(Run::of(90, 1).run(body, &[0], 2), Ok(vec![5, 1]));
    let fault = Run::of(90, 1).fault("mapa.u64 %d2, %in, 0;");
    assert_eq!(fault.kind, FaultKind::InvalidAddressSpace, "{fault}");
    let fault = Run::of(90, 1).fault("mapa.shared::cluster.u32 %r2, tile, 1;");
    assert!(fault.message.contains("block 1 of a cluster of one block"), "{fault}");
}

struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn access(&mut self, _: &Scene<'_>, _: &cuda_emulator::machine::Access<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn event(&mut self, _: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        use Event::*;
        if matches!(
            event,
            DependencyWait { .. } | MbarrierArrive { .. } | MbarrierWait { .. } | ProxyFence { .. }
        ) {
            self.0.lock().expect("no panic").push(format!("{event:?}"));
        }
        Ok(())
    }
}

#[test]
fn watchers_hear_of_clusters_and_of_dependences() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut run = Run::of(90, 2);
    run.observers = vec![Box::new(Log(log.clone()))];
    let body = "griddepcontrol.wait; griddepcontrol.launch_dependents;
    barrier.cluster.arrive; barrier.cluster.wait;
    barrier.cluster.arrive.relaxed; barrier.cluster.wait;
    fence.proxy.async; fence.proxy.async.shared::cta; fence.proxy.async.global; fence.mbarrier_init.release.cluster;";
    run.run(body, &counting(1), 1).expect("it runs");
    let expected = [
        "DependencyWait { mask: 3 }",
        "MbarrierArrive { offset: 4294967295, mask: 3 }",
        "MbarrierWait { offset: 4294967295, mask: 3 }",
        "MbarrierWait { offset: 4294967295, mask: 3 }",
        "ProxyFence { mask: 3 }",
        "ProxyFence { mask: 3 }",
    ];
    assert_eq!(*log.lock().expect("no panic"), expected);
}

#[test]
fn what_is_not_exact_does_not_load() {
    let cases = [
        (80, "griddepcontrol.wait;", "needs .target sm_90"),
        (80, "barrier.cluster.arrive;", "needs .target sm_90"),
        (90, "barrier.cluster.arrive.acquire;", "unknown modifier acquire"),
        (90, "barrier.cluster.wait.release;", "unknown modifier release"),
        (90, "barrier.cluster.sync;", "unknown form"),
        (90, "griddepcontrol.wait 1;", "has 1 operands"),
        (90, "mapa.u64 %d1, tile, 0;", "not in a register"),
    ];
    for (arch, body, message) in cases {
        let refusal = refusal(arch, body);
        assert!(refusal.contains(message), "{body}: {refusal}");
    }
}
