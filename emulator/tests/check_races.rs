//! Races are found, whatever the order; what is ordered is clean.

mod check;

use check::{caught_with, clean, module, run_module};
use cuda_emulator::{
    check::Options,
    machine::{Fault, FaultKind, Order},
};

/// As [`check::caught`], without the check for undefined values: a read that comes before the write that it races with gives one.
#[track_caller]
fn caught(grid: u32, block: u32, body: &str, what: &str) -> Fault {
    caught_with(Options { undefined: false, ..Options::default() }, grid, block, body, what)
}

/// Thread i writes word i of s; after `between` it reads word i ^ 32, of the other warp.
fn exchange(between: &str) -> String {
    format!(
        "st.shared.u32 [%r5], %r2;
{between}
mov.u32 %r6, s;
setp.ge.u32 %p1, %r2, 32;
add.s32 %r7, %r5, 128;
@!%p1 ld.shared.u32 %r8, [%r7];
@%p1 ld.shared.u32 %r8, [%r5+-128];
st.global.u32 [%rd3], %r8;"
    )
}

#[test]
fn a_shared_read_after_write_needs_a_barrier() {
    clean(1, 64, &exchange("bar.sync 0;"));
    let fault = caught(1, 64, &exchange(""), "race, ");
    assert_eq!(fault.kind, FaultKind::Finding);
    let text = fault.to_string();
    for part in ["shared memory at offset 0x", "no barrier orders them", "PTX line ", "thread (", "block ("] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_shared_write_after_read_needs_a_barrier() {
    let body = |between: &str| format!("{}\n{between}\nst.shared.u32 [%r5], 7;", exchange("bar.sync 0;"));
    clean(1, 64, &body("bar.sync 0;"));
    caught(1, 64, &body(""), "race, ");
}

#[test]
fn two_warps_writing_one_shared_word_need_a_barrier() {
    // Thread 0 and thread 32 write word 0.
    let body = |between: &str| {
        format!(
            "setp.ge.u32 %p1, %r2, 1;
setp.ge.u32 %p2, %r4, 128;
setp.ge.u32 %p3, %r2, 33;
@%p3 bra done;
@!%p1 st.shared.u32 [s], %r2;
{between}
@%p2 st.shared.u32 [s], %r2;
done:"
        )
    };
    clean(1, 64, &body("bar.sync 0;"));
    let text = caught(1, 64, &body(""), "write after write").to_string();
    assert!(text.contains("thread (0,0,0)") && text.contains("thread (32,0,0)"), "{text}");
}

#[test]
fn lanes_of_one_warp_are_not_ordered_by_lockstep() {
    // Lane i writes word i and reads word i + 1.
    let body = |between: &str| {
        format!(
            "st.shared.u32 [%r5], %r2;
{between}
setp.ge.u32 %p1, %r2, 31;
@!%p1 ld.shared.u32 %r8, [%r5+4];"
        )
    };
    clean(1, 32, &body("bar.warp.sync 0xffffffff;"));
    clean(1, 32, &body("bar.sync 0;"));
    caught(1, 32, &body(""), "lanes of one warp are ordered by bar.warp.sync only");
    // A barrier of the other lanes does not help lanes 0 to 15.
    let half = "setp.ge.u32 %p2, %r2, 16;\n@%p2 bar.warp.sync 0xffff0000;";
    caught(1, 32, &body(half), "race, ");
}

#[test]
fn a_partial_warp_barrier_orders_the_lanes_it_names() {
    // Lanes 16 to 31 write word i and read word i + 1, but for the last.
    let body = |mask: &str| {
        format!(
            "setp.ge.u32 %p2, %r2, 16;
@!%p2 bra done;
st.shared.u32 [%r5], %r2;
bar.warp.sync {mask};
setp.ge.u32 %p1, %r2, 31;
@!%p1 ld.shared.u32 %r8, [%r5+4];
done:"
        )
    };
    clean(1, 32, &body("0xffff0000"));
}

#[test]
fn two_lanes_storing_different_values_in_one_instruction_race() {
    caught(1, 32, "st.shared.u32 [s], %r2;", "two lanes of the warp");
    caught(1, 32, "st.global.u32 [%rd1], %r2;", "two lanes of the warp");
    clean(1, 32, "st.shared.u32 [s], %r3;");
    clean(1, 32, "st.global.v2.u32 [%rd1], {%r3, %r1};");
    let strict = Options { equal_values: true, ..Options::default() };
    let text = module("st.shared.u32 [s], %r3;");
    let fault = run_module(&text, 1, 32, Order::InOrder, strict).expect_err("equal values count");
    assert!(fault.to_string().contains("two lanes of the warp"), "{fault}");
}

#[test]
fn lanes_may_write_different_bytes_of_a_word() {
    let body = "mul.lo.s32 %r6, %r2, 2;
mov.u32 %r7, s;
add.s32 %r6, %r6, %r7;
mov.b32 {%h1, %h2}, %r2;
st.shared.u16 [%r6], %h1;
bar.sync 0;
ld.shared.u32 %r8, [%r5];
bar.sync 0;
st.shared.u16 [%r6], %h1;
st.shared.u16 [%r6], %h1;
ld.shared.u16 %h3, [%r6];
bar.sync 0;
st.shared.u32 [%r5], %r8;
ld.shared.u16 %h3, [%r5];";
    clean(1, 64, body);
    // Without the second barrier, the halves are written while others may still read the word.
    let racy = body.replacen("bar.sync 0;\nst.shared.u16", "st.shared.u16", 1);
    assert_ne!(body, racy);
    caught(1, 64, &racy, "race, ");
}

#[test]
fn two_blocks_writing_or_reading_one_global_word_race() {
    let first = "setp.ge.u32 %p1, %r2, 1;\nsetp.ge.u32 %p2, %r3, 1;\n";
    caught(
        2,
        32,
        &format!("{first}@!%p1 st.global.u32 [%rd1], %r3;"),
        "no release and acquire of device scope",
    );
    clean(1, 32, &format!("{first}@!%p1 st.global.u32 [%rd1], %r3;"));
    // Block 0 writes what block 1 reads.
    let body = format!("{first}@!%p2 st.global.u32 [%rd3], %r2;\n@%p2 ld.global.u32 %r8, [%rd3];");
    caught(2, 32, &body, "race, ");
    caught(2, 64, &body, "race, ");
    // The other way round in program order, read first.
    let body = format!("{first}@%p2 ld.global.u32 %r8, [%rd3];\n@!%p2 st.global.u32 [%rd3], %r2;");
    caught(2, 32, &body, "race, ");
}

#[test]
fn read_only_loads_of_what_the_launch_writes_are_found() {
    // Block 0 writes a, block 1 reads it; even one thread alone may not do both.
    let both = "ld.global.nc.u32 %r8, [%rd3];\nst.global.u32 [%rd3], %r8;";
    caught(1, 32, both, "read-only path");
    caught(1, 32, "st.global.u32 [%rd3], %r2;\nld.global.nc.u32 %r8, [%rd3];", "changed in the same launch");
    clean(
        4,
        32,
        "ld.global.nc.u32 %r8, [%rd3];\nmul.wide.u32 %rd5, %r3, 128;\nadd.s64 %rd4, %rd4, %rd5;\nst.global.u32 [%rd4], %r8;",
    );
    clean(1, 32, "ld.global.nc.u32 %r8, [%rd3];\nst.global.u32 [%rd3+128], %r8;");
}

/// Thread 0 of block 0 writes a word of a and then a flag in b; thread 0 of block 1 waits for the flag and reads the word.
fn flag(write: &str, read: &str, after: &str) -> String {
    format!(
        "setp.ge.u32 %p1, %r2, 1;
@%p1 bra done;
setp.ge.u32 %p2, %r3, 1;
@%p2 bra reader;
mov.u32 %r9, 1;
st.global.u32 [%rd1], 42;
{write} [%rd2], %r9;
bra done;
reader:
{read} %r8, [%rd2];
setp.ge.u32 %p3, %r8, 1;
@!%p3 bra reader;
{after}
ld.global.u32 %r8, [%rd1];
done:"
    )
}

#[test]
fn a_flag_needs_release_and_acquire_of_device_scope() {
    let (st, ld) = ("st.release.gpu.global.u32", "ld.acquire.gpu.global.u32");
    clean(2, 32, &flag(st, ld, ""));
    clean(2, 32, &flag("st.release.sys.global.u32", "ld.acquire.sys.global.u32", ""));
    caught(2, 32, &flag("st.relaxed.gpu.global.u32", ld, ""), "race, ");
    caught(2, 32, &flag("st.volatile.global.u32", ld, ""), "race, ");
    caught(2, 32, &flag(st, "ld.relaxed.gpu.global.u32", ""), "race, ");
    caught(2, 32, &flag("st.release.cta.global.u32", ld, ""), "race, ");
    caught(2, 32, &flag(st, "ld.acquire.cta.global.u32", ""), "race, ");
    // A plain flag is a race itself.
    caught(2, 32, &flag("st.global.u32", ld, ""), "race, ");
    caught(2, 32, &flag(st, "ld.global.u32", ""), "race, ");
}
