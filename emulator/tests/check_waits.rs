//! Copies that nobody waits for, barriers that not all lanes reach, and dependent launches that do not wait.

mod check;

use check::{caught, clean, module, orders, run_module};
use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, FaultKind, Machine, Settings},
    memory::Kind,
};

#[test]
fn a_copy_may_be_read_after_a_wait_by_its_lane_and_after_a_barrier_by_others() {
    let body = |wait: &str, barrier: &str, at: &str| {
        format!(
            "setp.ge.u32 %p1, %r2, 63;
cp.async.ca.shared.global [%r5], [%rd3], 4;
cp.async.commit_group;
{wait}
{barrier}
@!%p1 ld.shared.u32 %r8, [{at}];
cp.async.wait_all;"
        )
    };
    let wait = "cp.async.wait_group 0;";
    clean(1, 64, &body(wait, "", "%r5"));
    clean(1, 64, &body(wait, "bar.sync 0;", "%r5+4"));
    clean(1, 64, &body("cp.async.wait_all;", "bar.sync 0;", "%r5+4"));
    let text = caught(1, 64, &body("", "", "%r5"), "missing wait").to_string();
    assert!(text.contains("cp.async.ca.shared.global"), "{text}");
    caught(1, 64, &body("cp.async.wait_group 1;", "bar.sync 0;", "%r5+4"), "missing wait");
    caught(1, 64, &body("", "bar.sync 0;", "%r5+4"), "missing wait");
    // A barrier before the wait does not show the copies to other lanes.
    for order in orders() {
        let text = module(&body("bar.sync 0;", wait, "%r5+4"));
        let found = run_module(&text, 1, 64, order, Options::default())
            .expect_err("the others have not met")
            .to_string();
        assert!(found.contains("race, ") || found.contains("missing wait"), "{found}");
    }
}

#[test]
fn a_copy_over_what_others_still_read_needs_a_barrier_before_it() {
    let body = |barrier: &str| {
        format!(
            "st.shared.u32 [%r5], %r2;
bar.sync 0;
setp.ge.u32 %p1, %r2, 63;
@!%p1 ld.shared.u32 %r8, [%r5+4];
{barrier}
cp.async.ca.shared.global [%r5], [%rd3], 4;
bar.sync 2;
cp.async.wait_all;"
        )
    };
    clean(1, 64, &body("bar.sync 1;"));
    for order in orders() {
        let found =
            run_module(&module(&body("")), 1, 64, order, Options::default()).expect_err("a race").to_string();
        assert!(found.contains("race, ") || found.contains("missing wait"), "{found}");
    }
}

#[test]
fn an_aligned_barrier_is_for_all_lanes_of_a_warp() {
    let skip = "setp.ge.u32 %p1, %r2, 40;\n@%p1 bra skip;\nbar.sync 0;\nskip:\nst.global.u32 [%rd3], %r2;";
    caught(1, 64, skip, "divergent barrier");
    clean(1, 64, &skip.replace(" 40;", " 32;"));
    let two =
        "setp.ge.u32 %p1, %r2, 40;\n@%p1 bra other;\nbar.sync 0;\nbra done;\nother:\nbar.sync 0;\ndone:";
    caught(1, 64, two, "divergent barrier");
    // Unaligned, lanes may come one by one and from several places.
    clean(1, 64, &two.replace("bar.sync", "barrier.sync"));
    // Whole warps may leave early.
    clean(
        2,
        64,
        "setp.ge.u32 %p1, %r2, 32;\n@%p1 bra done;\nst.shared.u32 [%r5], %r2;\nbar.sync 0;\nld.shared.u32 %r8, [s];\ndone:",
    );
}

#[test]
fn warps_at_different_barriers_are_a_deadlock() {
    let fault = caught(
        1,
        64,
        "setp.ge.u32 %p1, %r2, 32;\n@%p1 bra other;\nbar.sync 1;\nbra done;\nother:\nbar.sync 2;\ndone:",
        "deadlock",
    );
    assert_eq!(fault.kind, FaultKind::Timeout);
    let text = fault.to_string();
    for part in ["barrier 1: 32 of 64 threads", "barrier 2: 32 of 64 threads"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn accesses_out_of_bounds_and_misaligned_are_faults_in_every_space() {
    for (body, kind) in [
        ("ld.global.u32 %r8, [%rd1+16384];", FaultKind::IllegalAddress),
        ("st.global.u32 [%rd1+-4], %r1;", FaultKind::IllegalAddress),
        ("ld.shared.u32 %r8, [s+4096];", FaultKind::IllegalAddress),
        ("st.shared.u32 [s+4094], %r1;", FaultKind::IllegalAddress),
        ("ld.local.u32 %r8, [l+4096];", FaultKind::IllegalAddress),
        ("ld.global.u32 %r8, [%rd1+2];", FaultKind::MisalignedAddress),
        ("ld.global.v2.u32 {%r8, %r9}, [%rd1+4];", FaultKind::MisalignedAddress),
        ("st.shared.u32 [s+2], %r1;", FaultKind::MisalignedAddress),
        ("st.local.u32 [l+2], %r1;", FaultKind::MisalignedAddress),
        ("atom.global.add.u32 %r8, [%rd1+2], 1;", FaultKind::MisalignedAddress),
    ] {
        let what = if kind == FaultKind::IllegalAddress { "out of bounds" } else { "is not a multiple of" };
        assert_eq!(caught(1, 32, body, what).kind, kind, "{body}");
    }
}

#[test]
fn a_dependent_launch_waits_before_it_reads_what_the_launch_before_writes() {
    // The first launch writes a, the second reads it and writes b.
    let text = |wait: &str| {
        format!(
            "{}{}",
            module("st.global.u32 [%rd3], %r2;"),
            module(&format!("{wait}\nld.global.u32 %r8, [%rd3];\nst.global.u32 [%rd4], %r8;"))
                .split_once(".visible")
                .map(|(_, entry)| format!(".visible{}", entry.replace("entry k(", "entry second(")))
                .expect("the module has an entry")
        )
        .replace("sm_80", "sm_90")
    };
    let run = |wait: &str, dependent: bool| {
        let device = Device::for_arch(90).expect("the emulator knows compute capability 9.0");
        let mut m = Machine::new(Settings::new(device));
        let checker = Checker::new(Options::default());
        checker.watch(&mut m);
        let program = m.load(text(wait).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        let [a, b] = std::array::from_fn(|_| m.memory.allocate(256, Kind::Device).expect("there is room"));
        let arguments = [Argument::U64(a.base), Argument::U64(b.base), Argument::U32(0)];
        m.run(&program, "k", [1, 1, 1], [64, 1, 1], 0, &arguments).expect("the first launch is clean");
        checker.set_dependent(dependent);
        m.run(&program, "second", [1, 1, 1], [64, 1, 1], 0, &arguments)
    };
    run("", false).expect("launches that do not overlap are ordered");
    let found = run("", true).expect_err("nobody waits").to_string();
    assert!(found.contains("missing griddepcontrol.wait") && found.contains("launch of k"), "{found}");
}
