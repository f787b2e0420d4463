//! Where a text can be cut so that the ids of its pieces are the ids of the whole.
//!
//! After a letter or a digit and before a space, a line break or a full stop every published pre-tokenizer ends a word, whatever
//! stands further left or right; no normalizer joins the two. Who asks for anything else in its file gets whole texts.

use super::pipeline::BYTE_LEVEL_PATTERN;
use serde_json::Value;

/// Pieces are a little longer.
const PIECE_LEN: usize = 64 << 10;

/// Patterns that end a word there: of GPT-2 and its kin; of Llama 3 and GPT-4, with or without letters of two cases; of Qwen; of
/// Mistral Nemo; of GPT-4o.
pub(super) const PATTERNS: [&str; 7] = [
    BYTE_LEVEL_PATTERN,
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
];

/// Where texts are cut.
#[derive(Debug)]
pub(super) struct Cuts {
    /// The characters before which it is done.
    starts: &'static [char],
}

impl Cuts {
    /// Those for a tokenizer.json; none where they might change ids.
    pub fn of(json: &Value) -> Option<Self> {
        let steps = sequence(&json["pre_tokenizer"], "pretokenizers");
        // Those in front of it split a word further, wherever they stand.
        let first =
            steps.iter().find(|step| !matches!(step["type"].as_str(), Some("Digits" | "Punctuation")))?;
        let ends_words = match first["type"].as_str()? {
            "ByteLevel" => first["use_regex"] != false,
            "BertPreTokenizer" => true,
            "Split" => {
                let is_known = PATTERNS.iter().any(|pattern| first["pattern"]["Regex"] == *pattern);
                is_known && matches!(first["behavior"].as_str(), Some("Isolated" | "Removed"))
            }
            _ => false,
        };
        let joins_nothing = |step: &&Value| match step["type"].as_str() {
            Some("NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "StripAccents" | "BertNormalizer") => true,
            _ => step.is_null(),
        };
        let keeps_words = sequence(&json["normalizer"], "normalizers").iter().all(joins_nothing);
        let spans = json["added_tokens"].as_array().into_iter().flatten().any(spans_a_cut);
        // A space is put in front of any other character that begins a piece.
        let is_prefixed = steps.iter().any(|step| step["add_prefix_space"] == true);
        let starts: &[char] = if is_prefixed { &[' '] } else { &[' ', '\n', '，', '。'] };
        (ends_words && keeps_words && !spans).then_some(Self { starts })
    }

    /// Bytes of `text` up to the first cut beyond [`PIECE_LEN`]; all of them where there is none.
    pub fn piece_len(&self, text: &str) -> usize {
        let Some(from) = (PIECE_LEN..text.len()).find(|&i| text.is_char_boundary(i)) else {
            return text.len();
        };
        let ends_word = |c: char| c.is_ascii_alphanumeric() || ('\u{4e00}'..='\u{9fa5}').contains(&c);
        let mut last = ' ';
        for (i, c) in text[from..].char_indices() {
            if ends_word(last) && self.starts.contains(&c) {
                return from + i;
            }
            last = c;
        }
        text.len()
    }
}

/// The steps of a sequence; what is none is one step.
fn sequence<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value[key].as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

/// Whether an added token may reach over a cut: by its spelling, or by the space that it takes with it.
fn spans_a_cut(token: &Value) -> bool {
    let text = token["content"].as_str().unwrap_or_default();
    let mut inner = text.chars().skip(1);
    inner.any(|c| c.is_whitespace() || matches!(c, '，' | '。'))
        || token["rstrip"] == true && text.ends_with(char::is_alphanumeric)
}
