//! Reads `kernels/layout.h`: the constants that the kernels and Rust share, by C's rules for integers of 32 bits.
//!
//! `build.rs` calls [`read`]. Whatever is not one of the lines that the header names is refused: a constant that is missing here, or
//! that C++ computes otherwise, would be a kernel that reads the wrong bytes. Tested in `tests/cuda/constants.rs`.

use std::{collections::BTreeMap, fmt, iter::Peekable, str::Chars};

/// Values by name.
pub type Constants = BTreeMap<String, u32>;

/// A line that is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub text: String,
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    NotAConstant,
    DefinedTwice(String),
    UnknownName(String),
    NotALiteral(String),
    Unexpected {
        found: Option<char>,
        expected: &'static str,
    },
    DividesByZero,
    /// C++ would wrap, convert to a negative number, or not compile.
    Overflows {
        operation: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { file, line, text, reason } = self;
        write!(f, "{file}:{line}: `{text}`: {reason}")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NotAConstant => write!(f, "expected a comment or `constexpr uint32_t NAME = VALUE;`"),
            Self::DefinedTwice(name) => write!(f, "{name} is defined above"),
            Self::UnknownName(name) => write!(f, "{name} is not defined above"),
            Self::NotALiteral(word) => {
                write!(f, "`{word}` is not a decimal or hexadecimal literal of 32 bits")
            }
            Self::Unexpected { found: Some(found), expected } => {
                write!(f, "found `{found}`, expected {expected}")
            }
            Self::Unexpected { found: None, expected } => write!(f, "found the end, expected {expected}"),
            Self::DividesByZero => write!(f, "divides by zero"),
            Self::Overflows { operation } => write!(f, "{operation} does not fit its type"),
        }
    }
}

impl std::error::Error for Refused {}

/// The constants that `text`, the contents of `file`, defines.
pub fn read(file: &str, text: &str) -> Result<Constants, Refused> {
    let mut constants = Constants::new();
    for (i, line) in text.lines().enumerate() {
        read_line(line, &mut constants).map_err(|reason| Refused {
            file: file.to_owned(),
            line: i + 1,
            text: line.to_owned(),
            reason,
        })?;
    }
    Ok(constants)
}

fn read_line(line: &str, constants: &mut Constants) -> Result<(), Reason> {
    // C++ would join the next line to this one.
    if line.trim_end().ends_with('\\') {
        return Err(Reason::NotAConstant);
    }
    let code = line.split("//").next().unwrap_or_default().trim();
    if ["", "#pragma once", "#include <cstdint>"].contains(&code) {
        return Ok(());
    }
    let definition = code.strip_prefix("constexpr uint32_t ").and_then(|rest| rest.strip_suffix(';'));
    let (name, value) = definition.and_then(|d| d.split_once('=')).ok_or(Reason::NotAConstant)?;
    let name = name.trim();
    if name.is_empty() || !name.chars().all(in_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Reason::NotAConstant);
    }
    if constants.contains_key(name) {
        return Err(Reason::DefinedTwice(name.to_owned()));
    }
    let value = Expression { rest: value.chars().peekable(), constants }.whole()?;
    constants.insert(name.to_owned(), value);
    Ok(())
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A number of type `int`, or of `uint32_t`.
#[derive(Clone, Copy)]
struct Number {
    value: u32,
    is_unsigned: bool,
}

/// What is left of an expression.
struct Expression<'a> {
    rest: Peekable<Chars<'a>>,
    constants: &'a Constants,
}

/// Operators, from those that bind least.
const LEVELS: [&[&str]; 3] = [&["<<", ">>"], &["+", "-"], &["*", "/", "%"]];

impl Expression<'_> {
    fn whole(mut self) -> Result<u32, Reason> {
        let number = self.level(0)?;
        match self.peek() {
            None => Ok(number.value),
            found => Err(Reason::Unexpected { found, expected: "an operator or `;`" }),
        }
    }

    /// Operands of the next level, joined by operators of this one from left to right.
    fn level(&mut self, level: usize) -> Result<Number, Reason> {
        let Some(operators) = LEVELS.get(level) else { return self.operand() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            left = apply(left, operator, self.level(level + 1)?)?;
        }
        Ok(left)
    }

    /// The operator that comes next, if it is one of these.
    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        self.peek()?;
        let mut ahead = self.rest.clone();
        let [first, second] = [ahead.next(), ahead.next()];
        let comes_next = |operator: &&&str| {
            let mut chars = operator.chars();
            chars.next() == first && chars.next().is_none_or(|c| Some(c) == second)
        };
        let operator = operators.iter().find(comes_next)?;
        self.rest.nth(operator.len() - 1);
        Some(operator)
    }

    fn operand(&mut self) -> Result<Number, Reason> {
        match self.peek() {
            Some('(') => {
                self.rest.next();
                let number = self.level(0)?;
                match self.peek() {
                    Some(')') => self.rest.next(),
                    found => return Err(Reason::Unexpected { found, expected: "an operator or `)`" }),
                };
                Ok(number)
            }
            Some(c) if in_word(c) => {
                let mut word = String::new();
                while let Some(c) = self.rest.next_if(|&c| in_word(c)) {
                    word.push(c);
                }
                if c.is_ascii_digit() {
                    return literal(&word).ok_or(Reason::NotALiteral(word));
                }
                let value = self.constants.get(&word).copied();
                let value = value.ok_or(Reason::UnknownName(word))?;
                Ok(Number { value, is_unsigned: true })
            }
            found => Err(Reason::Unexpected { found, expected: "a number, a name or `(`" }),
        }
    }

    /// What follows after spaces.
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        self.rest.peek().copied()
    }
}

/// A literal of `int` or, by its suffix or as a hexadecimal one that needs 32 bits, of `uint32_t`. Octal ones are refused.
fn literal(word: &str) -> Option<Number> {
    let digits = word.strip_suffix(['u', 'U']).unwrap_or(word);
    let hexadecimal = digits.strip_prefix("0x");
    let value = match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => return None,
        None => digits.parse().ok()?,
    };
    let fits_int = i32::try_from(value).is_ok();
    let is_unsigned = digits != word || !fits_int && hexadecimal.is_some();
    (fits_int || is_unsigned).then_some(Number { value, is_unsigned })
}

/// `left operator right`, of the type that C gives it: `uint32_t` if one of both is; of shifts, that of the left.
fn apply(left: Number, operator: &str, right: Number) -> Result<Number, Reason> {
    let (a, b) = (left.value, right.value);
    let shifts = matches!(operator, "<<" | ">>");
    let is_unsigned = left.is_unsigned || !shifts && right.is_unsigned;
    let result = match operator {
        "/" | "%" if b == 0 => return Err(Reason::DividesByZero),
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => Some(a / b),
        "%" => Some(a % b),
        "<<" => a.checked_shl(b).filter(|shifted| shifted >> b == a),
        _ => a.checked_shr(b),
    };
    let value = result.filter(|&value| is_unsigned || i32::try_from(value).is_ok());
    let value = value.ok_or_else(|| Reason::Overflows { operation: format!("{a} {operator} {b}") })?;
    Ok(Number { value, is_unsigned })
}
