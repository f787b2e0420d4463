//! What the options of `halfwarp serve` change.

use crate::{
    client::ask,
    program::{Program, command, rest},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The files of the bundled model, as links in a folder.
fn link_tales(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let tales = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tales");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        symlink(tales.join(file), folder.join(file)).unwrap();
    }
}

fn names(program: &Program) -> Vec<String> {
    let list = ask(program.address, "GET", "/v1/models", &[], "").ok();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().into()).collect()
}

#[test]
fn a_model_is_served_under_its_name_on_the_hub_or_its_folders() {
    let cache = TempDir::new().unwrap();
    let commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e";
    let snapshot = cache.path().join("models--org--model/snapshots").join(commit);
    let folder = cache.path().join("my-model");
    link_tales(&snapshot);
    link_tales(&folder);
    let path = |folder: &Path| folder.to_str().unwrap().to_string();
    let hub: &[&str] = &["org/model", "model"];
    for (model, expected) in [
        (format!("org/model@{commit}"), hub),
        (path(&snapshot), hub),
        (path(&snapshot.join("model.safetensors")), hub),
        (path(&folder), &["my-model"]),
        (path(&folder.join("model.safetensors")), &["my-model"]),
        (path(&folder.join("config.json")), &["my-model"]),
    ] {
        let mut command = command(&format!("--port 0 --model {model}"));
        command.env("HF_HUB_CACHE", cache.path());
        let program = Program::spawn(command);
        assert_eq!(names(&program), expected, "{model}");
        let answer = |body| program.post("/v1/completions", &[], &body);
        assert_eq!(answer(json!({"max_tokens": 1})).ok()["model"], expected[0]);
        for name in expected {
            assert_eq!(answer(json!({"max_tokens": 1, "model": name})).ok()["model"], *name);
        }
        answer(json!({"max_tokens": 1, "model": "tales"})).fails(404, Some("model"));
    }
}

#[test]
fn given_names_take_the_place_of_the_models() {
    let program = Program::start("--port 0 --served-model-name a,org/b --served-model-name c");
    assert_eq!(names(&program), ["a", "org/b", "c"]);
    program
        .post("/v1/completions", &[], &json!({"max_tokens": 1, "model": "tales"}))
        .fails(404, Some("model"));
}

#[test]
fn model_defaults_count_where_a_request_does_not_say() {
    let folder = TempDir::new().unwrap();
    link_tales(folder.path());
    let values = r#"{"do_sample": false, "repetition_penalty": 1.5, "num_beams": 4}"#;
    fs::write(folder.path().join("generation_config.json"), values).unwrap();
    let args = format!("--port 0 --model {}", folder.path().display());
    let text = |program: &Program, fields: Value| {
        let mut body = json!({"prompt": "Once upon a time", "max_tokens": 24, "seed": 3});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        program.post("/v1/completions", &[], &body).ok()["choices"][0]["text"].clone()
    };
    let (plain, with) = (Program::start(&args), Program::start(&format!("{args} --model-defaults")));
    let models = json!({"temperature": 0, "repetition_penalty": 1.5});
    assert_ne!(text(&plain, json!({})), text(&plain, models.clone()), "they make a difference");
    assert_ne!(
        text(&plain, json!({"temperature": 0})),
        text(&plain, models.clone()),
        "and so does the second"
    );
    assert_eq!(text(&with, json!({})), text(&plain, models));
    for fields in [
        json!({"temperature": 1, "repetition_penalty": 1}),
        json!({"temperature": 0, "repeat_penalty": 1}),
        json!({"temperature": 1, "repetition_penalty": 1, "top_k": 5}),
    ] {
        assert_eq!(text(&with, fields.clone()), text(&plain, fields.clone()), "{fields} counts");
    }
    let fields = json!({"temperature": 1});
    assert_eq!(
        text(&with, fields),
        text(&plain, json!({"temperature": 1, "repetition_penalty": 1.5})),
        "each of them by itself"
    );
}

#[test]
fn what_a_server_waits_for_at_its_end_has_the_time_that_was_given() {
    for (seconds, least, most) in [(0, 0, 1500), (2, 2000, 4500)] {
        let mut program = Program::start(&format!("--port 0 --log-format off --drain-timeout {seconds}"));
        // More tokens than can be made in that time.
        let mut streams: Vec<_> = (0..16).map(|_| program.stream(500)).collect();
        let started = Instant::now();
        program.signal(libc::SIGTERM);
        assert_eq!(program.exit_code(), Some(0));
        let time = started.elapsed();
        assert!(time >= Duration::from_millis(least) && time < Duration::from_millis(most), "{time:?}");
        assert!(streams.iter_mut().any(|stream| !rest(stream).1), "none was under way any more");
    }
}
