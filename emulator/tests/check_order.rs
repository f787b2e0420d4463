//! Synchronisation between blocks: correct forms are clean, and each loses something that makes them wrong.

mod check;

use check::{caught_with, clean};
use cuda_emulator::check::Options;

const RACES: Options = Options { races: true, equal_values: false, undefined: false, waits: true };

/// A correct body is clean; without any of the lines named (or with them replaced) it is caught.
#[track_caller]
fn each_part_matters(grid: u32, block: u32, body: &str, parts: &[(&str, &str)], what: &str) {
    clean(grid, block, body);
    for (part, instead) in parts {
        let mutant = body.replacen(part, instead, 1);
        assert_ne!(mutant, body, "{part:?} is not in the text");
        caught_with(RACES, grid, block, &mutant, what);
    }
}

/// Every thread of two blocks writes its word of a; all meet; every thread reads the word of its fellow in the other block. `meet` is
/// run by thread 0 of each block.
fn grid_barrier(meet: &str) -> String {
    format!(
        "mad.lo.s32 %r6, %r3, 256, %r4;
mul.wide.u32 %rd5, %r6, 1;
add.s64 %rd5, %rd1, %rd5;
st.global.u32 [%rd5], %r2;
setp.ge.u32 %p1, %r2, 1;
bar.sync 0;
@%p1 bra meet;
{meet}
meet:
bar.sync 1;
sub.s32 %r7, 1, %r3;
mad.lo.s32 %r6, %r7, 256, %r4;
mul.wide.u32 %rd6, %r6, 1;
add.s64 %rd6, %rd1, %rd6;
ld.global.u32 %r9, [%rd6];"
    )
}

#[test]
fn a_grid_barrier_needs_both_block_barriers_release_and_acquire() {
    let body = grid_barrier(
        "red.release.gpu.global.add.u32 [%rd2], 1;
poll:
ld.acquire.gpu.global.u32 %r8, [%rd2];
setp.ge.u32 %p2, %r8, 2;
@!%p2 bra poll;",
    );
    let parts = [
        ("bar.sync 0;", ""),
        ("bar.sync 1;", ""),
        ("release.gpu", "relaxed.gpu"),
        ("release.gpu", "release.cta"),
        ("acquire.gpu", "relaxed.gpu"),
        ("acquire.gpu", "acquire.cta"),
        ("ld.acquire.gpu.global", "ld.volatile.global"),
        ("ld.acquire.gpu.global", "ld.global"),
    ];
    each_part_matters(2, 64, &body, &parts, "race, ");
}

#[test]
fn a_grid_barrier_by_fences_needs_both_fences() {
    for fence in ["fence.acq_rel.gpu;", "membar.gl;", "fence.sc.gpu;"] {
        let body = grid_barrier(&format!(
            "{fence}
red.relaxed.gpu.global.add.u32 [%rd2], 1;
poll:
ld.relaxed.gpu.global.u32 %r8, [%rd2];
setp.ge.u32 %p2, %r8, 2;
@!%p2 bra poll;
{fence}"
        ));
        let (first, last) = body.rsplit_once(fence).expect("the fence is there");
        clean(2, 64, &body);
        caught_with(RACES, 2, 64, &body.replacen(fence, "", 1), "race, ");
        caught_with(RACES, 2, 64, &format!("{first}{last}"), "race, ");
        caught_with(RACES, 2, 64, &body.replace(fence, "fence.acq_rel.cta;"), "race, ");
        caught_with(RACES, 2, 64, &body.replacen("bar.sync 0;", "", 1), "race, ");
    }
}

#[test]
fn a_counter_reset_without_ordering_is_caught() {
    let meet = |reset: &str| {
        grid_barrier(&format!(
            "red.release.gpu.global.add.u32 [%rd2], 1;
poll:
ld.acquire.gpu.global.u32 %r8, [%rd2];
setp.ge.u32 %p2, %r8, 2;
@!%p2 bra poll;
{reset}"
        ))
    };
    clean(2, 64, &meet(""));
    // Block 0 resets the counter while block 1 may still look at it.
    let reset = "setp.ge.u32 %p3, %r3, 1;\n@%p3 bra meet;\nst.global.u32 [%rd2], 0;";
    let body = meet(reset);
    // Whichever order: the other block polls until it sees two, or sees the reset value and polls for ever.
    for order in check::orders() {
        let found = check::run_module(&check::module(&body), 2, 64, order, RACES);
        let text = found.expect_err("the reset races").to_string();
        assert!(text.contains("race, ") && text.contains("st.global.u32 [%rd2], 0;"), "{text}");
    }
}

#[test]
fn the_last_block_needs_fences_around_its_ticket() {
    // Every block sums nothing: it writes a word, takes a ticket, and the last one reads all words.
    let body = "mul.wide.u32 %rd5, %r3, 4;
add.s64 %rd5, %rd1, %rd5;
setp.ge.u32 %p1, %r2, 1;
@!%p1 st.global.u32 [%rd5], %r3;
bar.sync 0;
@%p1 bra share;
membar.gl;
atom.global.add.u32 %r8, [%rd2], 1;
fence.acq_rel.gpu;
st.shared.u32 [s], %r8;
share:
bar.sync 1;
ld.shared.u32 %r9, [s];
add.s32 %r9, %r9, 1;
setp.ge.u32 %p2, %r9, %r1;
@!%p2 bra done;
setp.ge.u32 %p3, %r2, %r1;
@%p3 bra done;
ld.global.u32 %r10, [%rd3];
done:";
    let parts = [
        ("membar.gl;", ""),
        ("fence.acq_rel.gpu;", ""),
        ("bar.sync 1;", ""),
        ("membar.gl;", "membar.cta;"),
        ("fence.acq_rel.gpu;", "fence.acq_rel.cta;"),
    ];
    each_part_matters(3, 64, body, &parts, "race, ");
}

#[test]
fn a_block_reduction_needs_each_barrier() {
    // Sums of 64 words by halves, in place.
    let body = "st.shared.u32 [%r5], %r2;
bar.sync 0;
setp.ge.u32 %p1, %r2, 32;
@%p1 bra first;
ld.shared.u32 %r8, [%r5+128];
ld.shared.u32 %r9, [%r5];
add.s32 %r9, %r9, %r8;
st.shared.u32 [%r5], %r9;
first:
bar.sync 1;
setp.ge.u32 %p1, %r2, 16;
@%p1 bra second;
ld.shared.u32 %r8, [%r5+64];
ld.shared.u32 %r9, [%r5];
add.s32 %r9, %r9, %r8;
st.shared.u32 [%r5], %r9;
second:
bar.sync 2;
ld.shared.u32 %r8, [s+60];";
    let parts = [("bar.sync 0;", ""), ("bar.sync 1;", ""), ("bar.sync 2;", "")];
    each_part_matters(2, 64, body, &parts, "race, ");
}

#[test]
fn a_pipeline_by_named_barriers_needs_both() {
    // Warp 0 produces a word that warp 1 consumes, twice, through barriers 1 (full) and 2 (empty).
    let body = "setp.ge.u32 %p1, %r2, 32;
mov.u32 %r6, s;
@%p1 bra consumer;
st.shared.u32 [%r5], 1;
bar.arrive 1, 64;
bar.sync 2, 64;
st.shared.u32 [%r5], 2;
bar.arrive 3, 64;
bra done;
consumer:
bar.sync 1, 64;
ld.shared.u32 %r8, [%r5+-128];
bar.arrive 2, 64;
bar.sync 3, 64;
ld.shared.u32 %r8, [%r5+-128];
done:";
    clean(1, 64, body);
    // The consumer arrives before it has read.
    let early = body.replace(
        "ld.shared.u32 %r8, [%r5+-128];\nbar.arrive 2, 64;",
        "bar.arrive 2, 64;\nld.shared.u32 %r8, [%r5+-128];",
    );
    assert_ne!(early, body);
    caught_with(RACES, 1, 64, &early, "race, ");
}

#[test]
fn atomics_race_with_plain_accesses_and_with_narrower_atomics() {
    let body = |operation: &str, other: &str| {
        format!("setp.ge.u32 %p1, %r3, 1;\n@!%p1 {operation} [%rd1], 1;\n@%p1 {other};")
    };
    let relaxed = "red.relaxed.gpu.global.add.u32";
    clean(2, 32, &body(relaxed, "red.relaxed.gpu.global.add.u32 [%rd1], 1"));
    clean(2, 32, &body(relaxed, "ld.relaxed.gpu.global.u32 %r8, [%rd1]"));
    clean(2, 32, &body("red.global.add.u32", "atom.global.max.u32 %r8, [%rd1], 7"));
    for other in [
        "ld.global.u32 %r8, [%rd1]",
        "st.global.u32 [%rd1], %r1",
        "red.relaxed.cta.global.add.u32 [%rd1], 1",
        "ld.relaxed.cta.global.u32 %r8, [%rd1]",
        "ld.global.nc.u32 %r8, [%rd1]",
    ] {
        let what = if other.contains(".nc") { "read-only" } else { "race, " };
        caught_with(RACES, 2, 32, &body(relaxed, other), what);
    }
    // Within one block, block scope is enough.
    clean(1, 64, "red.relaxed.cta.global.add.u32 [%rd1], 1;\nred.relaxed.gpu.global.add.u32 [%rd1], 1;");
    clean(
        1,
        64,
        "setp.ge.u32 %p1, %r2, 1;\n@!%p1 st.shared.u32 [s], 0;\nbar.sync 0;\natom.shared.add.u32 %r8, [s], 1;",
    );
    caught_with(
        RACES,
        1,
        64,
        "setp.ge.u32 %p1, %r2, 1;\n@!%p1 st.shared.u32 [s], 0;\natom.shared.add.u32 %r8, [s], 1;",
        "race, ",
    );
}

#[test]
fn a_plain_reset_before_atomics_of_other_blocks_is_caught() {
    // Thread 0 of block 0 clears the counter that all blocks add to.
    let body = "add.s32 %r6, %r2, %r3;
setp.ge.u32 %p1, %r6, 1;
@!%p1 st.global.u32 [%rd1], 0;
bar.sync 0;
red.relaxed.gpu.global.add.u32 [%rd1], 1;";
    clean(1, 64, body);
    caught_with(RACES, 2, 64, body, "race, ");
}

#[test]
fn a_strong_write_that_was_read_strongly_is_ordered_before_what_follows_the_read() {
    // Each block takes a ticket; the last one resets the counter by a plain store, which is ordered after all tickets that its own
    // operation saw.
    let body = "setp.ge.u32 %p1, %r2, 1;
@%p1 bra done;
atom.global.add.u32 %r8, [%rd2], 1;
add.s32 %r9, %r8, 1;
setp.ge.u32 %p2, %r9, %r1;
@!%p2 bra done;
st.global.u32 [%rd2], 0;
done:";
    clean(4, 32, body);
    // The first one may not: others come after it.
    let first =
        body.replace("setp.ge.u32 %p2, %r9, %r1;", "setp.ge.u32 %p2, %r8, 1;").replace("@!%p2", "@%p2");
    caught_with(RACES, 4, 32, &first, "race, ");
    // Nor does it order anything else that the other blocks did.
    let more = body.replace("atom.global", "st.global.u32 [%rd1], %r2;\natom.global");
    caught_with(RACES, 4, 32, &more, "race, ");
}
