//! Conversations and special tokens on the command line.

use super::harness::{Folder, command, run_args, run_with_input};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

fn ids_of(args: &[&str]) -> Vec<u64> {
    let json = run_args([&["generate", "--json", "-n", "2", "--temperature", "0"], args].concat()).json();
    json["prompt_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn a_prompt_can_be_a_message() {
    let chat = ["--chat", "--chat-template", TEMPLATE];
    let text = "system: Be brief.<|endoftext|>user: Hello<|endoftext|>assistant:";
    let ids = ids_of(&[&chat[..], &["--system", "Be brief.", "Hello"]].concat());
    assert_eq!(ids, ids_of(&["--special", text]));
    assert_ne!(ids, ids_of(&[text]), "without --special it is text");
    // What is in a message stays text.
    let spelled = ids_of(&[&chat[..], &["<|endoftext|>"]].concat());
    assert_eq!(spelled.iter().filter(|&&id| id == spelled[spelled.len() - 3]).count(), 1);
    // The answer alone is written, unless more is asked for.
    let answer = |extra: &[&str]| {
        run_args([&["generate", "-n", "4", "--seed", "1"], &chat[..], extra, &["Hello"]].concat()).ok()
    };
    let (plain, echoed) = (answer(&[]), answer(&["--echo"]));
    assert!(!plain.contains("Hello") && echoed.starts_with("user: Hello"), "{plain:?} {echoed:?}");
    assert!(echoed.ends_with(&plain), "{plain:?} {echoed:?}");
}

#[test]
fn chat_without_a_template_says_what_to_do() {
    run_args(["generate", "--chat", "Hello"]).fails(1, &["no chat template", "--chat-template"]);
    run_args(["repl", "--chat"]).fails(1, &["no chat template", "--chat-template"]);
    run_args(["generate", "--chat", "--chat-template", "no/such/file", "a"]).fails(1, &["no/such/file"]);
    run_args(["generate", "--chat", "--chat-template", "{% for %}", "a"]).fails(1, &["syntax error"]);
    run_args(["generate", "--chat", "--ids", "1"]).fails(2, &["--chat", "--ids"]);
    run_args(["generate", "--system", "a", "b"]).fails(2, &["required"]);
    run_args(["generate", "--chat", "--special", "b"]).fails(2, &["--chat", "--special"]);
}

#[test]
fn the_models_own_template_is_used() {
    let folder = Folder::new("chat-own");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(super::harness::repository("models/tales").join(name), folder.file(name)).unwrap();
    }
    std::fs::write(folder.file("chat_template.jinja"), TEMPLATE).unwrap();
    let model = folder.0.to_str().unwrap();
    let ids = ids_of(&["--model", model, "--chat", "Hello"]);
    assert_eq!(ids, ids_of(&["--special", "user: Hello<|endoftext|>assistant:"]));
    let repl = ["repl", "--model", model, "--chat", "-n", "3", "--seed", "1"];
    let piped = run_with_input(&repl.join(" "), b"Hello\n").ok();
    let generate = ["generate", "--model", model, "--chat", "-n", "3", "--seed", "1", "Hello"];
    assert_eq!(piped, run_args(generate).ok());
}

#[test]
fn a_broken_template_of_the_model_stops_chat_alone() {
    let folder = Folder::new("chat-broken");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(super::harness::repository("models/tales").join(name), folder.file(name)).unwrap();
    }
    std::fs::write(folder.file("chat_template.jinja"), "{% for %}").unwrap();
    let model = folder.0.to_str().unwrap();
    run_args(["generate", "--model", model, "-n", "1", "a"]).ok();
    run_args(["generate", "--model", model, "--chat", "a"]).fails(1, &["chat template", "syntax error"]);
    let help = command(["generate", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("--chat-template"));
}
