//! Tokenizer files made to cost much: each is refused with what was found, or gives up in time and in little memory; and what
//! published files have is none of them.

use halfwarp::Tokenizer;
use serde_json::{Value, json};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const MIB: usize = 1 << 20;

const PATTERN_OF_LLAMA: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

struct Measuring;

thread_local! {
    /// Bytes that the thread holds, and the most that it held. They need no allocation themselves.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get().wrapping_add(layout.size()));
        // What another thread has allocated can be freed here, and wraps around.
        if HELD.get() < usize::MAX / 2 {
            PEAK.set(PEAK.get().max(HELD.get()));
        }
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: `memory` came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// What `call` returns, how long it took, and how many bytes more than before it held at most.
fn cost<T>(call: impl FnOnce() -> T) -> (T, Duration, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let started = Instant::now();
    let result = call();
    (result, started.elapsed(), PEAK.get() - before)
}

/// A tokenizer of the 256 bytes, with other sections.
fn bytes_with(sections: Value) -> Value {
    let alphabet = std::fs::read_to_string("tests/gpt2-tokenizer/vocab.json").unwrap();
    let vocab: serde_json::Map<String, Value> = serde_json::from_str(&alphabet).unwrap();
    let vocab: serde_json::Map<String, Value> =
        vocab.into_iter().filter(|(_, id)| id.as_u64().unwrap() < 256).collect();
    let mut json = json!({
        "version": "1.0",
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true, "trim_offsets": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "use_regex": true, "trim_offsets": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    for (name, section) in sections.as_object().unwrap() {
        json[name] = section.clone();
    }
    json
}

fn split(pattern: &str) -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
        { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false, "trim_offsets": true },
    ] })
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({ "type": "Replace", "pattern": pattern, "content": content })
}

fn load(json: &Value) -> Result<Tokenizer, String> {
    Tokenizer::from_json(json.to_string().as_bytes()).map_err(|e| e.to_string())
}

/// Base64 of a table that maps characters by a trie of no use to `text`.
fn table(text: &str) -> Value {
    let bytes = [&4u32.to_le_bytes()[..], &[0; 4], text.as_bytes()].concat();
    json!({ "type": "Precompiled", "precompiled_charsmap": base64::encode(bytes) })
}

#[test]
fn what_grows_a_text_is_refused_at_load() {
    let doubling = replace(json!({ "String": "a" }), "aa");
    let string = |length: usize| replace(json!({ "String": "a" }), &"b".repeat(length));
    let sequence = |steps: &[Value]| json!({ "type": "Sequence", "normalizers": steps });
    let cases = [
        (
            sequence(&vec![doubling.clone(); 27]),
            "normalizer: grows a text up to 134217728 times, expected at most 16",
        ),
        (
            sequence(&vec![json!({ "type": "NFC" }); 33]),
            "normalizer.normalizers: found 33 steps, expected at most 32",
        ),
        (
            sequence(&[sequence(&vec![doubling.clone(); 3]), sequence(&vec![doubling; 3])]),
            "grows a text up to 64 times",
        ),
        (string(17), "normalizer: grows a text up to 17 times"),
        (string(1 << 20), "normalizer: grows a text up to 1048576 times"),
        (json!({ "type": "Prepend", "prepend": "x".repeat(16) }), "normalizer: grows a text up to 17 times"),
        (replace(json!({ "Regex": "a|b{3}" }), &"b".repeat(17)), "normalizer: grows a text up to 17 times"),
        (replace(json!({ "Regex": "x*" }), "y"), "normalizer.pattern.Regex: \"x*\" matches no text at all"),
        (replace(json!({ "Regex": "a(?=b)" }), "y"), "\"a(?=b)\", expected one without look-around"),
        (
            replace(json!({ "Regex": r"[\s\S]*X" }), "y"),
            "matches more than 64 bytes, expected fewer, or a run of",
        ),
        (replace(json!({ "Regex": "a".repeat(4097) }), "y"), "has 4097 bytes, expected at most 4096"),
        (
            table(&"x".repeat(65)),
            "normalizer.precompiled_charsmap: a character becomes 65 bytes, expected at most 64",
        ),
        (
            json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" }),
            "4 bytes, of which the first four are not",
        ),
        (
            json!({ "type": "Precompiled", "precompiled_charsmap": "*" }),
            "normalizer.precompiled_charsmap: Invalid byte",
        ),
        (sequence(&[table("x"), table("x")]), "normalizer: has 2 tables of characters, expected one at most"),
    ];
    for (normalizer, expected) in cases {
        let (result, time, memory) = cost(|| load(&bytes_with(json!({ "normalizer": normalizer }))));
        let error = result.map(|_| ()).expect_err(expected);
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        assert!(time < Duration::from_secs(1) && memory < 64 * MIB, "{expected}: {time:?}, {memory} bytes");
    }
}

#[test]
fn long_patterns_and_long_words_are_refused_at_load() {
    let error = load(&bytes_with(json!({ "pre_tokenizer": split(&"a".repeat(4097)) }))).unwrap_err();
    assert!(error.contains("pre_tokenizer.pretokenizers[0].pattern.Regex: \"aaa"), "{error}");
    assert!(error.contains("has 4097 bytes, expected at most 4096"), "{error}");
    for (length, is_fine) in [(100, true), (200, true), (257, false), (u64::MAX, false)] {
        let json = json!({
            "version": "1.0", "pre_tokenizer": { "type": "BertPreTokenizer" },
            "model": { "type": "WordPiece", "vocab": { "[UNK]": 0, "a": 1, "##a": 2 }, "unk_token": "[UNK]",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": length },
        });
        match load(&json) {
            Ok(_) => assert!(is_fine, "{length}"),
            Err(error) => {
                let expected =
                    format!("model.max_input_chars_per_word: found {length}, expected at most 256");
                assert!(!is_fine && error.contains(&expected), "{error}");
            }
        }
    }
}

/// Each takes minutes on such texts, and some of them give up inside the `fancy-regex` crate.
#[test]
fn a_pattern_that_takes_long_is_an_error_within_two_seconds() {
    let text = "a".repeat(240_000);
    let cases = [
        ("(a*)*b|a", "pre_tokenizer: "),
        (r"(a|aa)+(?!a)b|a", "pre_tokenizer: "),
        (r"(?=(a+))\1b|a", "pre_tokenizer: "),
        (r"[\s\S]*X|a", "pre_tokenizer: its patterns take longer than 1 s for each MiB of text"),
        (r"a(?=[\s\S]*X)|a", "pre_tokenizer: its patterns take longer than 1 s for each MiB of text"),
    ];
    for (pattern, expected) in cases {
        let tokenizer = load(&bytes_with(json!({ "pre_tokenizer": split(pattern) }))).unwrap();
        let (result, time, memory) = cost(|| tokenizer.encode(&text));
        let error = result.expect_err(pattern).to_string();
        assert!(
            error.starts_with("cannot encode the text: ") && error.contains(expected),
            "{pattern}: {error}"
        );
        println!("{pattern}: {error}: {time:?}, {} MiB", memory / MIB);
        assert!(time < Duration::from_secs(2) && memory < 256 * MIB, "{pattern}: {time:?}, {memory} bytes");
    }
}

/// The `fancy-regex` crate gives up at a million, and the `tokenizers` crate takes the rest of such a text for one word.
#[test]
fn a_run_of_spaces_of_any_length_is_split_as_a_short_one() {
    for pattern in [None, Some(PATTERN_OF_LLAMA)] {
        let sections = pattern.map_or(json!({}), |pattern| json!({ "pre_tokenizer": split(pattern) }));
        let mut json = bytes_with(sections);
        // Ends of words show: a space and the letter are a token of their own only where they are one word.
        json["model"]["vocab"]["Ġx"] = json!(256);
        json["model"]["merges"] = json!([["Ġ", "x"]]);
        let tokenizer = load(&json).unwrap();
        let spaces = |n: usize| tokenizer.encode(&format!("{}x{}", " ".repeat(n), " ".repeat(n))).unwrap();
        let (short, long) = (spaces(3), spaces(1_500_000));
        assert_eq!((short.len(), long.len()), (6, 3_000_000));
        assert_eq!((short[2], long[1_499_999]), (256, 256));
    }
}

#[test]
fn a_pattern_that_gives_up_is_an_error_and_not_one_word() {
    let tokenizer = load(&bytes_with(json!({ "pre_tokenizer": split(r"\s+(?!\S)|.") }))).unwrap();
    let error = tokenizer.encode(&format!("{}x", " ".repeat(2_000_000))).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot encode the text: pre_tokenizer: Error executing regex: Max stack size exceeded for backtracking"
    );
}

/// The longest words that a WordPiece may have, each of parts of one letter.
#[test]
fn word_piece_of_long_words_takes_little_time() {
    let mut json = json!({
        "version": "1.0", "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "vocab": { "[UNK]": 0, "a": 1, "##a": 2 }, "unk_token": "[UNK]",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 256 },
    });
    let text = format!("{} ", "a".repeat(256)).repeat(31);
    let (ids, time, _) = cost(|| load(&json).unwrap().encode(&text).unwrap());
    assert_eq!(ids.len(), 31 * 256);
    assert!(time < Duration::from_secs(1), "{time:?} for 8,000 characters");
    json["model"]["max_input_chars_per_word"] = json!(255);
    assert_eq!(load(&json).unwrap().encode(&text).unwrap(), [0; 31]);
}

#[test]
fn normalizers_and_patterns_of_published_tokenizers_load() {
    let space = || json!({ "String": " " });
    let normalizers = [
        json!(null),
        json!({ "type": "NFC" }),
        replace(space(), "▁"),
        json!({ "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" }, replace(space(), "▁")] }),
        json!({ "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true }),
        json!({ "type": "Sequence", "normalizers": [{ "type": "NFD" }, { "type": "Lowercase" }, { "type": "StripAccents" }] }),
        json!({ "type": "Sequence", "normalizers": [
            replace(json!({ "String": "``" }), "\""), replace(json!({ "String": "''" }), "\""), { "type": "NFKD" },
            { "type": "StripAccents" }, { "type": "Lowercase" }, table("ﷺ\0"),
            replace(json!({ "Regex": " {2,}" }), " ")] }),
        json!({ "type": "Sequence", "normalizers": [
            { "type": "NFC" }, replace(json!({ "Regex": r"\s+" }), " "), { "type": "Lowercase" }] }),
        json!({ "type": "Sequence", "normalizers": [
            { "type": "Nmt" }, { "type": "NFKC" }, replace(json!({ "Regex": " {2,}" }), "▁"), { "type": "Prepend", "prepend": "▁" }] }),
    ];
    for normalizer in normalizers {
        let result = load(&bytes_with(json!({ "normalizer": normalizer })));
        assert!(result.is_ok(), "{normalizer}: {:?}", result.err());
    }
    for pattern in [
        PATTERN_OF_LLAMA,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[!-/:-~！-／：-～‘-‟　-。]|\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯ]+",
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
        "[0-9][0-9][0-9]",
    ] {
        let tokenizer = load(&bytes_with(json!({ "pre_tokenizer": split(pattern) }))).expect(pattern);
        let text = "It's 2024, tout à fait. ".repeat(5_000);
        assert_eq!(tokenizer.encode(&text).unwrap().len(), text.len());
    }
}

/// A table of characters whose trie leads out of it: only the text tells.
#[test]
fn a_panic_inside_the_crate_is_an_error_and_prints_nothing() {
    let json = bytes_with(json!({ "normalizer": table("x") }));
    let error = load(&json).unwrap().encode("a").unwrap_err();
    assert_eq!(error.to_string(), "cannot encode the text: the tokenizers crate panicked");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let stderr = tokenize(folder.path());
    assert_eq!(stderr, "error: cannot encode the text: the tokenizers crate panicked\n");
}

/// Standard error of `halfwarp tokenize`, which fails.
fn tokenize(folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    let output = command.arg("tokenize").arg("a").arg("--model").arg(folder).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Nothing but the ids grows with a text that can be cut; one word of 2 MB, which cannot, stays within bounds too.
#[test]
fn a_long_text_takes_little_memory() {
    let byte_level = Tokenizer::open(Path::new("models/tales")).unwrap();
    let word_piece = Tokenizer::open(Path::new("tests/wordpiece")).unwrap();
    for (what, tokenizer, text, limit) in [
        ("6 MB of English", &byte_level, "The cat sat on the mat.\n".repeat(6 * MIB / 24), 48 * MIB),
        ("6 MB of English", &word_piece, "The cat sat on the mat.\n".repeat(6 * MIB / 24), 48 * MIB),
        ("6 MB of Chinese", &word_piece, "文章，文章。\n".repeat(6 * MIB / 19), 48 * MIB),
        ("2 MB of spaces and words", &word_piece, "a ".repeat(MIB), 32 * MIB),
        ("one word of 2 MB", &byte_level, "a".repeat(2 * MIB), 512 * MIB),
        ("one word of 2 MB", &word_piece, "a".repeat(2 * MIB), 512 * MIB),
    ] {
        let (ids, time, memory) = cost(|| tokenizer.encode(&text).unwrap());
        println!("{what}: {} tokens, {time:?}, {} MiB", ids.len(), memory / MIB);
        assert!(memory < limit, "{what}: {} MiB", memory / MIB);
    }
}
