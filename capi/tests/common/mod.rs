//! The library that cargo built beside the tests, C programs that are linked to it, and runs of them.
#![allow(dead_code, reason = "no test file needs all of it")]

use std::{
    env,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The folder of this package.
pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with libhalfwarp.so and libhalfwarp.a.
pub fn libraries() -> PathBuf {
    let exe = env::current_exe().expect("the test has a path");
    let folder = exe.parent().expect("the test is in a folder").to_owned();
    for name in ["libhalfwarp.so", "libhalfwarp.a"] {
        assert!(folder.join(name).exists(), "no {name} beside {}", exe.display());
    }
    folder
}

/// Says so where the test harness does not swallow it, or fails where nothing may be skipped.
pub fn skipped<T>(what: &str, why: &str) -> Option<T> {
    assert!(env::var_os("HALFWARP_TEST_REQUIRE_ALL").is_none_or(|v| v != "1"), "{what}: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
    None
}

/// What a command did; `None` where there is no such program.
pub fn run(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Option<Output> {
    Command::new(program).args(args).env("LD_LIBRARY_PATH", libraries()).output().ok()
}

/// The standard output of a run that must have succeeded.
#[track_caller]
pub fn ok(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// How a program gets the library.
pub enum Link {
    /// libhalfwarp.so, found by LD_LIBRARY_PATH.
    Shared,
    /// libhalfwarp.a and what it needs of the system.
    Static,
}

/// Compiles a C file of this package with warnings as errors; `None`, and a notice, where `flags` or the C library's headers are
/// missing here.
pub fn compile(source: &str, program: &Path, link: Link, flags: &[&str]) -> Option<()> {
    let probe = program.with_extension("probe.c");
    let text = "#include <pthread.h>\n#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n";
    std::fs::write(&probe, text).expect("the folder can be written to");
    let probed =
        run("cc", flags.iter().map(OsStr::new).chain([probe.as_os_str(), "-o".as_ref(), program.as_ref()]));
    if !probed.is_some_and(|output| output.status.success()) {
        return skipped(source, &format!("cc cannot compile with {flags:?}"));
    }
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    cc.args(flags)
        .arg("-I")
        .arg(package().join("include"))
        .arg(package().join(source))
        .arg("-o")
        .arg(program);
    match link {
        Link::Shared => cc.arg("-L").arg(libraries()).args(["-lhalfwarp", "-lpthread"]),
        Link::Static => cc.arg(libraries().join("libhalfwarp.a")).args(private_libraries()),
    };
    ok(&cc.output().expect("cc was there a moment ago"));
    Some(())
}

/// What halfwarp.pc says that the static library needs.
fn private_libraries() -> Vec<String> {
    let template = include_str!("../../halfwarp.pc.in");
    let line = template.lines().find_map(|line| line.strip_prefix("Libs.private: "));
    line.expect("the template has them").split(' ').map(str::to_owned).collect()
}
