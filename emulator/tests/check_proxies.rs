//! The fence between stores of threads and bulk copies of what they wrote.

mod transfers;

use cuda_emulator::{check::Proxies, machine::FaultKind};
use transfers::{ORDERS, Run};

/// Threads write their words; thread 0 sends them off. `AFTER` comes after the stores, `BEFORE` before the copy.
const STORE: &str = "
    setp.ge.u32 %p0, %t, 1;
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    st.shared.u32 [%r2], %t;
    AFTER
    bar.sync 0;
    BEFORE
    @!%p0 cp.async.bulk.global.shared::cta.bulk_group [%out], [tile], 256;
    @!%p0 cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
";

fn watched(order: cuda_emulator::machine::Order) -> Run {
    let mut run = Run::of(90, 64).order(order);
    run.observers = vec![Box::new(Proxies::default())];
    run
}

#[test]
fn a_fence_of_the_writers_or_of_the_issuer_is_enough() {
    let fence = "fence.proxy.async;";
    for (after, before) in [(fence, ""), ("", "@!%p0 fence.proxy.async.shared::cta;"), (fence, fence)] {
        let body = STORE.replace("AFTER", after).replace("BEFORE", before);
        for order in ORDERS {
            assert_eq!(
                watched(order).run(&body, &[0], 64),
                Ok((0..64).collect()),
                "{after} {before} {order:?}"
            );
        }
    }
}

#[test]
fn a_fence_of_a_third_thread_counts_if_barriers_put_it_between() {
    let third = "setp.eq.u32 %p3, %t, 40; @%p3 fence.proxy.async;";
    for (after, before, enough) in [
        ("", format!("{third} bar.sync 0;"), true),
        // Before the barrier that orders it after the stores; after the last one before the copy.
        (third, "bar.sync 0;".to_string(), false),
        ("", third.to_string(), false),
    ] {
        let body = STORE.replace("AFTER", after).replace("BEFORE", &before);
        for order in ORDERS {
            let outcome = watched(order).run(&body, &[0], 64);
            assert_eq!(outcome.is_ok(), enough, "{after} {before} {order:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_copy_of_what_was_written_without_a_fence_is_a_finding() {
    let cases = [
        ("", "", "offset 0x0, which thread 0 wrote"),
        // Before the stores is too early; only some of the writers are not enough; global memory is not shared memory.
        ("fence.proxy.async.global;", "", "offset 0x0, which thread 0 wrote"),
        ("setp.ge.u32 %p3, %t, 50; @!%p3 fence.proxy.async;", "", "offset 0xc8, which thread 50 wrote"),
        (
            "fence.proxy.async; setp.ge.u32 %p3, %t, 63; @%p3 st.shared.u32 [%r2], 1;",
            "",
            "offset 0xfc, which thread 63 wrote",
        ),
    ];
    for (after, before, message) in cases {
        let body = STORE.replace("AFTER", after).replace("BEFORE", before);
        for order in ORDERS {
            let fault = watched(order).run(&body, &[0], 64).expect_err("a fence is missing");
            assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
            assert!(fault.message.contains(message), "{fault}");
            assert!(fault.place.text.contains("cp.async.bulk.global"), "{fault}");
        }
    }
}

#[test]
fn writing_what_a_copy_under_way_may_still_read_is_a_finding() {
    let body = |wait: &str, after: &str| {
        STORE
            .replace("AFTER", "fence.proxy.async;")
            .replace("BEFORE", "")
            .replace("cp.async.bulk.wait_group 0;", "")
            + &format!("{wait} bar.sync 0; {after} bar.sync 0; cp.async.bulk.wait_group 0;")
    };
    // The same values again: it is not for the result that this is wrong.
    let store = "st.shared.u32 [%r2], %t;";
    for order in ORDERS {
        for (wait, after) in [
            ("", store),
            ("cp.async.bulk.wait_group.read 1;", store),
            ("", "@!%p0 cp.async.ca.shared.global [tile], [%in], 4; cp.async.wait_all;"),
        ] {
            let fault = watched(order).run(&body(wait, after), &[0], 64).expect_err("it may still be read");
            assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
            assert!(fault.message.contains("which a bulk copy under way may still read"), "{fault}");
        }
        let out = watched(order).run(&body("cp.async.bulk.wait_group.read 0;", store), &[0], 64);
        assert_eq!(out, Ok((0..64).collect()), "{order:?}");
    }
}

#[test]
fn what_a_bulk_copy_brought_needs_no_fence() {
    let body = "
    setp.ge.u32 %p0, %t, 1;
    @!%p0 mbarrier.init.shared.b64 [bars], 1;
    fence.proxy.async;
    bar.sync 0;
    @!%p0 mbarrier.arrive.expect_tx.shared.b64 _, [bars], 256;
    @!%p0 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [tile], [%in], 256, [bars];
    AGAIN: mbarrier.try_wait.parity.shared.b64 %p1, [bars], 0; @!%p1 bra AGAIN;
    @!%p0 cp.async.bulk.global.shared::cta.bulk_group [%out], [tile], 256;
    @!%p0 cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;";
    for order in ORDERS {
        let input: Vec<u32> = (100..164).collect();
        assert_eq!(watched(order).run(body, &input, 64), Ok(input), "{order:?}");
    }
}
