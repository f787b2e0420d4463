//! PTX text to tokens, one at a time.
//!
//! Names hold their `%` and `$`; whatever follows a dot is one token with its `::` parts, so that an instruction is a name
//! and its modifiers, and `.reg .b32` reads the same as `.reg.b32`.

use super::error::{Error, Result};

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `ld`, `%r1`, `$L__BB0_1`, `_`.
    Name(&'a str),
    /// `.shared::cta`, without its dot.
    Dotted(&'a str),
    /// Starts with a digit; what it means is for `literal` to say.
    Number(&'a str),
    /// What stands between quotes, escapes left as they are.
    Quoted(&'a str),
    /// Punctuation.
    Mark(char),
    /// The end of the text.
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Name(text) | Token::Number(text) => write!(f, "{text}"),
            Token::Dotted(text) => write!(f, ".{text}"),
            Token::Quoted(text) => write!(f, "\"{text}\""),
            Token::Mark(mark) => write!(f, "{mark}"),
            Token::End => write!(f, "the end of the text"),
        }
    }
}

/// Where the reading of a text stands.
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, position: 0, line: 1 }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The next token and its line.
    pub fn next(&mut self) -> Result<(Token<'a>, u32)> {
        self.skip_blanks()?;
        let line = self.line;
        let Some(first) = self.byte(0) else {
            return Ok((Token::End, line));
        };
        let token = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | b'%' => Token::Name(self.name()?),
            b'0'..=b'9' => Token::Number(self.number()),
            b'.' => Token::Dotted(self.dotted()?),
            b'"' => Token::Quoted(self.quoted()?),
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b',' | b';' | b':' | b'=' | b'@'
            | b'!' | b'|' | b'+' | b'-' | b'~' => {
                self.position += 1;
                Token::Mark(char::from(first))
            }
            _ => return Err(self.unexpected()),
        };
        Ok((token, line))
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.position + ahead).copied()
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::at(self.text, self.line, message)
    }

    fn unexpected(&self) -> Error {
        let found = self.text.get(self.position..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        self.error(format!("unexpected character {found:?}"))
    }

    /// Moves past the bytes for which `take` holds and gives the text from `start` on.
    fn take_while(&mut self, start: usize, take: impl Fn(u8) -> bool) -> &'a str {
        while self.byte(0).is_some_and(&take) {
            self.position += 1;
        }
        // Only ASCII is ever taken, so both ends are boundaries of characters.
        self.text.get(start..self.position).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<()> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.line += 1;
                    self.position += 1;
                }
                (Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c), _) => self.position += 1,
                (Some(b'/'), Some(b'/')) => {
                    while self.byte(0).is_some_and(|b| b != b'\n') {
                        self.position += 1;
                    }
                }
                (Some(b'/'), Some(b'*')) => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<()> {
        let first = self.line;
        self.position += 2;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'*'), Some(b'/')) => {
                    self.position += 2;
                    return Ok(());
                }
                (None, _) => return Err(Error::at(self.text, first, "this comment is not closed")),
                (Some(byte), _) => {
                    self.line += u32::from(byte == b'\n');
                    self.position += 1;
                }
            }
        }
    }

    fn name(&mut self) -> Result<&'a str> {
        let start = self.position;
        self.position += 1;
        let name = self.take_while(start, is_name);
        if matches!(name, "%" | "$") {
            return Err(self.error(format!("{name} alone is not a name")));
        }
        Ok(name)
    }

    fn dotted(&mut self) -> Result<&'a str> {
        let start = self.position + 1;
        self.position = start;
        self.take_while(start, is_name);
        while self.byte(0) == Some(b':') && self.byte(1) == Some(b':') {
            self.position += 2;
            self.take_while(start, is_name);
        }
        let text = self.take_while(start, |_| false);
        if text.is_empty() || text.ends_with(':') || text.starts_with(':') {
            return Err(self.error(format!("expected a name after the dot, found .{text}")));
        }
        Ok(text)
    }

    fn number(&mut self) -> &'a str {
        let start = self.position;
        let digits = self.take_while(start, |b| b.is_ascii_digit());
        let prefixed = digits == "0"
            && matches!(self.byte(0), Some(b'x' | b'X' | b'b' | b'B' | b'f' | b'F' | b'd' | b'D'));
        if !prefixed {
            if self.byte(0) == Some(b'.') {
                self.position += 1;
                self.take_while(start, |b| b.is_ascii_digit());
            }
            if matches!(self.byte(0), Some(b'e' | b'E')) && matches!(self.byte(1), Some(b'+' | b'-')) {
                self.position += 2;
            }
        }
        self.take_while(start, is_name)
    }

    fn quoted(&mut self) -> Result<&'a str> {
        self.position += 1;
        let start = self.position;
        loop {
            match self.byte(0) {
                None | Some(b'\n') => return Err(self.error("this string is not closed")),
                Some(b'"') => break,
                Some(b'\\') if self.byte(1).is_some_and(|b| b != b'\n') => self.position += 2,
                Some(_) => self.position += 1,
            }
        }
        // A backslash may stand before a character of several bytes, but its tail holds no quote: `position` is at one.
        let text = self.text.get(start..self.position).unwrap_or_default();
        self.position += 1;
        Ok(text)
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}
