//! The program, which downloads what it is asked to run.

use crate::{COMMIT, found, server::Server};
use halfwarp::Weights;
use std::fs;
use tempfile::TempDir;

/// The program with nothing of our environment but the hub and the cache: its exit code, standard output and standard error.
fn program(server: &Server, cache: &TempDir, offline: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    command.args(args).env_clear().env("HF_ENDPOINT", &server.address);
    let output = command.env("HF_HUB_CACHE", cache.path()).env("HF_HUB_OFFLINE", offline).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_downloads_unless_it_is_offline_and_says_what_before() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let run = |offline| program(&server, &cache, offline, &["info", "--json", "--model", "org/model"]);
    let (code, _, text) = run("1");
    assert!(code == Some(1) && text.contains("org/model") && text.contains("HF_HUB_OFFLINE"), "{text}");
    assert_eq!(server.state.lock().unwrap().log.len(), 0);
    let n_bytes: usize = server.state.lock().unwrap().files.values().map(Vec::len).sum();
    let (code, _, text) = run("");
    let folder = cache.path().join("models--org--model");
    let said =
        format!("downloading org/model: 2 files, {:.1} kB, to {}\n", n_bytes as f64 / 1e3, folder.display());
    assert!(code == Some(0) && text.starts_with(&said), "{text}, expected {said}");
    // One that lacks files is completed.
    fs::remove_file(found(&cache).unwrap().join("model.safetensors")).unwrap();
    assert_eq!(run("0").0, Some(0));
    // What is here whole is used without asking.
    server.set(|s| s.log.clear());
    assert_eq!(run(""), (Some(0), run("1").1, String::new()));
    assert_eq!(server.state.lock().unwrap().log.len(), 0);
}

#[test]
fn a_name_that_is_nowhere_says_where_it_was_looked_for() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.status = Some(401));
    let (code, _, text) = program(&server, &cache, "", &["info", "--model", "org/modle"]);
    for word in ["\"org/modle\"", "no such path", cache.path().to_str().unwrap(), "status 401"] {
        assert!(code == Some(1) && text.contains(word), "{text} does not mention {word}");
    }
}

#[test]
fn pull_downloads_a_revision_resumes_and_writes_the_folder() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let pull = |name| program(&server, &cache, "", &["pull", name]);
    server.set(|s| s.cut = Some(1000));
    let (code, out, text) = pull("org/model@v1");
    assert!(code == Some(1) && out.is_empty() && text.contains("got 1000 of "), "{text}");
    server.set(|s| s.cut = None);
    let (code, out, text) = pull("org/model@v1");
    let folder = cache.path().join("models--org--model/snapshots").join(COMMIT);
    assert_eq!((code, out), (Some(0), format!("{}\n", folder.display())), "{text}");
    Weights::open(&folder).unwrap();
    assert_eq!(fs::read_to_string(cache.path().join("models--org--model/refs/v1")).unwrap(), COMMIT);
    assert_eq!(pull("org/model@v1").2, "", "nothing is downloaded again");
    let (code, _, text) = program(&server, &cache, "1", &["pull", "org/model"]);
    assert!(code == Some(1) && text.contains("HF_HUB_OFFLINE"), "{text}");
    for bad in ["../x", "a/b/c", "", "./model"] {
        let (code, _, text) = pull(bad);
        assert!(code == Some(2) && text.contains("expected a name such as"), "{bad}: {text}");
    }
}
