//! Text to token ids and back, through the `tokenizers` crate.
//!
//! Opened by the engine from the model's folder; used on its own by `halfwarp tokenize`. Text that looks like a special
//! token stays text: `<|endoftext|>` in a prompt is not promoted to the special id. Tested in `tests/tokenizers.rs`.

use std::path::Path;

/// A vocabulary and its rules.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer.json");
        let text = std::fs::read(&path).map_err(|source| TokenizerError::Io { path, source })?;
        Self::from_json(&text)
    }

    /// Parses a tokenizer.json.
    pub fn from_json(text: &[u8]) -> Result<Self, TokenizerError> {
        let mut inner =
            tokenizers::Tokenizer::from_bytes(text).map_err(|e| TokenizerError::Malformed(e.to_string()))?;
        inner.set_encode_special_tokens(true);
        Ok(Self { inner })
    }

    /// The tokenizer of the bundled model.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Self {
        Self::from_json(include_bytes!("../models/tales/tokenizer.json"))
            .expect("the bundled tokenizer is valid")
    }

    /// Number of token ids.
    pub fn n_vocab(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token ids of `text`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding =
            self.inner.encode_fast(text, false).map_err(|e| TokenizerError::Encode(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of `word` as it stands at the start of a text and after a space: what has to be banned to ban the word.
    pub fn spellings(&self, word: &str) -> Result<Vec<Vec<u32>>, TokenizerError> {
        Ok(vec![self.encode(word)?, self.encode(&format!(" {word}"))?])
    }

    /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, false).map_err(|e| TokenizerError::Decode(e.to_string()))
    }
}

/// Token ids to text as they arrive. A character whose bytes are split over tokens is held back until it is whole.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    ids: Vec<u32>,
    n_emitted: usize,
}

impl Detokenizer {
    /// A detokenizer at the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one token and returns the text that is now certain, often one word, sometimes none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TokenizerError> {
        self.ids.push(id);
        let text = tokenizer.decode(&self.ids)?;
        if text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        let new = text[self.n_emitted..].to_string();
        self.n_emitted = text.len();
        Ok(new)
    }

    /// Ends the text: what was held back, as U+FFFD where it is not a whole character.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
        let text = tokenizer.decode(&self.ids)?;
        let new = text[self.n_emitted..].to_string();
        self.n_emitted = text.len();
        Ok(new)
    }
}

/// Why a tokenizer was refused, or a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The operating system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// tokenizer.json does not describe a tokenizer.
    #[error("tokenizer.json: {0}")]
    Malformed(String),
    /// The text cannot be encoded.
    #[error("cannot encode the text: {0}")]
    Encode(String),
    /// The ids cannot be decoded.
    #[error("cannot decode the ids: {0}")]
    Decode(String),
}
