//! Token ids to text as they arrive, in constant time and memory a token.

use super::{Tokenizer, TokenizerError};

/// Token ids to text as they arrive. What all calls return, one after the other, is what
/// [`Tokenizer::decode`] makes of all the ids.
///
/// A character whose bytes are split over tokens is held back until it is whole; bytes that can no longer become a
/// character are handed out at once, as U+FFFD.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    /// The beginning of a character: at most three bytes between calls.
    held: Vec<u8>,
    /// The last character, where spaces depend on it.
    last: Option<char>,
}

impl Detokenizer {
    /// A detokenizer at the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// A detokenizer in the middle of a text, after `ids`: the next token gets the space that it has there.
    pub fn after(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Self, TokenizerError> {
        let mut detokenizer = Self::default();
        for &id in ids {
            detokenizer.push(tokenizer, id)?;
        }
        detokenizer.held.clear();
        Ok(detokenizer)
    }

    /// Adds one token and returns the text that is now certain, often one word, sometimes none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TokenizerError> {
        tokenizer.vocabulary.append(id, &mut self.last, &mut self.held)?;
        Ok(self.take_certain())
    }

    /// Whether a character has begun that is not whole yet.
    #[cfg(feature = "server")]
    pub(crate) fn is_within_character(&self) -> bool {
        !self.held.is_empty()
    }

    /// Ends the text: what was held back, as U+FFFD where it is not a whole character.
    pub fn finish(&mut self, _tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
        self.last = None;
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        Ok(text)
    }

    /// Takes the held bytes, up to a character that is not complete yet.
    fn take_certain(&mut self) -> String {
        let mut text = String::with_capacity(self.held.len());
        let mut n_taken = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            n_taken += chunk.valid().len();
            let bad = chunk.invalid();
            let is_last = n_taken + bad.len() == self.held.len();
            if bad.is_empty() || is_last && may_become_character(bad) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            n_taken += bad.len();
        }
        self.held.drain(..n_taken);
        text
    }
}

/// Whether `bytes` is the beginning of a character.
fn may_become_character(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}
