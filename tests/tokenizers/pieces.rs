//! Long texts, which are tokenized in pieces, against the `tokenizers` crate on the whole text.

use halfwarp::Tokenizer;
use serde_json::{Value, json};

/// What stands in long texts, and what may look alike on both sides of a cut.
const FRAGMENTS: [&str; 34] = [
    "a",
    "Zz",
    "wörd",
    "don't",
    "I'LL",
    " ",
    "  ",
    "\n",
    "\r\n",
    " \n ",
    "\t",
    "1",
    "2024",
    "!",
    "...",
    "'s",
    "'",
    "/",
    "é",
    "e\u{301}",
    "\u{301}",
    "文",
    "章",
    "，",
    "。",
    "\u{a0}",
    "\u{3000}",
    "Ａ",
    "ﬁ",
    "👩\u{200d}👧",
    "<|endoftext|>",
    "<pad>",
    "[MASK]",
    "\u{1}",
];

/// A text of some 140,000 bytes, `seed` tells which.
fn text(seed: u64) -> String {
    let mut state = seed;
    let mut text = String::new();
    while text.len() < 140_000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        text += FRAGMENTS[(state >> 33) as usize % FRAGMENTS.len()];
    }
    text
}

/// The ids of the whole text, by the crate alone.
fn whole(json: &Value, text: &str) -> Vec<u32> {
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
    tokenizer.set_encode_special_tokens(true);
    tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
}

/// The small byte-level tokenizer of the bundled model with other sections.
fn bundled_with(sections: Value) -> Value {
    let text = std::fs::read("models/tales/tokenizer.json").unwrap();
    let mut json: Value = serde_json::from_slice(&text).unwrap();
    for (name, section) in sections.as_object().unwrap() {
        json[name] = section.clone();
    }
    json
}

fn split(pattern: &str, behavior: &str) -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Digits", "individual_digits": true },
        { "type": "Split", "pattern": { "Regex": pattern }, "behavior": behavior, "invert": behavior == "Removed" },
        { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false, "trim_offsets": true },
    ] })
}

/// The tokenizer of tests/wordpiece as a tokenizer.json.
fn word_piece() -> Value {
    let lines = std::fs::read_to_string("tests/wordpiece/vocab.txt").unwrap();
    let vocab: serde_json::Map<String, Value> =
        lines.lines().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
    bundled_with(json!({
        "added_tokens": [],
        "post_processor": null,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab },
    }))
}

#[test]
fn the_ids_of_pieces_are_the_ids_of_the_whole() {
    let added = |content: &str, flags: Value| {
        let mut token = json!({ "id": 4096, "content": content, "special": false,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
        flags.as_object().unwrap().iter().for_each(|(name, flag)| token[name] = flag.clone());
        let mut all = bundled_with(json!({}))["added_tokens"].as_array().unwrap().clone();
        all.push(token);
        json!({ "added_tokens": all })
    };
    let forms = |steps: &[&str]| {
        let steps: Vec<Value> = steps.iter().map(|step| json!({ "type": step })).collect();
        json!({ "normalizer": { "type": "Sequence", "normalizers": steps } })
    };
    let byte_level = |prefix: bool| json!({ "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true } });
    let mut cases = vec![
        bundled_with(json!({})),
        bundled_with(byte_level(true)),
        bundled_with(forms(&["NFC"])),
        bundled_with(forms(&["NFKD", "Lowercase", "StripAccents"])),
        bundled_with(json!({ "normalizer": { "type": "Prepend", "prepend": "x" } })),
        bundled_with(added("wörd ", json!({}))),
        bundled_with(added("Zz", json!({ "rstrip": true }))),
        bundled_with(added("wörd", json!({ "lstrip": true, "single_word": true }))),
        bundled_with(added("  ", json!({}))),
        bundled_with(added("文，", json!({ "normalized": true }))),
        word_piece(),
    ];
    for pattern in [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        // Two that are cut nowhere.
        r"[a-z]+ [a-z]+|\s|\S",
        "，",
    ] {
        for behavior in ["Isolated", "Removed", "MergedWithNext"] {
            cases.push(bundled_with(json!({ "pre_tokenizer": split(pattern, behavior) })));
        }
    }
    for (i, json) in cases.iter().enumerate() {
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let text = text(i as u64);
        let (ids, expected) = (tokenizer.encode(&text).unwrap(), whole(json, &text));
        let place = ids.iter().zip(&expected).position(|(a, b)| a != b);
        assert!(ids == expected, "case {i}: token {place:?} of {}", expected.len());
    }
}
