//! `cp.async.bulk` and `cp.reduce.async.bulk`: when they land, what they do to numbers, and what is refused.

mod transfers;

use cuda_emulator::machine::{Fault, FaultKind, Order};
use transfers::{ORDERS, Run, UNTOUCHED, counting, refusal};

/// What shared memory holds before a kernel writes it.
const OLD: u32 = 0x0101_0101;

/// Thread 0 makes a barrier and asks for 256 bytes; `%p0` is false in it alone.
const LOAD: &str = "
    setp.ge.u32 %p0, %t, 1;
    @!%p0 mbarrier.init.shared.b64 [bars], 1;
    fence.mbarrier_init.release.cluster;
    bar.sync 0;
    @!%p0 mbarrier.arrive.expect_tx.shared.b64 _, [bars], 256;
    @!%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile + 128], [%in + 64], 256, [bars];
";
const WAIT: &str = "AGAIN: mbarrier.try_wait.parity.shared.b64 %p1, [bars], 0; @!%p1 bra AGAIN;";
/// Each thread gives the word of its number.
const GIVE: &str = "
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    ld.shared.u32 %r10, [%r2 + 128];
    st.global.u32 [%outT], %r10;
";

#[test]
fn a_load_lands_when_somebody_waits_for_its_barrier() {
    let expected: Vec<u32> = (0..64).map(|i| 0x1000_0010 + i).collect();
    for order in ORDERS {
        let out = Run::of(90, 64).order(order).run(&[LOAD, WAIT, GIVE].concat(), &counting(80), 64);
        assert_eq!(out, Ok(expected.clone()), "{order:?}");
    }
    let out = Run::of(90, 64).lenient().run(&[LOAD, "bar.sync 0;", GIVE].concat(), &counting(80), 64);
    assert_eq!(out, Ok(vec![OLD; 64]), "without a wait");
}

#[test]
fn at_random_a_load_may_land_before_anybody_waits() {
    let body = [LOAD, "bar.sync 0; bar.sync 0; bar.sync 0;", GIVE].concat();
    let run = |seed| Run::of(90, 64).lenient().order(Order::Random(seed)).run(&body, &counting(80), 64);
    let outs: Vec<_> = (0..20).map(|seed| run(seed).expect("it runs")).collect();
    assert!(outs.iter().any(|o| o.contains(&OLD)), "some land late");
    assert!(outs.iter().any(|o| !o.contains(&OLD)), "some land early");
}

#[test]
fn bytes_may_come_before_they_are_expected() {
    let body = LOAD.replace("@!%p0 mbarrier.arrive", "//")
        + "bar.sync 0; @!%p0 mbarrier.arrive.expect_tx.shared.b64 _, [bars], 256;";
    for order in ORDERS {
        let out = Run::of(90, 64).order(order).run(&[&body, WAIT, GIVE].concat(), &counting(80), 64);
        assert_eq!(out.map(|o| o[63]), Ok(0x1000_0010 + 63), "{order:?}");
    }
}

#[test]
fn two_loads_complete_a_phase_together_and_less_does_not() {
    let second = "@!%p0 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes.L2::cache_hint [tile + 256], [%in + 192], 128, [bars], %d9;";
    let first = LOAD.replace("256, [bars];", "128, [bars];");
    let first = format!("mov.u64 %d9, 0; {first}");
    let out = Run::of(90, 64).run(&[&first, second, WAIT, GIVE].concat(), &counting(80), 64);
    assert_eq!(out, Ok((0..64).map(|i| 0x1000_0010 + i).collect()));
    let fault = Run::of(90, 64).fault(&[&first, WAIT, GIVE].concat());
    assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
}

/// Every thread fills its word of `tile`; thread 0 sends 256 bytes to the output.
const STORE: &str = "
    setp.ge.u32 %p0, %t, 1;
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    add.u32 %r3, %t, 700;
    st.shared.u32 [%r2], %r3;
    fence.proxy.async.shared::cta;
    bar.sync 0;
    @!%p0 cp.async.bulk.global.shared::cta.bulk_group [%out + 16], [tile], 256;
    @!%p0 cp.async.bulk.commit_group;
";

fn stored() -> Vec<u32> {
    let word = |i: u32| if (4..68).contains(&i) { 696 + i } else { UNTOUCHED };
    (0..72).map(word).collect()
}

#[test]
fn a_store_arrives_whether_or_not_its_writing_is_waited_for() {
    for wait in ["cp.async.bulk.wait_group 0;", "cp.async.bulk.wait_group.read 0;"] {
        for order in ORDERS {
            let out = Run::of(90, 64).order(order).run(&[STORE, wait].concat(), &[0], 72);
            assert_eq!(out, Ok(stored()), "{wait} {order:?}");
        }
    }
}

#[test]
fn a_store_is_read_and_written_as_late_as_the_thread_waits() {
    // Thread 0 looks at what it sent: after the wait for reading it is not there yet, after the other it is.
    let look = "@!%p0 ld.global.u32 %r10, [%out + 16]; @!%p0 st.global.u32 [%out + 400], %r10;
    cp.async.bulk.wait_group 0;
    @!%p0 ld.global.u32 %r10, [%out + 16]; @!%p0 st.global.u32 [%out + 404], %r10;";
    let out = Run::of(90, 64)
        .run(&[STORE, "cp.async.bulk.wait_group.read 0;", look].concat(), &[0], 102)
        .expect("it runs");
    assert_eq!(out[100..], [UNTOUCHED, 700]);
    // What is written over before the wait for reading may have gone in its place, and does.
    let over = |wait| {
        [STORE, wait, "bar.sync 0; st.shared.u32 [%r2], 9; bar.sync 0; cp.async.bulk.wait_group 0;"].concat()
    };
    let out = Run::of(90, 64).lenient().run(&over(""), &[0], 72).expect("it runs");
    assert_eq!(out[4..68], [9; 64]);
    let out = Run::of(90, 64).run(&over("cp.async.bulk.wait_group.read 0;"), &[0], 72);
    assert_eq!(out, Ok(stored()));
    let fault = Run::of(90, 64).run(&over(""), &[0], 72).expect_err("the source changes");
    assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
    assert!(fault.message.contains("source changed before it was read: bulk copy of 256 bytes"), "{fault}");
}

#[test]
fn groups_of_stores_are_waited_for_but_the_last_n() {
    let body = [
        STORE,
        "
    @!%p0 cp.async.bulk.global.shared::cta.bulk_group [%out + 512], [tile], 16;
    @!%p0 cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
    cp.async.bulk.wait_group 1;
    @!%p0 ld.global.u32 %r10, [%out + 16]; @!%p0 ld.global.u32 %r11, [%out + 512];
    @!%p0 st.global.u32 [%out + 400], %r10; @!%p0 st.global.u32 [%out + 404], %r11;",
    ]
    .concat();
    let out = Run::of(90, 64).run(&body, &[0], 132).expect("it runs");
    assert_eq!((&out[100..102], out[128]), (&[700, UNTOUCHED][..], 700));
}

#[test]
fn an_array_goes_through_shared_memory_in_tiles_in_every_order() {
    // Eight blocks of one warp each: in by a bulk copy, out by another, three tiles each, the barrier used again and again.
    let body = "
    setp.ge.u32 %p0, %t, 1;
    @!%p0 mbarrier.init.shared.b64 [bars], 1;
    bar.sync 0;
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    mov.u32 %r3, 0;
    mov.u32 %r4, 0;
    mul.wide.u32 %d1, %b, 384;
    add.s64 %d2, %in, %d1;
    add.s64 %d3, %out, %d1;
TILES:
    @!%p0 mbarrier.arrive.expect_tx.shared.b64 _, [bars], 128;
    @!%p0 cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [tile], [%d2], 128, [bars];
WAITS:
    mbarrier.try_wait.parity.shared.b64 %p1, [bars], %r4;
    @!%p1 bra WAITS;
    ld.shared.u32 %r10, [%r2];
    add.u32 %r10, %r10, 5;
    @!%p0 cp.async.bulk.wait_group.read 0;
    bar.sync 0;
    st.shared.u32 [%r2 + 128], %r10;
    fence.proxy.async;
    bar.sync 0;
    @!%p0 cp.async.bulk.global.shared::cta.bulk_group [%d3], [tile + 128], 128;
    @!%p0 cp.async.bulk.commit_group;
    add.s64 %d2, %d2, 128;
    add.s64 %d3, %d3, 128;
    sub.u32 %r4, 1, %r4;
    add.u32 %r3, %r3, 1;
    setp.ge.u32 %p2, %r3, 3;
    @!%p2 bra TILES;
    @!%p0 cp.async.bulk.wait_group.read 0;
    ";
    let input: Vec<u32> = (0..768u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    let expected: Vec<u32> = input.iter().map(|x| x.wrapping_add(5)).collect();
    for order in ORDERS {
        let mut run = Run::of(90, 32).order(order);
        run.blocks = 8;
        assert_eq!(run.run(body, &input, 768), Ok(expected.clone()), "{order:?}");
    }
}

/// Reduces `new` into `old` by one bulk operation.
fn reduced(operation: &str, old: &[u32], new: &[u32], order: Order) -> Result<Vec<u32>, Fault> {
    let body = format!(
        "
    setp.ge.u32 %p0, %t, 1;
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    ld.global.u32 %r3, [%inT];
    st.global.u32 [%outT], %r3;
    ld.global.u32 %r3, [%inT + {0}];
    st.shared.u32 [%r2], %r3;
    fence.proxy.async;
    bar.sync 0;
    @!%p0 cp.reduce.async.bulk.global.shared::cta.bulk_group.{operation} [%out], [tile], {0};
    @!%p0 cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;",
        4 * old.len()
    );
    Run::of(90, old.len() as u32).order(order).run(&body, &[old, new].concat(), old.len())
}

type Words = [u32; 4];

#[test]
fn reductions_give_what_a_table_by_hand_says() {
    let wide = |x: i64, y: i64| [x as u32, (x >> 32) as u32, y as u32, (y >> 32) as u32];
    let f = |x: [f32; 4]| x.map(f32::to_bits);
    let d = |x: f64, y: f64| wide(x.to_bits() as i64, y.to_bits() as i64);
    let least = f32::from_bits(1);
    // (operation, old, new, result)
    let table: &[(&str, Words, Words, Words)] = &[
        ("add.u32", [1, u32::MAX, 0, 7], [2, 1, 0, 8], [3, 0, 0, 15]),
        ("add.s32", [1, u32::MAX, 0, 7], [2, 1, 0, 8], [3, 0, 0, 15]),
        ("add.u64", wide(-1, 0xFFFF_FFFF), wide(3, 1), wide(2, 0x1_0000_0000)),
        (
            "add.f32",
            f([1.5, least, -least, f32::MAX]),
            f([2.25, 0.0, 0.0, f32::MAX]),
            f([3.75, 0.0, 0.0, f32::INFINITY]),
        ),
        ("add.f64", d(1.0, -0.5), d(f64::EPSILON, 0.25), d(1.0 + f64::EPSILON, -0.25)),
        (
            "add.noftz.f16",
            [0x3C00_0001, 0, 0, 0],
            [0x4000_0001, 0, 0, 0x7BFF_8000],
            [0x4200_0002, 0, 0, 0x7BFF_0000],
        ),
        ("add.noftz.bf16", [0x3F80_0001, 0, 0, 0], [0x4000_0001, 0, 0, 0], [0x4040_0002, 0, 0, 0]),
        ("min.u32", [1, 0x8000_0000, 5, 5], [2, 1, 5, 4], [1, 1, 5, 4]),
        ("max.u32", [1, 0x8000_0000, 5, 5], [2, 1, 5, 4], [2, 0x8000_0000, 5, 5]),
        ("min.s32", [1, 0x8000_0000, 5, 5], [2, 1, 5, 4], [1, 0x8000_0000, 5, 4]),
        ("max.s32", [1, 0x8000_0000, 5, 5], [2, 1, 5, 4], [2, 1, 5, 5]),
        ("min.u64", wide(-1, 5), wide(1, 1 << 40), wide(1, 5)),
        ("max.u64", wide(-1, 5), wide(1, 1 << 40), wide(-1, 1 << 40)),
        ("min.s64", wide(-1, 5), wide(1, 1 << 40), wide(-1, 5)),
        ("max.s64", wide(-1, 5), wide(1, 1 << 40), wide(1, 1 << 40)),
        (
            "min.f16",
            [0x3C00_C000, 0x7E00_8000, 0, 0],
            [0x4000_3C00, 0x3C00_0000, 0, 0],
            [0x3C00_C000, 0x3C00_8000, 0, 0],
        ),
        (
            "max.f16",
            [0x3C00_C000, 0x7E00_8000, 0, 0],
            [0x4000_3C00, 0x3C00_0000, 0, 0],
            [0x4000_3C00, 0x3C00_0000, 0, 0],
        ),
        (
            "min.bf16",
            [0x3F80_C000, 0x7FC0_8000, 0, 0],
            [0x4000_3F80, 0x3F80_0000, 0, 0],
            [0x3F80_C000, 0x3F80_8000, 0, 0],
        ),
        (
            "max.bf16",
            [0x3F80_C000, 0x7FC0_8000, 0, 0],
            [0x4000_3F80, 0x3F80_0000, 0, 0],
            [0x4000_3F80, 0x3F80_0000, 0, 0],
        ),
        ("inc.u32", [0, 4, 5, 6], [5, 5, 5, 5], [1, 5, 0, 0]),
        ("dec.u32", [0, 4, 5, 6], [5, 5, 5, 5], [5, 3, 4, 5]),
        ("and.b32", [0xF0F0, 1, 2, 3], [0xFF00, 1, 1, 2], [0xF000, 1, 0, 2]),
        ("or.b32", [0xF0F0, 1, 2, 3], [0xFF00, 1, 1, 2], [0xFFF0, 1, 3, 3]),
        ("xor.b32", [0xF0F0, 1, 2, 3], [0xFF00, 1, 1, 2], [0x0FF0, 0, 3, 1]),
        ("and.b64", wide(-1, 3), wide(1 << 40, 6), wide(1 << 40, 2)),
        ("or.b64", wide(1, 3), wide(1 << 40, 6), wide(1 << 40 | 1, 7)),
        ("xor.b64", wide(-1, 3), wide(1 << 40, 6), wide(!(1 << 40), 5)),
    ];
    for order in ORDERS {
        for (operation, old, new, result) in table {
            assert_eq!(reduced(operation, old, new, order), Ok(result.to_vec()), "{operation} {order:?}");
        }
    }
}

#[test]
fn blocks_reduce_into_one_place_and_nothing_is_lost() {
    let body = "
    setp.ge.u32 %p0, %t, 1;
    mov.u32 %r1, tile;
    mad.lo.u32 %r2, %t, 4, %r1;
    st.shared.u32 [%r2], %t;
    fence.proxy.async;
    bar.sync 0;
    @!%p0 cp.reduce.async.bulk.global.shared::cta.bulk_group.L2::cache_hint.add.u32 [%out], [tile], 128, %d1;
    @!%p0 cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;";
    let body = format!("mov.u64 %d1, 0; {body}");
    for order in ORDERS {
        let mut run = Run::of(90, 32).order(order);
        run.blocks = 20;
        let expected = (0..32).map(|t| UNTOUCHED.wrapping_add(20 * t)).collect();
        assert_eq!(run.run(&body, &[0], 32), Ok(expected), "{order:?}");
    }
}

#[test]
fn wrong_copies_are_faults_with_their_numbers() {
    use FaultKind::*;
    let load = |operands: &str| {
        format!(
            "mov.u32 %r9, 8; mbarrier.init.shared.b64 [bars], 1;
            cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes {operands};"
        )
    };
    let store = |operands: &str| format!("cp.async.bulk.global.shared::cta.bulk_group {operands};");
    let cases = [
        (
            load("[tile], [%in], 24, [bars]"),
            IllegalInstruction,
            "bulk copy of 24 bytes, expected a multiple of 16",
        ),
        (load("[tile], [%in], %r9, [bars]"), IllegalInstruction, "bulk copy of 8 bytes"),
        (load("[tile + 8], [%in], 16, [bars]"), MisalignedAddress, "is not a multiple of 16"),
        (load("[tile], [%in + 8], 16, [bars]"), MisalignedAddress, "is not a multiple of 16"),
        (load("[tile + 8192], [%in], 4080, [bars]"), IllegalAddress, "shared memory has"),
        (load("[tile], [%in + 4080], 32, [bars]"), IllegalAddress, "access of 32 bytes"),
        (
            load("[tile], [%in], 16, [bars + 8]"),
            IllegalInstruction,
            "no mbarrier object at shared offset 0x2008",
        ),
        (load("[tile], [%in], 16, [bars + 4]"), MisalignedAddress, "is not a multiple of 8"),
        (store("[%out], [tile], 20"), IllegalInstruction, "bulk copy of 20 bytes"),
        (store("[%out + 4], [tile], 16"), MisalignedAddress, "is not a multiple of 16"),
        (store("[%out], [tile + 4], 16"), MisalignedAddress, "is not a multiple of 16"),
        (store("[%out], [tile], 272"), IllegalAddress, "access of 272 bytes"),
        (store("[%out], [tile + 8192], 256"), IllegalAddress, "shared memory has"),
        ("cp.async.bulk.prefetch.L2.global [%in], 8;".into(), IllegalInstruction, "bulk copy of 8 bytes"),
        ("cp.async.bulk.prefetch.L2.global [%in + 4096], 16;".into(), IllegalAddress, "0 bytes past the end"),
        (
            store("[%out], [tile], 16"),
            Finding,
            "leaves without waiting until its source was read: bulk copy of 16 bytes",
        ),
        (load("[tile], [%in], 16, [bars]"), Finding, "the block ends before anybody waited for this copy"),
    ];
    for (body, kind, message) in cases {
        let fault = Run::of(90, 1).fault(&body);
        assert_eq!(fault.kind, kind, "{body}: {fault}");
        assert!(fault.message.contains(message), "{body}: {fault}");
        assert!(fault.place.line > 0, "{fault}");
    }
    let body = "cp.async.bulk.prefetch.L2.global [%in], 16;";
    assert_eq!(Run::of(90, 1).run(body, &counting(4), 1), Ok(vec![UNTOUCHED]));
}

#[test]
fn what_is_not_exact_does_not_load() {
    let reduce = |what: &str| format!("cp.reduce.async.bulk.{what} [%out], [tile], 16;");
    let cases = [
        (80, "cp.async.bulk.wait_group 0;".to_string(), "needs .target sm_90"),
        (90, "cp.async.bulk.wait_group %r1;".into(), "not a register or a constant"),
        (90, "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [tile], [tile], 16, [bars];".into(), "unknown form"),
        (90, "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [tile], [%in], 16, [bars], %r1;".into(), "unknown modifiers multicast"),
        (90, "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [tile], [%in], 16, [bars], %d1;".into(), "1 operands after"),
        (90, "cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%out], [tile], 16, %r1;".into(), "unknown modifiers cp_mask"),
        (90, "cp.async.bulk.global.shared::cta.bulk_group [tile], [tile], 16;".into(), "expected in Global memory"),
        (90, "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%in, {%r1}], [bars];".into(), "unknown form"),
        (90, reduce("global.shared::cta.bulk_group.add.s64"), "unknown reduction add.s64"),
        (90, reduce("global.shared::cta.bulk_group.add.f16"), "unknown reduction add.f16"),
        (90, reduce("global.shared::cta.bulk_group.min.f32"), "unknown reduction min.f32"),
        (90, reduce("shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32"), "expected a reduction from shared::cta to global"),
        (90, "prefetch.tensormap [%in];".into(), "unknown"),
        (90, "wgmma.fence.sync.aligned;".into(), "unknown instruction"),
        (90, "setmaxnreg.dec.sync.aligned.u32 40;".into(), "unknown instruction"),
        (90, "fence.proxy.async.local;".into(), "unknown form"),
    ];
    for (arch, body, message) in cases {
        let refusal = refusal(arch, &body);
        assert!(refusal.contains(message), "{body}: {refusal}");
    }
}
