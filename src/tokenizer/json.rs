//! Checks a tokenizer.json before the `tokenizers` crate sees it, and lists its tokens.
//!
//! The crate panics or misbehaves on files that its own writer never makes; each check here refuses one such class and
//! names the section. Tested in `tests/malformed_tokenizers.rs`.

use serde_json::Value;
use std::collections::HashMap;

/// Most added tokens, and most bytes of one: the automaton that finds them takes a hundred times as much memory.
const MAX_ADDED: usize = 100_000;
const MAX_ADDED_LEN: usize = 4096;

/// A section's name and what is wrong with it.
pub(super) type Problem = (String, String);

/// One token of a vocabulary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub id: u32,
    pub text: &'a str,
    pub special: bool,
    added: bool,
}

/// A vocabulary: one token for each id from 0 on.
#[derive(Debug)]
pub(super) struct Pieces<'a>(Vec<Piece<'a>>);

impl<'a> Pieces<'a> {
    /// All tokens, by id.
    pub fn iter(&self) -> impl Iterator<Item = Piece<'a>> + '_ {
        self.0.iter().copied()
    }

    /// Those of section `added_tokens`.
    pub fn added(&self) -> impl Iterator<Item = Piece<'a>> + '_ {
        self.iter().filter(|p| p.added)
    }
}

/// Refuses what the crate does not survive, and returns the tokens. `duplicates` are ids that spell a token once more.
pub(super) fn check<'a>(json: &'a Value, duplicates: &'a [(u32, String)]) -> Result<Pieces<'a>, Problem> {
    if !json.is_object() {
        return Err((String::new(), "not a JSON object".into()));
    }
    let vocab = check_model(&json["model"])?;
    let pieces = list_pieces(vocab, &json["added_tokens"], duplicates)?;
    check_truncation(&json["truncation"])?;
    check_template("post_processor", &json["post_processor"], pieces.0.len())?;
    Ok(pieces)
}

/// Whether each byte of a text becomes part of a token: byte-level BPE with all bytes, in front of which nothing is changed or dropped.
pub(super) fn keeps_bytes(json: &Value) -> bool {
    let keeps = |part: &Value| match part["type"].as_str() {
        Some("ByteLevel" | "Digits") => true,
        Some("Split") => part["behavior"] != "Removed",
        _ => false,
    };
    let pre_tokenizer = &json["pre_tokenizer"];
    let parts = pre_tokenizer["pretokenizers"].as_array();
    let strips = |token: &Value| token["lstrip"] == true || token["rstrip"] == true;
    json["normalizer"].is_null()
        && parts.map_or(keeps(pre_tokenizer), |parts| parts.iter().all(keeps))
        && !json["added_tokens"].as_array().into_iter().flatten().any(strips)
}

type Vocab = serde_json::Map<String, Value>;

/// Model type, vocabulary and merges.
fn check_model(model: &Value) -> Result<&Vocab, Problem> {
    let problem = |section: &str, what: String| Err((format!("model.{section}"), what));
    let kind = model["type"].as_str();
    let is_bpe = match kind {
        Some("BPE") => true,
        Some("WordPiece") => false,
        None if model["merges"].is_array() => true,
        _ => return problem("type", format!("found {}, expected BPE or WordPiece", brief(&model["type"]))),
    };
    let Some(vocab) = model["vocab"].as_object() else {
        return problem("vocab", format!("found {}, expected an object", brief(&model["vocab"])));
    };
    match model["unk_token"].as_str() {
        Some(unk) if (!unk.is_empty() || !is_bpe) && !vocab.contains_key(unk) => {
            return problem("unk_token", format!("{unk:?} is not in the vocabulary"));
        }
        None if !is_bpe => return problem("unk_token", "missing".into()),
        _ => {}
    }
    if model["dropout"].as_f64().is_some_and(|p| p != 0.0) {
        let what = format!("found {}, expected none: the ids of a text would be random", model["dropout"]);
        return problem("dropout", what);
    }
    if is_bpe {
        check_merges(model, vocab)?;
    }
    Ok(vocab)
}

/// Both parts of every merge and its result are tokens.
fn check_merges(model: &Value, vocab: &Vocab) -> Result<(), Problem> {
    let problem = |i: usize, what: String| Err((format!("model.merges[{i}]"), what));
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    let Some(merges) = model["merges"].as_array() else {
        return Err(("model.merges".into(), format!("found {}, expected an array", brief(&model["merges"]))));
    };
    for (i, merge) in merges.iter().enumerate() {
        let Some((left, right)) = merge_parts(merge) else {
            return problem(i, format!("found {}, expected two tokens", brief(merge)));
        };
        let Some(right_rest) = right.strip_prefix(prefix) else {
            return problem(
                i,
                format!("{right:?} does not start with {prefix:?}, as a continuing token must"),
            );
        };
        for token in [left, right, &format!("{left}{right_rest}")] {
            if !vocab.contains_key(token) {
                return problem(i, format!("{token:?} is not in the vocabulary"));
            }
        }
    }
    Ok(())
}

/// A merge as tokenizer.json writes it: `["a", "b"]`, or `"a b"` in older files.
fn merge_parts(merge: &Value) -> Option<(&str, &str)> {
    if let Some(text) = merge.as_str() {
        return text.split_once(' ').filter(|(_, right)| !right.contains(' '));
    }
    match merge.as_array()?.as_slice() {
        [left, right] => Some((left.as_str()?, right.as_str()?)),
        _ => None,
    }
}

/// Every id once. One that no token has is a hole, which stands for nothing, as in the crate. Holes are few, for there is no end to
/// ids; and there are none beside tokens that are added to the vocabulary, which the crate numbers by itself.
fn list_pieces<'a>(
    vocab: &'a Vocab,
    added: &'a Value,
    duplicates: &'a [(u32, String)],
) -> Result<Pieces<'a>, Problem> {
    let mut by_id = HashMap::with_capacity(vocab.len());
    let mut insert = |section: String, text: &'a str, id: &Value, special: bool, added: bool| {
        let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
            return Err((section, format!("the id of {text:?} is {}, expected 0..2^32", brief(id))));
        };
        let piece = Piece { id, text, special, added };
        match by_id.insert(id, piece) {
            Some(other) if other.text != text => {
                Err((section, format!("{:?} and {text:?} have the same id {id}", other.text)))
            }
            _ => Ok(()),
        }
    };
    for (text, id) in vocab {
        insert("model.vocab".into(), text, id, false, false)?;
    }
    let n_added = added.as_array().map_or(0, Vec::len);
    if n_added > MAX_ADDED {
        return Err(("added_tokens".into(), format!("found {n_added}, expected {MAX_ADDED} at most")));
    }
    for (i, token) in added.as_array().into_iter().flatten().enumerate() {
        let section = format!("added_tokens[{i}]");
        let Some(text) = token["content"].as_str().filter(|text| !text.is_empty()) else {
            return Err((section, format!("content is {}, expected a text", brief(&token["content"]))));
        };
        if text.len() > MAX_ADDED_LEN {
            let what = format!("content has {} bytes, expected {MAX_ADDED_LEN} at most", text.len());
            return Err((section, what));
        }
        if let Some(id) = vocab.get(text).filter(|&id| *id != token["id"]) {
            let what = format!("the id of {text:?} is {}, model.vocab says {id}", brief(&token["id"]));
            return Err((section, what));
        }
        insert(section, text, &token["id"], token["special"] == true, true)?;
    }
    for (id, text) in duplicates {
        insert("model.vocab".into(), text, &(*id).into(), false, false)?;
    }
    let n = by_id.len();
    let mut pieces: Vec<Piece> = by_id.into_values().collect();
    pieces.sort_unstable_by_key(|p| p.id);
    let Some(last) = pieces.last() else { return Err(("model.vocab".into(), "empty".into())) };
    let n_ids = last.id as usize + 1;
    let is_beyond = |token: &Value| token["content"].as_str().is_some_and(|text| !vocab.contains_key(text));
    if n_ids > n && added.as_array().is_some_and(|added| added.iter().any(is_beyond)) {
        let hole = pieces.iter().zip(0..).find(|(piece, id)| piece.id != *id).map_or(0, |(_, id)| id);
        return Err(("model.vocab".into(), format!("no token has the id {hole}, and there are {n} tokens")));
    }
    if n_ids - n > n.max(HOLES_MIN) {
        let what = format!("{n} tokens have ids up to {}: {} ids have no token", last.id, n_ids - n);
        return Err(("model.vocab".into(), what));
    }
    let mut tokens = pieces.into_iter().peekable();
    let piece = |id| match tokens.next_if(|piece: &Piece| piece.id == id) {
        Some(piece) => piece,
        None => Piece { id, text: "", special: false, added: false },
    };
    Ok(Pieces((0..n_ids as u32).map(piece).collect()))
}

/// So many ids may have no token, or as many as there are tokens.
const HOLES_MIN: usize = 64;

/// The crate asserts that a truncated text moves forward.
fn check_truncation(truncation: &Value) -> Result<(), Problem> {
    let number = |key: &str| truncation[key].as_u64().unwrap_or(0);
    let (stride, max_length) = (number("stride"), number("max_length"));
    if truncation.is_object() && stride >= max_length {
        let what = format!("stride is {stride}, expected less than max_length, {max_length}");
        return Err(("truncation".into(), what));
    }
    Ok(())
}

/// Every special token that a template names is listed beside it, with ids of the vocabulary.
fn check_template(section: &str, processor: &Value, n_vocab: usize) -> Result<(), Problem> {
    let listed = &processor["special_tokens"];
    if processor["type"] == "TemplateProcessing" {
        for part in ["single", "pair"] {
            for piece in processor[part].as_array().into_iter().flatten() {
                let name = piece["SpecialToken"]["id"].as_str();
                if let Some(name) = name.filter(|name| !listed[*name].is_object()) {
                    return Err((
                        format!("{section}.{part}"),
                        format!("special token {name:?} is not listed"),
                    ));
                }
            }
        }
        for (name, token) in listed.as_object().into_iter().flatten() {
            for id in token["ids"].as_array().into_iter().flatten() {
                if id.as_u64().is_none_or(|id| id >= n_vocab as u64) {
                    let what = format!("the id of {name:?} is {}, the last id is {}", brief(id), n_vocab - 1);
                    return Err((format!("{section}.special_tokens"), what));
                }
            }
        }
    }
    for (i, part) in processor["processors"].as_array().into_iter().flatten().enumerate() {
        check_template(&format!("{section}.processors[{i}]"), part, n_vocab)?;
    }
    Ok(())
}

/// A value in few words.
pub(super) fn brief(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".into(),
        Value::Array(items) => return format!("an array of {}", items.len()),
        Value::Object(items) => return format!("an object of {}", items.len()),
        _ => value.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
