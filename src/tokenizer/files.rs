//! The older vocabulary files, vocab.json with merges.txt or vocab.txt, put into the form of tokenizer.json.
//!
//! The files beside them are read where they matter: tokenizer_config.json and special_tokens_map.json for the names of
//! special tokens and for lower-casing, added_tokens.json for tokens beyond the vocabulary.

use super::TokenizerError;
use crate::format::{TOKENIZER_MAX, exists, read_up_to};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::Path};

/// The roles that a special token can have in tokenizer_config.json and special_tokens_map.json.
const SPECIAL_ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// Reads a file of the folder.
pub(super) fn read(folder: &Path, name: &str) -> Result<Vec<u8>, TokenizerError> {
    Ok(read_up_to(TOKENIZER_MAX, &folder.join(name))?)
}

fn read_text(folder: &Path, name: &'static str) -> Result<String, TokenizerError> {
    String::from_utf8(read(folder, name)?).map_err(|e| {
        TokenizerError::malformed(
            name,
            "",
            format!("not UTF-8 from byte {} on", e.utf8_error().valid_up_to()),
        )
    })
}

fn read_object(folder: &Path, name: &'static str) -> Result<Map<String, Value>, TokenizerError> {
    match serde_json::from_slice(&read(folder, name)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(TokenizerError::malformed(name, "", "not a JSON object")),
        Err(e) => Err(TokenizerError::malformed(name, "", e)),
    }
}

/// The JSON object of a file of the folder; empty where there is no such file.
pub(crate) fn read_object_if_there(
    folder: &Path,
    name: &'static str,
) -> Result<Map<String, Value>, TokenizerError> {
    if exists(&folder.join(name))? { read_object(folder, name) } else { Ok(Map::new()) }
}

/// GPT-2's own files as a tokenizer.json.
pub(super) fn byte_level_bpe(folder: &Path) -> Result<Value, TokenizerError> {
    let vocab = read_object(folder, "vocab.json")?;
    let text = read_text(folder, "merges.txt")?;
    let is_merge = |i: usize, line: &str| !(line.is_empty() || i == 0 && line.starts_with("#version"));
    let lines = text.lines().enumerate().filter(|&(i, line)| is_merge(i, line));
    let mut merges = Vec::new();
    for (i, line) in lines {
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => merges.push(json!([left, right])),
            _ => {
                let what =
                    format!("found {:?}, expected two tokens", line.chars().take(60).collect::<String>());
                return Err(TokenizerError::malformed("merges.txt", format!("line {}", i + 1), what));
            }
        }
    }
    let extras = Extras::read(folder)?;
    let add_prefix_space = extras.config["add_prefix_space"] == true;
    let added = extras.added_tokens(&vocab, &["<|endoftext|>"]);
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    }))
}

/// BERT's vocab.txt as a tokenizer.json: one token a line, its id the number of the line from 0 on. Of equal lines the
/// last is in the tokenizer.json, and the others beside it: as in BERT's own reader they decode and never encode.
pub(super) fn word_piece(folder: &Path) -> Result<(Value, Vec<(u32, String)>), TokenizerError> {
    let text = read_text(folder, "vocab.txt")?;
    let (mut vocab, mut duplicates) = (Map::new(), Vec::new());
    for (id, line) in text.lines().enumerate() {
        if let Some(earlier) = vocab.insert(line.to_string(), json!(id)).and_then(|id| id.as_u64()) {
            duplicates.push((earlier as u32, line.to_string()));
        }
    }
    let extras = Extras::read(folder)?;
    let unk = extras.named("unk_token").unwrap_or("[UNK]");
    let setting = |name: &str, default: bool| extras.config[name].as_bool().unwrap_or(default);
    let added = extras.added_tokens(&vocab, &["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]);
    let json = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": setting("tokenize_chinese_chars", true),
            "strip_accents": extras.config["strip_accents"],
            "lowercase": setting("do_lower_case", true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    });
    Ok((json, duplicates))
}

/// What stands beside a vocabulary.
struct Extras {
    /// tokenizer_config.json.
    config: Value,
    /// special_tokens_map.json.
    special: Map<String, Value>,
    /// added_tokens.json: tokens to ids.
    added: Map<String, Value>,
}

impl Extras {
    fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let added = read_object_if_there(folder, "added_tokens.json")?;
        if let Some((name, id)) = added.iter().find(|(_, id)| !id.is_u64()) {
            let what = format!("the id of {name:?} is {id}, expected a number");
            return Err(TokenizerError::malformed("added_tokens.json", "", what));
        }
        Ok(Self {
            config: Value::Object(read_object_if_there(folder, "tokenizer_config.json")?),
            special: read_object_if_there(folder, "special_tokens_map.json")?,
            added,
        })
    }

    /// The special token that has the role `role`.
    fn named(&self, role: &str) -> Option<&str> {
        self.role(role).and_then(text_of)
    }

    /// Section `added_tokens`: special tokens by default, by role, by list; then added_tokens_decoder and added_tokens.json. Where
    /// several tell how a token is matched, added_tokens_decoder has the say.
    fn added_tokens(&self, vocab: &Map<String, Value>, defaults: &[&str]) -> Vec<Value> {
        // By id, because the crate numbers tokens beyond the vocabulary in the order in which they are listed.
        let mut tokens: BTreeMap<u64, Added> = BTreeMap::new();
        let mut add = |token: &Value, id: Option<&Value>, special: bool| {
            let Some(name) = text_of(token) else { return };
            let id = id.or_else(|| vocab.get(name)).or_else(|| self.added.get(name)).and_then(Value::as_u64);
            if let Some(id) = id {
                let added = tokens.entry(id).or_insert_with(|| Added::new(name));
                added.special |= special;
                added.flags = Flags::of(token).unwrap_or(added.flags);
            }
        };
        let by_role = SPECIAL_ROLES.iter().filter_map(|role| self.role(role));
        let additional =
            self.special.get("additional_special_tokens").or(self.config.get("additional_special_tokens"));
        defaults.iter().for_each(|name| add(&json!(name), None, true));
        by_role.for_each(|token| add(token, None, true));
        additional.and_then(Value::as_array).into_iter().flatten().for_each(|token| add(token, None, true));
        self.added.iter().for_each(|(name, id)| add(&json!(name), Some(id), false));
        for (id, token) in self.config["added_tokens_decoder"].as_object().into_iter().flatten() {
            if let Ok(id) = id.parse::<u64>() {
                add(token, Some(&json!(id)), token["special"] == true);
            }
        }
        tokens.into_iter().map(|(id, added)| added.into_json(id)).collect()
    }

    /// What the special token with the role `role` is.
    fn role(&self, role: &str) -> Option<&Value> {
        let values = [self.special.get(role), self.config.get(role)];
        values.into_iter().flatten().find(|value| text_of(value).is_some())
    }
}

/// A token that is matched in a text before it is split.
struct Added {
    content: String,
    special: bool,
    flags: Flags,
}

/// How it is matched.
#[derive(Clone, Copy, Default)]
struct Flags {
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

impl Flags {
    /// Those of a token that is written as an object.
    fn of(token: &Value) -> Option<Self> {
        let flag = |name: &str| token[name] == true;
        token.is_object().then(|| Self {
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            normalized: flag("normalized"),
        })
    }
}

impl Added {
    fn new(content: &str) -> Self {
        Self { content: content.into(), special: false, flags: Flags::default() }
    }

    fn into_json(self, id: u64) -> Value {
        let Flags { single_word, lstrip, rstrip, normalized } = self.flags;
        json!({
            "id": id, "content": self.content, "special": self.special,
            "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip, "normalized": normalized,
        })
    }
}

/// A special token is written as a text, or as an object with its content.
pub(super) fn text_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}
