//! Models with the vocabularies of others: OpenAI's GPT-2, and a Chinese WordPiece vocabulary.

#[path = "../common/checkpoint.rs"]
mod checkpoint;

use super::harness::{Folder, command, interrupt, repository, run_args, run_with_input};
use checkpoint::{Dtype, Model, N_EMBD};

const PROMPT: &str = "请编写一篇关于人工智能的文章。";
const N_CTX: usize = 64;

/// A folder with a small random model for `n_vocab` tokens and `n_ctx` positions, and the tokenizer's `files` of
/// tests/`tokenizer`.
fn model(name: &str, (n_vocab, n_ctx): (usize, usize), tokenizer: &str, files: &[&str]) -> Folder {
    let folder = Folder::new(name);
    let mut model = Model::new(Dtype::F16);
    (model.config["vocab_size"], model.config["n_positions"]) = (n_vocab.into(), n_ctx.into());
    let mut state = 7u32;
    for (name, n_rows) in [("wte.weight", n_vocab), ("wpe.weight", n_ctx)] {
        let tensor = model.tensor(name);
        tensor.shape = vec![n_rows, N_EMBD];
        tensor.values = (0..n_rows * N_EMBD)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                ((state >> 24) as f32 - 127.0) / 64.0
            })
            .collect();
    }
    model.write(&folder.0);
    for file in files {
        std::fs::copy(repository(&format!("tests/{tokenizer}/{file}")), folder.file(file)).unwrap();
    }
    folder
}

fn gpt2(name: &str) -> Folder {
    model(name, (50257, N_CTX), "gpt2-tokenizer", &["vocab.json", "merges.txt"])
}

fn wordpiece(name: &str) -> Folder {
    let text = std::fs::read_to_string(repository("tests/wordpiece/vocab.txt")).unwrap();
    model(name, (text.lines().count(), N_CTX), "wordpiece", &["vocab.txt", "tokenizer_config.json"])
}

#[test]
fn a_chinese_prompt_is_continued_with_the_tokenizer_of_gpt2() {
    let folder = gpt2("models-gpt2");
    let model = folder.0.to_str().unwrap();
    let args = ["generate", "--model", model, "--seed", "1", "-n", "10", PROMPT];
    let text = run_args(args).ok();
    assert!(text.starts_with(PROMPT) && text.len() > PROMPT.len() + 1, "{text}");
    let json = run_args([&args[..], &["--json", "--echo"]].concat()).json();
    assert_eq!(json["text"], text.strip_suffix('\n').unwrap(), "streamed and at once");
    // tests/tokenizers/ has all of them.
    assert_eq!(json["prompt_ids"][0], 46237);
    assert_eq!(json["token_ids"].as_array().unwrap().len(), 10);
}

#[test]
fn a_chinese_prompt_is_continued_with_wordpiece() {
    let folder = wordpiece("models-wordpiece");
    let model = folder.0.to_str().unwrap();
    let args = ["generate", "--model", model, "--seed", "1", "-n", "10", PROMPT];
    let json = run_args([&args[..], &["--json", "--echo"]].concat()).json();
    let text = run_args(args).ok();
    assert_eq!(json["text"], text.strip_suffix('\n').unwrap(), "streamed and at once");
    assert!(!text.contains("[UNK]") && text.contains('智'), "{text}");
    // A vocabulary of single characters: one token each, none of them unknown.
    let ids = json["prompt_ids"].as_array().unwrap();
    assert_eq!(ids.len(), PROMPT.chars().count());
    assert!(ids.iter().all(|id| *id != 1), "{ids:?}");
}

#[test]
fn piped_chinese_is_continued_by_the_repl() {
    let folder = gpt2("models-repl");
    let args = format!("repl --seed 1 -n 6 --model {}", folder.0.display());
    let answer = run_with_input(&args, PROMPT.as_bytes()).ok();
    let model = folder.0.to_str().unwrap();
    let expected =
        run_args(["generate", "--model", model, "--seed", "1", "-n", "6", "--no-echo", PROMPT]).ok();
    assert_eq!(answer, expected);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_generation_with_130() {
    // Long enough to be still at it when the signal comes.
    let folder = model("models-interrupt", (13, 100_000), "wordpiece", &[]);
    let args = ["generate", "--model", folder.0.to_str().unwrap(), "--ids", "1", "--ignore-eos"];
    assert_eq!(interrupt(command(args).spawn().unwrap()).stderr, "");
}

#[test]
fn the_environment_names_the_model_and_the_context() {
    let folder = gpt2("models-environment");
    let mut generate = command(["generate", "--json", "a", "--ignore-eos"]);
    generate.env("HALFWARP_MODEL", &folder.0).env("HALFWARP_CTX_SIZE", "9").env("HALFWARP_THREADS", "1");
    generate.env("HALFWARP_LOAD", "read");
    let json = super::harness::Run::from(generate.output().unwrap()).json();
    assert_eq!(json["usage"]["total_tokens"], 9);
    assert!(json["device"].as_str().unwrap().contains("1 thread"), "{}", json["device"]);
    assert!(json["model"].as_str().unwrap().contains("models-environment"));
}
