//! The rows X05, F01, F03 and F04 from C (`c/rows.c`): as they are, under AddressSanitizer and under valgrind.

#![cfg(feature = "bundled")]

mod common;

use common::{Link, compile, ok, run};
use std::io::Write;

const ROWS: &str = "tests/c/rows.c";

#[test]
fn rows_hold_with_the_shared_library() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let program = folder.path().join("rows");
    let Some(()) = compile(ROWS, &program, Link::Shared, &[]) else { return };
    assert_eq!(ok(&run(&program, [""; 0]).expect("it was compiled")), "");
}

/// The static library, so that its allocations are the sanitizer's; leaks are errors too.
#[test]
fn rows_hold_under_address_sanitizer() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let program = folder.path().join("rows");
    let flags = ["-fsanitize=address", "-fno-omit-frame-pointer"];
    let Some(()) = compile(ROWS, &program, Link::Static, &flags) else { return };
    assert_eq!(ok(&run(&program, [""; 0]).expect("it was compiled")), "");
}

#[test]
fn rows_hold_under_valgrind() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let program = folder.path().join("rows");
    if run("valgrind", ["--version"]).is_none() {
        // The sanitizer is the one that may not be missing.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {ROWS} under valgrind, which is missing");
        return;
    }
    let Some(()) = compile(ROWS, &program, Link::Shared, &[]) else { return };
    let flags = [
        "-q",
        "--error-exitcode=9",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    let args = flags.map(Into::into).into_iter().chain([program.into_os_string()]);
    let output = run("valgrind", args).expect("valgrind was there a moment ago");
    ok(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "valgrind has nothing to say");
}
