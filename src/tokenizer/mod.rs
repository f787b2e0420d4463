//! Text to token ids and back: byte-level BPE and WordPiece.
//!
//! Opened from a model folder by the engine, used on its own by `halfwarp tokenize`. Encoding is the `tokenizers` crate's;
//! decoding is ours, over a table of every token's bytes, so that a stream of tokens becomes text in constant time each
//! ([`Detokenizer`]). Text that looks like a special token stays text: `<|endoftext|>` in a prompt is promoted to the
//! special id only by [`Tokenizer::encode_with_special`]. Special tokens leave no text when decoded.
//! Tested in `tests/tokenizers/`, `tests/malformed_tokenizers.rs` and `tests/detokenizer.rs`.

mod cuts;
mod detokenizer;
mod error;
mod files;
mod json;
mod limits;
mod names;
mod pipeline;
mod special;
mod vocabulary;

pub use detokenizer::Detokenizer;
pub use error::TokenizerError;
pub use names::special_tokens;

#[cfg(feature = "chat")]
pub(crate) use files::read_object_if_there;
pub(crate) use pipeline::Watch;

use cuts::Cuts;
use pipeline::{Pipeline, survive};
use serde_json::Value;
use std::{borrow::Cow, ops::Range, path::Path};
use vocabulary::{Spacing, Vocabulary};

/// A vocabulary and its rules.
#[derive(Debug)]
pub struct Tokenizer {
    pipeline: Pipeline,
    vocabulary: Vocabulary,
    /// What goes before a text, by the tokenizer's own settings.
    prefix: Vec<u32>,
    longest: Option<usize>,
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder: tokenizer.json, else vocab.json and merges.txt, else vocab.txt. `None`
    /// where the folder has none of them.
    pub fn find(folder: &Path) -> Result<Option<Self>, TokenizerError> {
        let has = |name: &str| crate::format::exists(&folder.join(name));
        let mut tokenizer = if has("tokenizer.json")? {
            Self::from_json(&files::read(folder, "tokenizer.json")?)?
        } else if has("vocab.json")? && has("merges.txt")? {
            let json = files::byte_level_bpe(folder)?;
            Self::new(&json, json.to_string().as_bytes(), &[], "vocab.json")?
        } else if has("vocab.txt")? {
            let (json, duplicates) = files::word_piece(folder)?;
            Self::new(&json, json.to_string().as_bytes(), &duplicates, "vocab.txt")?
        } else {
            return Ok(None);
        };
        tokenizer.obey(folder)?;
        Ok(Some(tokenizer))
    }

    /// Puts the first token before texts, or does not, as tokenizer_config.json says.
    fn obey(&mut self, folder: &Path) -> Result<(), TokenizerError> {
        let Some(adds_bos) = names::adds_bos(folder)? else { return Ok(()) };
        let names = special_tokens(folder)?;
        let bos = names.get("bos_token").and_then(Value::as_str).and_then(|bos| self.id_of(bos));
        self.prefix.retain(|id| Some(*id) != bos);
        if adds_bos {
            self.prefix.splice(0..0, bos);
        }
        Ok(())
    }

    /// [`find`](Self::find), where a folder without a tokenizer is an error.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        Self::find(folder)?.ok_or_else(|| TokenizerError::Missing { folder: folder.into() })
    }

    /// Parses a tokenizer.json.
    pub fn from_json(text: &[u8]) -> Result<Self, TokenizerError> {
        let file = "tokenizer.json";
        let json = serde_json::from_slice(text).map_err(|e| TokenizerError::malformed(file, "", e))?;
        Self::new(&json, text, &[], file)
    }

    /// The tokenizer of the bundled model.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Self {
        Self::from_json(include_bytes!("../../models/tales/tokenizer.json"))
            .expect("the bundled tokenizer is valid")
    }

    /// A tokenizer from `json`, a tokenizer.json whose text is `text`, and further ids of its tokens. Errors name `file`.
    fn new(
        json: &Value,
        text: &[u8],
        duplicates: &[(u32, String)],
        file: &'static str,
    ) -> Result<Self, TokenizerError> {
        let malformed = |(section, what): (String, String)| TokenizerError::malformed(file, section, what);
        let pieces = json::check(json, duplicates).map_err(malformed)?;
        limits::check(json).map_err(malformed)?;
        let spacing = Spacing::of(json).map_err(|what| TokenizerError::malformed(file, "decoder", what))?;
        let mut inner = survive(|| tokenizers::Tokenizer::from_bytes(text)).map_err(|e| match e {
            TokenizerError::Encode(what) => TokenizerError::malformed(file, "", what),
            e => e,
        })?;
        // A prompt is never cut short or padded behind its author's back.
        let _ = inner.with_truncation(None);
        inner.with_padding(None).set_encode_special_tokens(true);
        for piece in pieces.added() {
            if inner.token_to_id(piece.text) != Some(piece.id) {
                let what =
                    format!("the id of {:?} is {}, which no added token can get", piece.text, piece.id);
                return Err(TokenizerError::malformed(file, "added_tokens", what));
            }
        }
        let vocabulary = Vocabulary::new(&pieces, spacing)
            .map_err(|what| TokenizerError::malformed(file, "added_tokens", what))?;
        let prefix = names::prefix(&json["post_processor"])
            .map_err(|what| TokenizerError::malformed(file, "post_processor", what))?;
        if let Some(&id) = prefix.iter().find(|&&id| id as usize >= vocabulary.n_vocab()) {
            return Err(TokenizerError::OutOfRange { id, n_vocab: vocabulary.n_vocab() });
        }
        let longest = vocabulary.longest().filter(|_| json::keeps_bytes(json));
        let pipeline = Pipeline::new(inner, Cuts::of(json))
            .map_err(|what| TokenizerError::malformed(file, "pre_tokenizer", what))?;
        Ok(Self { pipeline, vocabulary, prefix, longest })
    }

    /// Number of token ids.
    pub fn n_vocab(&self) -> usize {
        self.vocabulary.n_vocab()
    }

    /// Most bytes of text that one token stands for; none where a token may stand for any number of them.
    pub fn longest(&self) -> Option<usize> {
        self.longest
    }

    /// The ids of a prompt: those of its text, and before them the tokens that the tokenizer's own settings put there, unless the
    /// text begins with them.
    pub fn prompt(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if !ids.starts_with(&self.prefix) {
            ids.splice(0..0, self.prefix.iter().copied());
        }
        ids
    }

    /// The token ids of `text`. What looks like a special token is text like any other.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_watched(text, &Watch::PATIENT)
    }

    /// [`encode`](Self::encode), while it is wanted and not too much.
    pub(crate) fn encode_watched(&self, text: &str, watch: &Watch) -> Result<Vec<u32>, TokenizerError> {
        self.pipeline.encode(text, watch)
    }

    /// The bytes of `text` up to the end of what each of its tokens stands for.
    #[cfg(feature = "server")]
    pub(crate) fn ends(&self, text: &str, watch: &Watch) -> Result<Vec<usize>, TokenizerError> {
        self.pipeline.ends(text, watch)
    }

    /// Whether tokens spell a text byte by byte, and not as words in a spelling of their own.
    #[cfg(feature = "server")]
    pub(crate) fn is_byte_level(&self) -> bool {
        self.vocabulary.is_byte_level()
    }

    /// The token ids of `text`, where every special token that is spelled out in it becomes its id: for text of which
    /// every word is trusted.
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_parts(text, str::to_string, &Watch::PATIENT)
    }

    /// [`encode_with_special`](Self::encode_with_special), where what stands between special tokens is what `restore` makes of it,
    /// and plain text.
    pub(crate) fn encode_parts(
        &self,
        text: &str,
        restore: impl Fn(&str) -> String,
        watch: &Watch,
    ) -> Result<Vec<u32>, TokenizerError> {
        let (mut ids, mut end) = (Vec::new(), 0);
        for (place, id) in self.special_in(text) {
            ids.extend(self.encode_watched(&restore(&text[end..place.start]), watch)?);
            ids.push(id);
            end = place.end;
        }
        ids.extend(self.encode_watched(&restore(&text[end..]), watch)?);
        Ok(ids)
    }

    /// The special tokens that `text` spells out, from left to right: of several that begin at one place the longest.
    pub(crate) fn special_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (Range<usize>, u32)> + 'a {
        self.vocabulary.special().find_in(text)
    }

    /// The ids of `word` as it stands at the start of a text and after a space: what has to be banned to ban the word.
    /// vLLM bans the spelling with a space only where it has as many tokens as the one without; here it always counts.
    pub fn spellings(&self, word: &str) -> Result<Vec<Vec<u32>>, TokenizerError> {
        let mut spellings = vec![self.encode(word)?, self.encode(&format!(" {word}"))?];
        // A space that is a token of its own adds nothing to the spelling without it.
        if spellings[1].ends_with(&spellings[0]) {
            spellings.truncate(1);
        }
        spellings.retain(|ids| !ids.is_empty());
        Ok(spellings)
    }

    /// The text of `ids`, special tokens left out. Bytes that are not UTF-8 become U+FFFD, as
    /// [`String::from_utf8_lossy`] puts it.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut bytes = Vec::new();
        let mut last = None;
        for &id in ids {
            self.vocabulary.append(id, &mut last, &mut bytes)?;
        }
        Ok(match String::from_utf8_lossy(&bytes) {
            Cow::Owned(text) => text,
            Cow::Borrowed(text) => text.to_owned(),
        })
    }

    /// The token as the vocabulary spells it: `Ġthe` or `##ing`.
    pub fn piece(&self, id: u32) -> Result<&str, TokenizerError> {
        self.vocabulary.piece(id)
    }

    /// The tokens as the vocabulary spells them.
    pub fn pieces(&self, ids: &[u32]) -> Result<Vec<&str>, TokenizerError> {
        ids.iter().map(|&id| self.piece(id)).collect()
    }

    /// The bytes that the token stands for; those of a special token are its name.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8], TokenizerError> {
        self.vocabulary.bytes(id)
    }

    /// The id of a token as the vocabulary spells it, a special one like `<|endoftext|>` among them.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        self.pipeline.id_of(piece)
    }

    /// Whether the token is special: it has a meaning and no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.is_special(id)
    }
}
