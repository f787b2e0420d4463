//! The token at hand, and the small steps that every part of the parser takes.

use super::error::{Error, Result};
use super::lexer::{Lexer, Token};
use super::literal::Literal;

/// A token of look-ahead over a text.
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    line: u32,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Result<Cursor<'a>> {
        let mut lexer = Lexer::new(text);
        let (token, line) = lexer.next()?;
        Ok(Cursor { lexer, token, line })
    }

    /// The token that comes next.
    pub fn peek(&self) -> Token<'a> {
        self.token
    }

    /// The line of the token that comes next.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Takes the next token.
    pub fn next(&mut self) -> Result<Token<'a>> {
        let token = self.token;
        (self.token, self.line) = self.lexer.next()?;
        Ok(token)
    }

    /// Takes the next token if it is this mark.
    pub fn accept(&mut self, mark: char) -> Result<bool> {
        let found = self.token == Token::Mark(mark);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    /// Takes the next token if it is this word after a dot.
    pub fn accept_dotted(&mut self, word: &str) -> Result<bool> {
        let found = self.token == Token::Dotted(word);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub fn expect(&mut self, mark: char) -> Result<()> {
        match self.accept(mark)? {
            true => Ok(()),
            false => Err(self.unexpected(&mark.to_string())),
        }
    }

    /// Takes this very name.
    pub fn expect_name(&mut self, name: &str) -> Result<()> {
        match self.token == Token::Name(name) {
            true => self.next().map(drop),
            false => Err(self.unexpected(name)),
        }
    }

    /// Takes a name; `what` says in the error what should have been named.
    pub fn name(&mut self, what: &str) -> Result<&'a str> {
        let Token::Name(name) = self.token else {
            return Err(self.unexpected(what));
        };
        self.next()?;
        Ok(name)
    }

    pub fn quoted(&mut self, what: &str) -> Result<&'a str> {
        let Token::Quoted(text) = self.token else {
            return Err(self.unexpected(what));
        };
        self.next()?;
        Ok(text)
    }

    /// Takes a number of any kind, without a sign.
    pub fn literal(&mut self) -> Result<Literal> {
        let Token::Number(text) = self.token else {
            return Err(self.unexpected("a number"));
        };
        let value =
            Literal::parse(text).ok_or_else(|| self.error(format!("{text} is not a number of 64 bits")))?;
        self.next()?;
        Ok(value)
    }

    /// Takes an integer without a sign that fits in 32 bits.
    pub fn count(&mut self) -> Result<u32> {
        let line = self.line;
        let value = self.integer()?;
        u32::try_from(value)
            .map_err(|_| self.error_at(line, format!("{value} is not between 0 and {}", u32::MAX)))
    }

    /// Takes an integer with any signs before it, and those added to and subtracted from it.
    pub fn integer(&mut self) -> Result<i128> {
        let first = self.signed()?;
        // Each is below 2^64 in size, so as many as a text holds do not reach 2^127.
        Ok(first + self.sum()?)
    }

    /// Takes what is added to an address: `+4`, `+-4`, `+4-8`; 0 if nothing is.
    pub fn offset(&mut self) -> Result<i64> {
        let line = self.line;
        let sum = if self.token == Token::Mark('+') { self.sum()? } else { 0 };
        i64::try_from(sum).map_err(|_| self.error_at(line, format!("the offset {sum} has more than 64 bits")))
    }

    fn sum(&mut self) -> Result<i128> {
        let mut sum = 0;
        loop {
            if self.accept('+')? {
                sum += self.signed()?;
            } else if self.accept('-')? {
                sum -= self.signed()?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn signed(&mut self) -> Result<i128> {
        let negative = self.signs()?;
        let line = self.line;
        match self.literal()? {
            Literal::Integer(value) if negative => Ok(-i128::from(value)),
            Literal::Integer(value) => Ok(i128::from(value)),
            _ => Err(self.error_at(line, "expected an integer, found a floating-point number")),
        }
    }

    /// Takes signs; whether they negate.
    pub fn signs(&mut self) -> Result<bool> {
        let mut negative = false;
        loop {
            if self.accept('-')? {
                negative = !negative;
            } else if !self.accept('+')? {
                return Ok(negative);
            }
        }
    }

    /// An error on the line of the next token.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.error_at(self.line, message)
    }

    pub fn error_at(&self, line: u32, message: impl Into<String>) -> Error {
        Error::at(self.lexer.text(), line, message)
    }

    /// The error that the next token is not `expected`.
    pub fn unexpected(&self, expected: &str) -> Error {
        self.error(format!("expected {expected}, found {}", self.token))
    }
}
