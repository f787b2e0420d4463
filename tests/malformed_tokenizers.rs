//! Tokenizer files that are wrong: each is an error that names the section, and none is a panic.

use halfwarp::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A small byte-level BPE with every section.
fn bpe() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 4, "content": "<|endoftext|>", "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<|endoftext|>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<|endoftext|>": { "id": "<|endoftext|>", "ids": [4], "tokens": ["<|endoftext|>"] } },
        },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": { "a": 0, "b": 1, "c": 2, "ab": 3 },
            "merges": [["a", "b"]],
        },
    })
}

fn word_piece() -> Value {
    let mut json = bpe();
    json["post_processor"] = Value::Null;
    json["pre_tokenizer"] = json!({ "type": "BertPreTokenizer" });
    json["decoder"] = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
    json["model"] = json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": { "[UNK]": 0, "a": 1, "##b": 2, "c": 3 },
    });
    json
}

fn load(json: &Value) -> Result<Tokenizer, String> {
    Tokenizer::from_json(json.to_string().as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn the_files_that_are_made_wrong_below_are_right() {
    let tokenizer = load(&bpe()).unwrap();
    assert_eq!(tokenizer.encode("abc").unwrap(), [3, 2]);
    assert_eq!(load(&word_piece()).unwrap().encode("ab c").unwrap(), [1, 2, 3]);
}

/// Sets one value of the small BPE, by JSON pointer.
fn set(pointer: &str, value: Value) -> Value {
    let mut json = bpe();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[key] = value;
    json
}

/// Asserts that each tokenizer.json is refused with words that name what is wrong.
#[track_caller]
fn assert_refused(cases: &[(Value, &str)]) {
    for (json, expected) in cases {
        let error = load(json).map(|_| ()).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

/// T01.
#[test]
fn a_malformed_model_is_an_error_that_names_its_section() {
    assert_refused(&[
        (json!([]), "tokenizer.json: not a JSON object"),
        (json!({}), "tokenizer.json: model.type: found nothing, expected BPE or WordPiece"),
        (set("/model/type", json!("Unigram")), "model.type: found \"Unigram\", expected BPE or WordPiece"),
        (set("/model/type", json!("WordPiece")), "model.unk_token: missing"),
        (set("/model/vocab", json!([])), "model.vocab: found an array of 0, expected an object"),
        (set("/model/vocab", json!({})), "model.merges[0]: \"a\" is not in the vocabulary"),
        (set("/model/vocab/c", json!(7)), "model.vocab: no token has the id 2, and there are 5 tokens"),
        (set("/model/vocab/c", json!(1)), "have the same id 1"),
        (set("/model/vocab/c", json!(-1)), "model.vocab: the id of \"c\" is -1, expected 0..2^32"),
        (set("/model/vocab/c", json!(1u64 << 32)), "the id of \"c\" is 4294967296, expected 0..2^32"),
        (set("/model/vocab/c", json!(1.5)), "the id of \"c\" is 1.5, expected 0..2^32"),
        (set("/model/vocab/c", json!(u32::MAX)), "model.vocab: no token has the id 2"),
        (set("/model/merges", json!(null)), "model.merges: found nothing, expected an array"),
        (set("/model/merges", json!([["b", "c"]])), "model.merges[0]: \"bc\" is not in the vocabulary"),
        (set("/model/merges", json!(["a b", "b d"])), "model.merges[1]: \"d\" is not in the vocabulary"),
        (set("/model/merges", json!(["a b c"])), "model.merges[0]: found \"a b c\", expected two tokens"),
        (set("/model/merges", json!([["a"]])), "model.merges[0]: found an array of 1, expected two tokens"),
        (
            set("/model/continuing_subword_prefix", json!("##")),
            "model.merges[0]: \"b\" does not start with \"##\"",
        ),
        (set("/model/unk_token", json!("?")), "model.unk_token: \"?\" is not in the vocabulary"),
        (set("/model/dropout", json!(0.1)), "model.dropout: found 0.1, expected none"),
    ]);
}

/// T01.
#[test]
fn a_malformed_section_beside_the_model_is_an_error_that_names_it() {
    assert_refused(&[
        (set("/added_tokens/0/id", json!(9)), "no token has the id 4, and there are 5 tokens"),
        (set("/added_tokens/0/id", json!("4")), "added_tokens[0]: the id of \"<|endoftext|>\" is \"4\""),
        (
            set("/added_tokens/0/id", json!(3)),
            "added_tokens[0]: \"ab\" and \"<|endoftext|>\" have the same id 3",
        ),
        (set("/added_tokens/0/content", json!("")), "added_tokens[0]: content is \"\", expected a text"),
        (
            set("/added_tokens/0/content", json!("x".repeat(4097))),
            "added_tokens[0]: content has 4097 bytes, expected 4096 at most",
        ),
        (
            set("/added_tokens", json!(vec![0; 100_001])),
            "added_tokens: found 100001, expected 100000 at most",
        ),
        (
            set("/added_tokens/0/content", json!("a")),
            "added_tokens[0]: the id of \"a\" is 4, model.vocab says 0",
        ),
        (
            set(
                "/truncation",
                json!({ "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 4 }),
            ),
            "truncation: stride is 4, expected less than max_length, 4",
        ),
        (
            set("/pre_tokenizer", json!({ "type": "FixedLength", "length": 0 })),
            "pre_tokenizer.length: found 0, expected at least 1",
        ),
        (
            set(
                "/pre_tokenizer",
                json!({ "type": "Sequence", "pretokenizers": [{ "type": "FixedLength", "length": 0 }] }),
            ),
            "pre_tokenizer.pretokenizers[0].length: found 0",
        ),
        (set("/normalizer", json!({ "type": "Prepend", "prepend": "" })), "normalizer.prepend: found \"\""),
        (
            set("/normalizer", json!({ "type": "Replace", "pattern": { "String": "" }, "content": "x" })),
            "normalizer.pattern.String: found \"\"",
        ),
        (set("/pre_tokenizer", json!({ "type": "Nonsense" })), "tokenizer.json: "),
        (
            set("/post_processor/special_tokens", json!({})),
            "post_processor.single: special token \"<|endoftext|>\" is not listed",
        ),
        (
            set("/post_processor/special_tokens/<|endoftext|>/ids", json!([5])),
            "post_processor.special_tokens: the id of \"<|endoftext|>\" is 5, the last id is 4",
        ),
        (
            set("/decoder", json!({ "type": "Metaspace" })),
            "decoder: type is \"Metaspace\", expected ByteLevel or WordPiece",
        ),
        (set("/version", json!("2.0")), "Unknown tokenizer version"),
    ]);
}

#[test]
fn text_that_is_no_json_is_an_error_with_its_place() {
    let text = bpe().to_string();
    for (bytes, expected) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (&text.as_bytes()[..text.len() / 2], "EOF while parsing"),
        (b"\xff{}", "expected value at line 1 column 1"),
        ("[".repeat(10_000).as_bytes(), "recursion limit exceeded"),
        (b"version https://git-lfs.github.com/spec/v1", "expected value at line 1 column 1"),
    ] {
        let error = Tokenizer::from_json(bytes).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer.json: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn the_older_files_are_checked_as_well() {
    type Files = &'static [(&'static str, &'static [u8])];
    let cases: [(Files, &str); 11] = [
        (&[("vocab.json", b"{"), ("merges.txt", b"")], "vocab.json: EOF while parsing"),
        (&[("vocab.json", b"[]"), ("merges.txt", b"")], "vocab.json: not a JSON object"),
        (&[("vocab.json", b"{}"), ("merges.txt", b"")], "vocab.json: model.vocab: empty"),
        (
            &[("vocab.json", br#"{"a": 0, "b": 100}"#), ("merges.txt", b"")],
            "vocab.json: model.vocab: 2 tokens have ids up to 100: 99 ids have no token",
        ),
        (
            &[("vocab.json", br#"{"a": 0}"#), ("merges.txt", b"a a\n")],
            "vocab.json: model.merges[0]: \"aa\" is not",
        ),
        (
            &[("vocab.json", br#"{"a": 0}"#), ("merges.txt", b"#version: 0.2\naa\n")],
            "merges.txt: line 2: found \"aa\"",
        ),
        (
            &[("vocab.json", br#"{"a": 0}"#), ("merges.txt", b"a \xff\n")],
            "merges.txt: not UTF-8 from byte 2 on",
        ),
        (&[("vocab.txt", b"a\nb\n")], "vocab.txt: model.unk_token: \"[UNK]\" is not in the vocabulary"),
        (
            &[("vocab.txt", b"[UNK]\n"), ("tokenizer_config.json", b"7")],
            "tokenizer_config.json: not a JSON object",
        ),
        (
            &[("vocab.txt", b"[UNK]\n"), ("added_tokens.json", br#"{"x": "1"}"#)],
            "added_tokens.json: the id of \"x\" is \"1\"",
        ),
        (&[("vocab.txt", b"[UNK]\n"), ("added_tokens.json", br#"{"x": 3}"#)], "no token has the id 1"),
    ];
    for (files, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_there_and_cannot_be_read_is_an_error_that_names_it() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    assert!(Tokenizer::find(folder.path()).unwrap().is_none());
    std::fs::write(folder.path().join("vocab.json"), r#"{"a": 0}"#).unwrap();
    for name in ["tokenizer.json", "merges.txt", "added_tokens.json", "vocab.txt"] {
        let path = folder.path().join(name);
        for (target, found) in
            [("nowhere", "No such file"), ("/dev/zero", "is a device"), ("/", "is a directory")]
        {
            symlink(target, &path).unwrap();
            let error = Tokenizer::find(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(found), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
        match name {
            // added_tokens.json is read with the files before it, vocab.txt without them.
            "merges.txt" => std::fs::write(&path, "").unwrap(),
            "added_tokens.json" => std::fs::remove_file(folder.path().join("merges.txt")).unwrap(),
            _ => {}
        }
    }
    let large = std::fs::File::create(folder.path().join("tokenizer.json")).unwrap();
    large.set_len(100 << 20).unwrap();
    let error = Tokenizer::find(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json has 104857600 bytes, the limit is 67108864"), "{error}");
}

/// A file may ask for truncation or padding; a prompt is encoded whole all the same.
#[test]
fn truncation_and_padding_do_not_touch_a_prompt() {
    let mut json = set(
        "/truncation",
        json!({ "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 }),
    );
    json["padding"] = json!({
        "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a",
    });
    assert_eq!(load(&json).unwrap().encode("ccc").unwrap(), [2, 2, 2]);
}

/// All pointers into a JSON value.
fn pointers(json: &Value, prefix: &str, all: &mut Vec<String>) {
    all.push(prefix.to_string());
    let mut each = |key: &str, value: &Value| pointers(value, &format!("{prefix}/{key}"), all);
    match json {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, value)| each(&i.to_string(), value)),
        Value::Object(items) => items.iter().for_each(|(key, value)| each(key, value)),
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(5)),
        Just(json!(u64::MAX)),
        Just(json!(0.5)),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("é")),
        Just(json!("##")),
        Just(json!([])),
        Just(json!({})),
        Just(json!(true)),
        Just(json!([["c", "c"]])),
        Just(json!({ "type": "FixedLength", "length": 1 })),
        Just(
            json!({ "type": "Split", "pattern": { "Regex": "(" }, "behavior": "Isolated", "invert": false })
        ),
        Just(
            json!({ "type": "Split", "pattern": { "Regex": "(a*)*b" }, "behavior": "Isolated", "invert": false })
        ),
        Just(json!({ "type": "ByteLevel" })),
        Just(json!({ "type": "NFKC" })),
        Just(json!({ "type": "WordPiece" })),
        Just(json!({ "type": "Prepend", "prepend": "" })),
        Just(json!({ "type": "Replace", "pattern": { "String": "" }, "content": "x" })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One or two values replaced by others: an error or a tokenizer that works, and no check left to the last belt.
    #[test]
    fn no_replaced_value_panics(
        is_bpe in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..3),
    ) {
        let mut json = if is_bpe { bpe() } else { word_piece() };
        for (place, value) in changes {
            let mut all = Vec::new();
            pointers(&json, "", &mut all);
            *json.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        }
        match load(&json) {
            Err(error) => prop_assert!(!error.contains("panicked"), "{} for {}", error, json),
            Ok(tokenizer) => {
                // Encoding may fail, in words.
                match tokenizer.encode("abc 文 <|endoftext|>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
                    Ok(ids) => _ = tokenizer.decode(&ids).unwrap(),
                    Err(error) => prop_assert!(!error.to_string().contains("panicked"), "{} for {}", error, json),
                }
                let all: Vec<u32> = (0..tokenizer.n_vocab() as u32).collect();
                tokenizer.decode(&all).unwrap();
            }
        }
    }

    #[test]
    fn no_replaced_byte_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = bpe().to_string().into_bytes();
        let i = at.index(bytes.len());
        bytes[i] = byte;
        if let Err(error) = Tokenizer::from_json(&bytes) {
            prop_assert!(!error.to_string().contains("panicked"), "{}", error);
        }
    }
}
