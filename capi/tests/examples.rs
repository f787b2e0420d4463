//! The three examples write the same story, and stay short.

#![cfg(feature = "bundled")]

mod common;

use common::{Link, compile, ok, package, run, skipped};
use std::{env, fs, path::PathBuf};

const PROMPT: &str = "One day a little girl named Mia";

/// What the Rust example writes, which is linked to the Rust library.
fn expected() -> String {
    let exe = env::current_exe().expect("the test has a path");
    let folder = exe.parent().and_then(|folder| folder.parent()).expect("tests are in target/PROFILE/deps");
    let example = folder.join("examples/generate");
    // Cargo builds it with the tests unless only some of them were asked for.
    let Some(output) = run(&example, [PROMPT]) else {
        panic!("no {}: run cargo test -p halfwarp-capi without --test", example.display());
    };
    ok(&output)
}

fn example(name: &str) -> PathBuf {
    package().join("examples").join(name)
}

#[test]
fn the_rust_example_tells_a_story() {
    let text = expected();
    let (story, end) = text.trim_end().rsplit_once('\n').expect("the end has its own line");
    assert!(story.starts_with(PROMPT) && story.len() > PROMPT.len() + 100, "{story:?}");
    assert_eq!(end, "[60 tokens, length]");
}

#[test]
fn the_c_example_tells_the_same_with_both_libraries() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let program = folder.path().join("generate");
    for link in [Link::Shared, Link::Static] {
        let Some(()) = compile("examples/generate.c", &program, link, &[]) else { return };
        assert_eq!(ok(&run(&program, [PROMPT]).expect("it was compiled")), expected());
    }
}

#[test]
fn the_python_example_tells_the_same() {
    let args = [example("generate.py").into_os_string(), PROMPT.into()];
    let Some(output) = run("python3", args) else {
        skipped::<()>("examples/generate.py", "python3 is missing");
        return;
    };
    let (text, expected) = (ok(&output), expected());
    assert!(
        text.len() > PROMPT.len() + 100 && expected.starts_with(&text),
        "{text:?}, expected {expected:?}"
    );
}

#[test]
fn examples_are_short() {
    for (name, n_max) in [("generate.c", 50), ("generate.py", 50), ("generate.rs", 30)] {
        let text = fs::read_to_string(example(name)).expect("the example is there");
        assert!(text.lines().count() <= n_max, "{name} has {} lines", text.lines().count());
    }
}
