//! What every token stands for, and when a space goes before it.
//!
//! Byte-level BPE spells bytes as printable characters; WordPiece marks the pieces that continue a word. Both become one
//! table of bytes here, made at load and read by [`Tokenizer::decode`](super::Tokenizer::decode) and the detokenizer.

use super::{TokenizerError, json::Pieces, special::SpecialTokens};
use serde_json::Value;

/// Every token's spelling, bytes and role, by id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    tokens: Vec<Token>,
    /// All spellings, one after the other.
    spellings: String,
    /// All bytes, one after the other.
    bytes: Vec<u8>,
    special: SpecialTokens,
    spacing: Spacing,
}

/// Where a token's spelling and bytes end, and what it is.
#[derive(Clone, Copy, Debug)]
struct Token {
    spelling_end: usize,
    bytes_end: usize,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Special,
    /// Continues the word before it.
    Continuing,
    Plain,
}

/// How tokens are joined.
#[derive(Clone, Debug)]
pub(super) enum Spacing {
    /// Bytes follow bytes.
    ByteLevel,
    /// Words are set apart by spaces, except where a reader expects none.
    Words {
        /// What marks a token that continues a word.
        prefix: Option<String>,
        /// Whether `.`, `'s` and the like follow a word without a space.
        tidy: bool,
    },
}

impl Spacing {
    /// The decoder of a tokenizer.json, which decides how tokens are joined.
    pub fn of(json: &Value) -> Result<Self, String> {
        let decoder = &json["decoder"];
        match decoder["type"].as_str() {
            Some("ByteLevel") => Ok(Self::ByteLevel),
            Some("WordPiece") => Ok(Self::Words {
                prefix: Some(decoder["prefix"].as_str().unwrap_or("##").to_string()),
                tidy: decoder["cleanup"].as_bool().unwrap_or(true),
            }),
            None if decoder.is_null() => Ok(Self::Words { prefix: None, tidy: false }),
            found => {
                Err(format!("type is {:?}, expected ByteLevel or WordPiece", found.unwrap_or("missing")))
            }
        }
    }
}

impl Vocabulary {
    /// The tokens `pieces`, joined as `spacing` says. Fails where there are more special tokens than can be searched for.
    pub fn new(pieces: &Pieces, spacing: Spacing) -> Result<Self, String> {
        let (mut tokens, mut spellings, mut bytes) = (Vec::new(), String::new(), Vec::new());
        for piece in pieces.iter() {
            let mut role = Role::Plain;
            match &spacing {
                Spacing::ByteLevel => append_bytes(piece.text, &mut bytes),
                Spacing::Words { prefix, .. } => {
                    let rest = prefix.as_ref().and_then(|p| piece.text.strip_prefix(p.as_str()));
                    role = if rest.is_some() { Role::Continuing } else { Role::Plain };
                    bytes.extend_from_slice(rest.unwrap_or(piece.text).as_bytes());
                }
            }
            if piece.special {
                role = Role::Special;
            }
            spellings.push_str(piece.text);
            tokens.push(Token { spelling_end: spellings.len(), bytes_end: bytes.len(), role });
        }
        let special = SpecialTokens::new(pieces.iter().filter(|p| p.special).map(|p| (p.id, p.text)))?;
        Ok(Self { tokens, spellings, bytes, special, spacing })
    }

    pub fn n_vocab(&self) -> usize {
        self.tokens.len()
    }

    /// The token and the one before it, whose ends are its starts.
    fn token(&self, id: u32) -> Result<(Token, Token), TokenizerError> {
        let i = id as usize;
        let token = *self.tokens.get(i).ok_or(TokenizerError::OutOfRange { id, n_vocab: self.n_vocab() })?;
        let before = match i {
            0 => Token { spelling_end: 0, bytes_end: 0, role: Role::Plain },
            _ => self.tokens[i - 1],
        };
        Ok((before, token))
    }

    pub fn piece(&self, id: u32) -> Result<&str, TokenizerError> {
        let (before, token) = self.token(id)?;
        Ok(&self.spellings[before.spelling_end..token.spelling_end])
    }

    pub fn bytes(&self, id: u32) -> Result<&[u8], TokenizerError> {
        let (before, token) = self.token(id)?;
        Ok(&self.bytes[before.bytes_end..token.bytes_end])
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|t| t.role == Role::Special)
    }

    /// Most bytes of one token, where every byte is a token of its own too.
    pub fn longest(&self) -> Option<usize> {
        let lengths = (0..self.n_vocab() as u32).filter_map(|id| Some(self.bytes(id).ok()?.len()));
        let n_bytes = lengths.clone().filter(|&len| len == 1).count();
        lengths.max().filter(|_| self.is_byte_level() && n_bytes >= 256)
    }

    pub fn is_byte_level(&self) -> bool {
        matches!(self.spacing, Spacing::ByteLevel)
    }

    /// The special tokens that are spelled out.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Appends the text of one token to `text`, with the space that goes before it. `last` is the character before it:
    /// `None` at the start of a text.
    pub fn append(&self, id: u32, last: &mut Option<char>, text: &mut Vec<u8>) -> Result<(), TokenizerError> {
        let (_, token) = self.token(id)?;
        let bytes = self.bytes(id)?;
        if token.role == Role::Special {
            return Ok(());
        }
        if let Spacing::Words { tidy, .. } = self.spacing {
            let word = str::from_utf8(bytes).unwrap_or_default();
            if token.role == Role::Plain && last.is_some_and(|c| needs_space(c, word, tidy)) {
                text.push(b' ');
            }
            *last = word.chars().next_back().or(*last);
        }
        text.extend_from_slice(bytes);
        Ok(())
    }
}

/// Whether a reader expects a space between a text that ends with `last` and `word`. Between Latin words, as the
/// WordPiece decoder of Hugging Face has it; never beside a Chinese or Japanese character.
fn needs_space(last: char, word: &str, tidy: bool) -> bool {
    const CLOSING: [&str; 9] = [".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"];
    let Some(first) = word.chars().next() else { return false };
    !(is_wide(last) || is_wide(first) || tidy && CLOSING.iter().any(|c| word.starts_with(c)))
}

/// Whether a script without spaces uses the character: ideographs, kana, bopomofo, and their punctuation.
fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{2fdf}' | '\u{3000}'..='\u{312f}' | '\u{3190}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{323af}')
}

/// Appends the bytes that a byte-level token spells. One with a character outside the alphabet, as added tokens may
/// have, stands for itself.
fn append_bytes(piece: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in piece.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(piece.as_bytes());
                return;
            }
        }
    }
}

/// The byte that GPT-2's alphabet spells as `c`. Printable Latin-1 characters spell themselves; the other 68 bytes, in
/// ascending order, are spelled by the characters from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    let is_printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8).filter(|&b| is_printable(b)),
        code @ 0x100.. => (0..=0xff).filter(|&b| !is_printable(b)).nth(code as usize - 0x100),
    }
}
