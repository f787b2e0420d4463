//! Special tokens in text that is trusted: found by Hugging Face's rule, in one walk.

use crate::cpu_seconds;
use halfwarp::Tokenizer;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

/// tokenizer.json of a byte-level BPE without merges, with these special tokens beside the 256 bytes.
fn json_of(special: &[String]) -> String {
    let raw: Value = serde_json::from_str(include_str!("../../models/tales/tokenizer.json")).unwrap();
    let is_byte = |piece: &str| piece.chars().count() == 1;
    let bytes = raw["model"]["vocab"].as_object().unwrap().keys().filter(|piece| is_byte(piece));
    let vocab: serde_json::Map<_, _> = bytes.zip(0..).map(|(piece, id)| (piece.clone(), json!(id))).collect();
    assert_eq!(vocab.len(), 256);
    let added: Vec<Value> = special
        .iter()
        .zip(256..)
        .map(|(content, id)| {
            json!({"id": id, "content": content, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
    .to_string()
}

/// The first special token in `text`, the longest where several start there: every one is searched for in all of it.
fn find_first<'a>(special: &'a [String], text: &str) -> Option<(usize, &'a str)> {
    let found = special.iter().filter_map(|piece| Some((text.find(piece.as_str())?, piece.as_str())));
    found.min_by_key(|&(at, piece)| (at, std::cmp::Reverse(piece.len())))
}

/// The ids of `text`, by the obvious search.
fn slow_twin(tokenizer: &Tokenizer, special: &[String], mut text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    while let Some((at, piece)) = find_first(special, text) {
        ids.extend(tokenizer.encode(&text[..at]).unwrap());
        ids.push(tokenizer.id_of(piece).unwrap());
        text = &text[at + piece.len()..];
    }
    ids.extend(tokenizer.encode(text).unwrap());
    ids
}

#[test]
fn ids_equal_the_obvious_searchs_and_the_crates() {
    // Tokens that begin, end, contain and overlap each other.
    const SPECIAL: [&str; 10] = ["<|", "<|a|>", "<|a", "a|>", "|a", "|><", "><|", "é中", "中é", "<|a|><|a|>"];
    let special = SPECIAL.map(String::from);
    let json = json_of(&special);
    let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
    // Special tokens are promoted as it is by default.
    let raw = tokenizers::Tokenizer::from_bytes(&json).unwrap();
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let texts = vec(select(vec!["<", "|", "a", ">", "é", "中", " ", "<|a|>", "x"]), 0..24);
    let check = |parts: Vec<&str>| {
        let text = parts.concat();
        let ids = tokenizer.encode_with_special(&text).unwrap();
        prop_assert_eq!(&ids, &slow_twin(&tokenizer, &special, &text), "{:?}", text);
        let encoding = raw.encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(&ids[..], encoding.get_ids(), "{:?}", text);
        Ok(())
    };
    runner.run(&texts, check).unwrap();
}

/// A search for each token from each place on takes half a minute here.
#[test]
fn the_time_does_not_grow_with_the_number_of_special_tokens() {
    let special: Vec<String> = (0..256).map(|i| format!("<|reserved_special_token_{i}|>")).collect();
    let tokenizers = [1, 256].map(|n| Tokenizer::from_json(json_of(&special[..n]).as_bytes()).unwrap());
    let text = format!("{} {}", special[0], "<|reserved_special_token_ ").repeat(32 << 10);
    assert!(text.len() > 1_700_000);
    let [one, all] = tokenizers.map(|tokenizer| {
        let run = || {
            let start = cpu_seconds();
            assert!(tokenizer.encode_with_special(&text).unwrap().len() > 32 << 10);
            cpu_seconds() - start
        };
        (0..3).map(|_| run()).fold(f64::INFINITY, f64::min)
    });
    println!("{} bytes: {one:.3} s with one special token, {all:.3} s with 256", text.len());
    assert!(all < 2.0 * one, "{one} s with one special token, {all} s with 256");
}
