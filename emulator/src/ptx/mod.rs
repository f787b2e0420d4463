//! PTX text to a typed, name-resolved syntax tree.
//!
//! [`parse`] is one pass over the tokens: registers and labels are looked up in the scopes of their `{}` blocks as it goes, so
//! that what comes out is flat: one list of registers and one list of instructions per function. It knows the grammar, not
//! the instructions: which opcodes and operands exist is the business of [`crate::program`]. Every text gives a tree or an
//! [`Error`] with its line, in time and memory linear in its length. Tests: `tests/parser.rs`.
//!
//! From the bottom up: `lexer` makes tokens, `literal` reads numbers, `cursor` looks one token ahead; `variable` and `initial`
//! read declarations, `operand` and `body` statements, `parser` the module; `globals` and `scopes` resolve names, `debug` keeps source lines.

pub mod ast;
mod body;
mod cursor;
mod debug;
mod error;
mod globals;
mod initial;
mod lexer;
mod literal;
mod operand;
mod parser;
mod scopes;
mod variable;

pub use error::Error;
pub use parser::parse;
