//! `halfwarp generate`.

use super::harness::{Folder, command, commas, golden_ids, repository, run, run_args, run_with_input};
use std::process::Stdio;

#[test]
fn greedy_text_of_the_bundled_model_is_the_golden_one() {
    let (prompt, expected) = (golden_ids("input_ids"), &golden_ids("greedy_ids")[..16]);
    let n = expected.len().to_string();
    let args = ["generate", "--temperature", "0", "--ids", &commas(&prompt), "-n", &n];
    let json = run_args([&args[..], &["--json"]].concat()).json();
    assert_eq!(json["token_ids"], serde_json::json!(expected));
    assert_eq!(json["prompt_ids"], serde_json::json!(prompt));
    let text = run_args(["tokenize", "--decode", &commas(&[&prompt[..], expected].concat())]).ok();
    assert_eq!(run_args(args).ok(), text);
}

#[test]
fn text_goes_to_stdout_and_stats_to_stderr() {
    let run = run_args(["generate", "--stats", "--seed", "5", "-n", "3", "Once upon a"]);
    assert!(run.stderr.contains("tok/s") && run.stderr.contains("seed 5"), "{}", run.stderr);
    let text = run.ok();
    assert!(text.starts_with("Once upon a") && text.ends_with('\n') && !text.contains("tok/s"), "{text:?}");
}

#[test]
fn a_seed_repeats_the_text() {
    let text = |seed| run_args(["generate", "--seed", seed, "-n", "8", "The"]).ok();
    assert_eq!(text("11"), text("11"));
}

#[test]
fn the_prompt_comes_from_an_argument_a_file_or_standard_input() {
    let folder = Folder::new("prompt");
    let file = folder.file("prompt.txt");
    std::fs::write(&file, "The cat\n").unwrap();
    let flags = ["generate", "-n", "2", "--seed", "1"];
    let expected = run_args([&flags[..], &["The cat"]].concat()).ok();
    assert_eq!(run_args([&flags[..], &["--file", file.to_str().unwrap()]].concat()).ok(), expected);
    assert_eq!(run_with_input("generate -n 2 --seed 1", b"The cat\n").ok(), expected);
    assert_eq!(run_with_input("generate -n 2 --seed 1 -", b"The cat\r\n").ok(), expected);
}

#[test]
fn without_any_prompt_the_model_starts_a_text() {
    let text = run("generate -n 2").ok();
    assert!(text.len() > 1 && !text.contains("endoftext"), "{text:?}");
}

#[test]
fn json_reports_what_was_done() {
    let json = run("generate --json -n 3 --seed 9 --logprobs 2 --ids 5,6").json();
    assert_eq!(json["seed"], 9);
    assert_eq!(json["finish_reason"], "length");
    assert_eq!(json["usage"]["prompt_tokens"], 2);
    assert_eq!(json["usage"]["completion_tokens"], 3);
    assert_eq!(json["logprobs"].as_array().unwrap().len(), 3);
    assert_eq!(json["logprobs"][0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(json["logprobs"][0]["id"], json["token_ids"][0]);
    assert!(json["timings"]["load_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(json["prompt_logprobs"], serde_json::Value::Null);
}

#[test]
fn echo_reports_the_prompt_too() {
    let json = run_args(["generate", "--json", "--echo", "--logprobs", "1", "-n", "1", "The cat"]).json();
    assert!(json["text"].as_str().unwrap().starts_with("The cat"));
    let prompt = json["prompt_logprobs"].as_array().unwrap();
    assert_eq!(prompt.len(), json["prompt_ids"].as_array().unwrap().len());
    assert!(prompt[0]["logprob"].is_null() && prompt[1]["logprob"].as_f64().unwrap() < 0.0);
}

#[test]
fn a_stop_string_ends_the_text_and_is_not_part_of_it() {
    let args =
        ["generate", "--temperature", "0", "-n", "40", "--json", "--stop", "\\n", "--stop", ".", "Once"];
    let json = run_args(args).json();
    assert_eq!(json["finish_reason"], "stop");
    assert!(json["stop"] == "." || json["stop"] == "\n");
    assert!(!json["text"].as_str().unwrap().contains(['.', '\n']));
}

#[test]
fn ids_alone_need_no_tokenizer() {
    let model = repository("tests/goldens/odd-fp16");
    let model = model.to_str().unwrap();
    let text = run_args(["generate", "--model", model, "--ids", "3,4", "-n", "3"]).ok();
    let ids: Vec<u32> = text.trim_end().split(',').map(|id| id.parse().expect("an id")).collect();
    assert_eq!((ids.len(), &ids[..2]), (5, &[3, 4][..]));
    run_args(["generate", "--model", model, "text"]).fails(1, &["no tokenizer"]);
}

#[test]
fn prompts_that_do_not_fit_are_refused_with_the_numbers() {
    let ids = |n: usize| commas(&vec![5; n]);
    let long = ids(513);
    run_args(["generate", "--ids", &long]).fails(1, &["512 tokens", "513"]);
    run_args(["generate", "--ids", &ids(9), "-c", "8"]).fails(1, &["8 tokens", "9"]);
}

#[test]
fn more_tokens_than_the_context_has_room_for_end_with_length() {
    let json = run("generate --json --seed 1 --ignore-eos -n 2000 -c 40 Once").json();
    assert_eq!(json["finish_reason"], "length");
    assert_eq!(run("generate --json --seed 1 --ignore-eos -c 40 Once").json()["text"], json["text"]);
}

#[test]
fn a_full_context_ends_the_text_with_length() {
    let json = run_args(["generate", "--ids", &commas(&[5; 508]), "--ignore-eos", "--json"]).json();
    assert_eq!(json["finish_reason"], "length");
    assert_eq!(json["usage"]["total_tokens"], 512);
    let json = run_args(["generate", "--ids", "5,6", "--ignore-eos", "--json", "-c", "6"]).json();
    assert_eq!(json["usage"]["total_tokens"], 6);
}

#[test]
fn token_ids_that_the_model_lacks_are_refused() {
    run("generate --ids 4096").fails(1, &["4096", "0..=4095"]);
    run("generate --ids 1,x").fails(2, &["--ids", "\"x\"", "token id"]);
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = command(["generate", "-n", "400", "Once"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_of_one_line() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(["generate", "-n", "2", "Once"]).stdout(Stdio::from(full)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: cannot write to standard output: ") && stderr.lines().count() == 1);
}

#[test]
fn input_that_is_not_utf8_is_refused_with_the_place() {
    run_with_input("generate", b"ab\xffcd").fails(1, &["standard input", "0xff", "offset 2"]);
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_not_utf8_is_wrong_usage() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    run_args([OsStr::new("generate"), OsStr::from_bytes(b"\xff")]).fails(2, &["UTF-8"]);
    run_args([OsStr::new("info"), OsStr::new("--model"), OsStr::from_bytes(b"/no/\xff")]).fails(1, &["/no/"]);
}

/// The bundled model's files in a folder, with a generation_config.json.
fn tales_with_defaults(name: &str, values: &str) -> Folder {
    let folder = Folder::new(name);
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(repository("models/tales").join(file), folder.file(file)).unwrap();
    }
    std::fs::write(folder.file("generation_config.json"), values).unwrap();
    folder
}

#[test]
fn model_defaults_are_the_models_values_and_an_option_beats_them() {
    let values = r#"{"do_sample": true, "temperature": 1.4, "top_k": 3, "repetition_penalty": 1.3, "num_beams": 4,
        "max_length": 50, "guidance_scale": 1.0, "pad_token_id": 0, "transformers_version": "4.9"}"#;
    let folder = tales_with_defaults("model-defaults", values);
    let run = |args: &str| {
        let args = format!("generate --seed 5 -n 30 --model {} {args} Once", folder.0.display());
        let run = run(&args);
        (run.stderr.clone(), run.ok())
    };
    let models = "--temperature 1.4 --top-k 3 --top-p 0.95 --repetition-penalty 1.3";
    let (note, text) = run("--model-defaults");
    assert_eq!(note, "note: not served, of generation_config.json: num_beams, max_length\n");
    assert_eq!(text, run(models).1);
    assert_ne!(text, run("").1, "they make a difference");
    assert_eq!(run("").0, "", "and are not read unasked");
    let (_, greedy) = run("--model-defaults --temperature 0 --repetition-penalty 1");
    assert_eq!(greedy, run("--temperature 0").1);
    let args = format!("repl --seed 5 -n 30 --model-defaults --model {}", folder.0.display());
    assert_eq!(format!("Once{}", run_with_input(&args, b"Once").ok()), text);
    let mut by_variable = command(["generate", "--seed", "5", "-n", "30", "Once"]);
    by_variable.env("HALFWARP_MODEL", &folder.0).env("HALFWARP_MODEL_DEFAULTS", "1");
    assert_eq!(super::harness::Run::from(by_variable.output().unwrap()).ok(), text);
}

#[test]
fn model_defaults_that_cannot_be_used_are_named() {
    let folder = tales_with_defaults("bad-model-defaults", r#"{"repetition_penalty": 0}"#);
    let generate = |args: &str| run(&format!("generate -n 1 --model {} {args}", folder.0.display()));
    generate("").ok();
    generate("--model-defaults").fails(1, &["generation_config.json", "repetition_penalty is 0", "above 0"]);
    let greedy = |args: &str| run(&format!("generate -n 20 --seed 4 {args} The")).ok();
    std::fs::write(folder.file("generation_config.json"), r#"{"do_sample": false, "temperature": 0.9}"#)
        .unwrap();
    assert_eq!(
        greedy(&format!("--model-defaults --model {}", folder.0.display())),
        greedy("--temperature 0"),
        "do_sample: false is greedy"
    );
    let none = run("generate -n 1 --model-defaults");
    assert_eq!(none.stderr, "note: the model has no sampling values of its own\n");
}
