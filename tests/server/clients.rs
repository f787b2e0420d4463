//! Clients that exist, unchanged: the `openai` package for Python.

use crate::rig::{engine, options, serve_with};
use halfwarp::{scheduler::SchedulerOptions, server::ServerOptions};
use std::{path::Path, process::Command};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";

/// Python, which looks for packages in the folder that HALFWARP_TEST_OPENAI names too.
fn python() -> Command {
    let mut python = Command::new("python3");
    if let Some(folder) = std::env::var_os("HALFWARP_TEST_OPENAI") {
        python.env("PYTHONPATH", folder);
    }
    python
}

#[test]
fn the_openai_package_is_served_unchanged() {
    if !python().args(["-c", "import openai"]).output().is_ok_and(|output| output.status.success()) {
        let is_required = std::env::var_os("HALFWARP_TEST_REQUIRE_ALL").is_some();
        assert!(!is_required, "python3 with the package openai is required here: pip install openai");
        return eprintln!("skipped: no python3 with the package openai");
    }
    let options = ServerOptions { api_keys: vec!["sk-test".into()], ..options() };
    let rig = serve_with(engine(), SchedulerOptions::default(), options, Some(TEMPLATE));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/openai_client.py");
    let url = format!("http://{}/v1", rig.address);
    let output = python().arg(script).args([&url, "sk-test"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("all served"), "{text}");
}
