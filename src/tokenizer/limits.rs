//! Refuses a tokenizer.json with which a short text could take much time or memory: steps that grow a text without end, and
//! patterns that may look far ahead or that match nothing at all.
//!
//! What any published tokenizer has passes. Tested in `tests/hostile_tokenizers.rs`.

use super::json::{Problem, brief};
use regex_syntax::hir::{Hir, HirKind};
use serde_json::Value;

/// Most times that the normalizers may grow a text, beside Unicode's own forms and one table of characters; SentencePiece's space makes 12 of a space at the
/// start of a text.
const GROWTH_MAX: usize = 16;
/// Most steps of a sequence.
const STEPS_MAX: usize = 32;
/// Most bytes of a pattern; the longest published ones have 500.
const PATTERN_LEN_MAX: usize = 4096;
/// Most bytes of a replaced text, unless it is a run of one kind of character.
const REPLACED_LEN_MAX: usize = 64;
/// Most characters of a word that WordPiece looks up part by part, which takes their square; BERT has 100, others 200.
const WORD_LEN_MAX: u64 = 256;
/// Most bytes that one character becomes by a table of SentencePiece's: those of the ligature U+FDFA, and a few more.
const MAPPED_LEN_MAX: usize = 64;

/// Checks what a file asks for.
pub(super) fn check(json: &Value) -> Result<(), Problem> {
    let growth = normalizer("normalizer", &json["normalizer"])?;
    let n_tables = n_tables(&json["normalizer"]);
    if n_tables > 1 {
        return Err((
            "normalizer".into(),
            format!("has {n_tables} tables of characters, expected one at most"),
        ));
    }
    if growth > GROWTH_MAX {
        let what = format!("grows a text up to {growth} times, expected at most {GROWTH_MAX}");
        return Err(("normalizer".into(), what));
    }
    pre_tokenizer("pre_tokenizer", &json["pre_tokenizer"])?;
    match json["model"]["max_input_chars_per_word"].as_u64() {
        Some(n) if n > WORD_LEN_MAX => {
            let what = format!("found {n}, expected at most {WORD_LEN_MAX}");
            Err(("model.max_input_chars_per_word".into(), what))
        }
        _ => Ok(()),
    }
}

/// How many times the normalizer may grow a text at most. The crate guesses the type of one that has none, so the type says
/// nothing here.
fn normalizer(section: &str, json: &Value) -> Result<usize, Problem> {
    let len = |text: &Value| text.as_str().map_or(0, str::len);
    let mut growth = 1 + len(&json["prepend"]);
    for pointer in ["/prepend", "/pattern/String"] {
        if json.pointer(pointer).is_some_and(|text| text == "") {
            let section = format!("{section}{}", pointer.replace('/', "."));
            return Err((section, "found \"\", expected a text".into()));
        }
    }
    if json["pattern"].is_object() {
        let section = format!("{section}.pattern");
        let replaced = match json["pattern"]["Regex"].as_str() {
            Some(pattern) => replaced_len(&format!("{section}.Regex"), pattern)?,
            None => len(&json["pattern"]["String"]).max(1),
        };
        growth *= len(&json["content"]).div_ceil(replaced).max(1);
    }
    if let Some(table) = json["precompiled_charsmap"].as_str() {
        check_table(&format!("{section}.precompiled_charsmap"), table)?;
    }
    for (section, step) in steps(section, json, "normalizers")? {
        growth = growth.saturating_mul(normalizer(&section, step)?);
    }
    Ok(growth)
}

fn n_tables(json: &Value) -> usize {
    let steps = json["normalizers"].as_array().into_iter().flatten();
    usize::from(json["precompiled_charsmap"].is_string()) + steps.map(n_tables).sum::<usize>()
}

/// The steps of a sequence, each with its section.
fn steps<'a>(section: &str, json: &'a Value, key: &str) -> Result<Vec<(String, &'a Value)>, Problem> {
    let steps = json[key].as_array().map_or(&[][..], Vec::as_slice);
    if steps.len() > STEPS_MAX {
        let what = format!("found {} steps, expected at most {STEPS_MAX}", steps.len());
        return Err((format!("{section}.{key}"), what));
    }
    Ok(steps.iter().enumerate().map(|(i, step)| (format!("{section}.{key}[{i}]"), step)).collect())
}

/// Least bytes that `pattern` replaces, which are one at least. It has to see where it ends: the crate's search begins anew at
/// each place where it has looked ahead in vain.
fn replaced_len(section: &str, pattern: &str) -> Result<usize, Problem> {
    check_pattern(section, pattern)?;
    let hir = regex_syntax::parse(pattern)
        .map_err(|_| (section.to_string(), format!("found {pattern:?}, expected one without look-around")))?;
    let (least, most) = (hir.properties().minimum_len(), hir.properties().maximum_len());
    let Some(least) = least.filter(|&least| least > 0) else {
        return Err((
            section.into(),
            format!("{pattern:?} matches no text at all, expected one that has some"),
        ));
    };
    if most.is_none_or(|most| most > REPLACED_LEN_MAX) && !is_run(&hir) {
        let what = format!(
            "{pattern:?} matches more than {REPLACED_LEN_MAX} bytes, expected fewer, or a run of one kind of character"
        );
        return Err((section.into(), what));
    }
    Ok(least)
}

/// Whether a pattern matches all characters of a kind that follow each other: `\s+`, ` {2,}`.
fn is_run(hir: &Hir) -> bool {
    let HirKind::Repetition(run) = hir.kind() else { return false };
    run.greedy && matches!(run.sub.kind(), HirKind::Class(_) | HirKind::Literal(_))
}

/// A table of SentencePiece's: the length of a trie, the trie, and the texts that it leads to, each with a 0 after it.
fn check_table(section: &str, table: &str) -> Result<(), Problem> {
    let problem = |what: String| (section.to_string(), what);
    let bytes = base64::decode(table).map_err(|error| problem(error.to_string()))?;
    let texts = bytes.split_first_chunk::<4>().and_then(|(len, rest)| {
        let len = u32::from_le_bytes(*len) as usize;
        rest.get(len..).filter(|_| len.is_multiple_of(4))
    });
    let Some(texts) = texts else {
        let n = bytes.len();
        return Err(problem(format!("{n} bytes, of which the first four are not the length of a trie")));
    };
    match texts.split(|&byte| byte == 0).map(<[u8]>::len).max() {
        Some(len) if len > MAPPED_LEN_MAX => {
            Err(problem(format!("a character becomes {len} bytes, expected at most {MAPPED_LEN_MAX}")))
        }
        _ => Ok(()),
    }
}

/// The crate divides by the length of `FixedLength`, whose type it guesses where there is none.
fn pre_tokenizer(section: &str, json: &Value) -> Result<(), Problem> {
    if json["length"].as_u64() == Some(0) {
        return Err((format!("{section}.length"), "found 0, expected at least 1".into()));
    }
    if let Some(pattern) = json["pattern"]["Regex"].as_str() {
        check_pattern(&format!("{section}.pattern.Regex"), pattern)?;
    }
    for (section, step) in steps(section, json, "pretokenizers")? {
        pre_tokenizer(&section, step)?;
    }
    Ok(())
}

fn check_pattern(section: &str, pattern: &str) -> Result<(), Problem> {
    if pattern.len() > PATTERN_LEN_MAX {
        let what = format!(
            "{} has {} bytes, expected at most {PATTERN_LEN_MAX}",
            brief(&pattern.into()),
            pattern.len()
        );
        return Err((section.into(), what));
    }
    Ok(())
}
