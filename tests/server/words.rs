//! Texts whose tokens are words and parts of words, which do not spell a text as its author did.

use crate::{
    rig::{Rig, options, serve, tales},
    scripted::Scripted,
};
use halfwarp::{Config, Engine, Tokenizer, scheduler::SchedulerOptions};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// A server of `tokenizer` with `n_vocab` rows that writes `script`.
fn rig(tokenizer: Tokenizer, n_vocab: usize, script: &[u32]) -> Rig {
    let config = tales().scheduler().engine().config().clone();
    let config = Config { n_vocab, eos_token_ids: Vec::new(), ..config };
    let engine = Engine::new(Box::new(Scripted::new(config, script.into(), None)), Some(tokenizer), 2048);
    serve(engine.unwrap(), SchedulerOptions::default(), options())
}

fn word_piece() -> Tokenizer {
    Tokenizer::open(Path::new("tests/wordpiece")).unwrap()
}

/// The first answer's text, and the names and places of its tokens.
fn tokens(choice: &Value) -> (String, Vec<String>, Vec<u64>) {
    let list = |name: &str| choice["logprobs"][name].as_array().unwrap().clone();
    let names = list("tokens").iter().map(|name| name.as_str().unwrap().to_string()).collect();
    let offsets = list("text_offset").iter().map(|offset| offset.as_u64().unwrap()).collect();
    (choice["text"].as_str().unwrap().into(), names, offsets)
}

#[test]
fn the_prompt_is_echoed_as_it_was_written() {
    let ids = word_piece().encode("playing").unwrap();
    assert_eq!(ids.len(), 2);
    let rig = rig(word_piece(), 150, &ids);
    let prompt = "  Hello  WÖRLD, 電 写 Playing unwanted!\n";
    let body = json!({"prompt": prompt, "max_tokens": 2, "temperature": 0, "logprobs": 2, "echo": true});
    let answer = rig.complete(body.clone()).ok();
    let (text, names, offsets) = tokens(&answer["choices"][0]);
    assert_eq!(text, format!("{prompt} playing"));
    assert_eq!(names.concat(), text);
    assert_eq!(names[..3], ["  Hello", "  WÖRLD", ","]);
    assert_eq!(names[names.len() - 2..], [" play", "ing"]);
    let chars: Vec<char> = text.chars().collect();
    for (name, offset) in names.iter().zip(&offsets) {
        let here: String = chars[*offset as usize..].iter().collect();
        assert!(here.starts_with(name.as_str()), "{name:?} at {offset} of {text:?}");
    }
    for (i, name) in names.iter().enumerate().skip(1) {
        let (own, top) = (
            &answer["choices"][0]["logprobs"]["token_logprobs"][i],
            &answer["choices"][0]["logprobs"]["top_logprobs"][i],
        );
        assert_eq!(&top[name], own, "{top}");
    }

    // Without log-probabilities, without a new token, and as a stream.
    let mut plain = body.clone();
    plain.as_object_mut().unwrap().remove("logprobs");
    assert_eq!(rig.complete(plain.clone()).ok()["choices"][0]["text"], text.as_str());
    plain["max_tokens"] = json!(0);
    assert_eq!(rig.complete(plain).ok()["choices"][0]["text"], prompt);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    let (mut all, mut all_names, mut all_offsets) = (String::new(), Vec::new(), Vec::new());
    for chunk in
        rig.complete(streamed).chunks().iter().filter(|chunk| chunk["choices"][0]["logprobs"].is_object())
    {
        let (text, names, offsets) = tokens(&chunk["choices"][0]);
        all += &text;
        all_names.extend(names);
        all_offsets.extend(offsets);
    }
    assert_eq!((all, all_names, all_offsets), (text, names, offsets));
}

/// A prompt that is cut at its start is echoed from there on.
#[test]
fn a_prompt_that_was_cut_is_echoed_in_part() {
    let rig = rig(word_piece(), 150, &[65]);
    let body = json!({"prompt": "Hello WORLD, Playing", "max_tokens": 0, "echo": true, "logprobs": 0, "truncate_prompt_tokens": 3});
    let (text, names, offsets) = tokens(&rig.complete(body).ok()["choices"][0]);
    assert_eq!((text.as_str(), names.concat().as_str()), (", Playing", ", Playing"));
    assert_eq!(offsets, [0, 1, 6]);
}

#[test]
fn ids_that_spell_alike_have_names_of_their_own() {
    let json = json!({
        "version": "1.0", "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "vocab": { "[UNK]": 0, "a": 1, "##a": 2, "b": 3, "##b": 4 }, "unk_token": "[UNK]",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 },
    });
    for (script, own) in [(1, " a"), (2, "a")] {
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let rig = rig(tokenizer, 5, &[script]);
        let body = json!({"prompt": "b", "max_tokens": 1, "temperature": 0, "logprobs": 5});
        let logprobs = rig.complete(body).ok()["choices"][0]["logprobs"].clone();
        let top = logprobs["top_logprobs"][0].as_object().unwrap();
        assert_eq!((top.len(), &logprobs["tokens"][0]), (5, &json!(own)), "{top:?}");
        assert_eq!(top[own], logprobs["token_logprobs"][0]);
    }
    // Two lines of a vocabulary that say the same.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), "[UNK]\na\na\nb\n").unwrap();
    let rig = rig(Tokenizer::open(folder.path()).unwrap(), 4, &[3]);
    let body = json!({"prompt": "b", "max_tokens": 1, "temperature": 0, "logprobs": 4});
    let logprobs = rig.complete(body).ok()["choices"][0]["logprobs"].clone();
    let names: Vec<&String> = logprobs["top_logprobs"][0].as_object().unwrap().keys().collect();
    assert_eq!(names, [" b", "[UNK]", "a", "token_id:2"]);
}

#[test]
fn a_stray_byte_is_one_character() {
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    let byte = |byte: u8| (0..4096).find(|&id| tokenizer.token_bytes(id).unwrap() == [byte]).unwrap();
    // A byte that goes on with nothing, a letter, a character in three parts, one that is broken off, a letter.
    let ids = [0x80, b'a', 0xe4, 0xb8, 0xad, 0xe4, b'b'].map(byte);
    let body = json!({"prompt": ids, "max_tokens": 0, "echo": true, "logprobs": 0});
    let (text, _, offsets) = tokens(&tales().complete(body).ok()["choices"][0]);
    assert_eq!(text, "\u{fffd}a中\u{fffd}b");
    assert_eq!(offsets, [0, 1, 2, 3, 3, 3, 4]);
}

/// A vocabulary may be padded with ids that have no text.
#[test]
fn ids_of_the_padding_get_one_answer() {
    let rig = rig(Tokenizer::bundled(), 4224, &[100]);
    let at_most = |extra: Value| {
        let mut body = json!({"prompt": [5, 4096], "max_tokens": 1});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (param, extra) in [
        ("prompt", json!({})),
        ("prompt", json!({"echo": true})),
        ("prompt", json!({"echo": true, "logprobs": 1})),
        ("prompt", json!({"prompt": [[5], [4096]]})),
        ("logit_bias", json!({"prompt": [5], "logit_bias": {"4096": 1}})),
        ("stop_token_ids", json!({"prompt": [5], "stop_token_ids": [4096]})),
    ] {
        let message = rig.complete(at_most(extra)).fails(400, Some(param));
        assert!(message.contains("4096") && message.contains("out of range 0..=4095"), "{message}");
    }
    rig.post("/detokenize", json!({"tokens": [4096]})).fails(400, Some("tokens"));
}

/// Words of any length are one token each, so only the tokens tell; they are counted as they come.
#[test]
fn what_does_not_fit_is_refused_before_all_of_it_is_tokenized() {
    let rig = rig(word_piece(), 150, &[65]);
    let started = Instant::now();
    let answer = rig.complete(json!({"prompt": "a ".repeat(1_000_000), "max_tokens": 1}));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let message = answer.fails(400, Some("prompt"));
    assert!(
        message.contains("context length is 512 tokens; the first 65537 bytes of the prompt have "),
        "{message}"
    );
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
    let long_words = format!("{} ", "x".repeat(2000)).repeat(500);
    let usage = rig.complete(json!({"prompt": long_words, "max_tokens": 1})).ok()["usage"].clone();
    assert_eq!(usage["prompt_tokens"], 500);
    let cut = json!({"prompt": "a ".repeat(100_000), "max_tokens": 1, "truncate_prompt_tokens": 7});
    assert_eq!(rig.complete(cut).ok()["usage"]["prompt_tokens"], 7);
}
