//! `.file`, `.section` and `.loc`: where the code came from.

use super::ast::{Inlined, Location, Module};
use super::cursor::Cursor;
use super::error::Result;
use super::lexer::Token;
use std::collections::HashMap;

/// Reads `.file 1 "a.cu"`, and a time stamp and size after it, after `.file`.
pub(super) fn file(cursor: &mut Cursor<'_>, module: &mut Module) -> Result<()> {
    let number = cursor.count()?;
    let name = cursor.quoted("the name of a file")?;
    while cursor.accept(',')? {
        cursor.integer()?;
    }
    module.files.insert(number, name.to_string());
    Ok(())
}

/// Reads `.section .debug_str { ... }`, after `.section`. Other sections are passed over.
pub(super) fn section(cursor: &mut Cursor<'_>, module: &mut Module) -> Result<()> {
    let name = match cursor.next()? {
        Token::Dotted(name) | Token::Name(name) => name,
        other => return Err(cursor.error(format!("expected the name of a section, found {other}"))),
    };
    cursor.expect('{')?;
    if name == "debug_str" {
        return strings(cursor, module);
    }
    let mut open = 1_u64;
    while open > 0 {
        match cursor.next()? {
            Token::Mark('{') => open += 1,
            Token::Mark('}') => open -= 1,
            Token::End => return Err(cursor.error(format!("the section .{name} is not closed"))),
            _ => {}
        }
    }
    Ok(())
}

/// Reads `label: .b8 95 .b8 90 ... .b8 0`, repeated, up to the closing brace.
fn strings(cursor: &mut Cursor<'_>, module: &mut Module) -> Result<()> {
    let mut label = None;
    let mut bytes = Vec::new();
    loop {
        match cursor.peek() {
            Token::Dotted("b8") => {
                cursor.next()?;
                read_bytes(cursor, &mut bytes)?;
            }
            Token::Name(name) => {
                keep(module, label.replace(name), &mut bytes);
                cursor.next()?;
                cursor.expect(':')?;
            }
            Token::Mark('}') => {
                keep(module, label, &mut bytes);
                return cursor.next().map(drop);
            }
            _ => return Err(cursor.unexpected("a label, .b8 or }")),
        }
    }
}

fn read_bytes(cursor: &mut Cursor<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = cursor.line();
        let value = cursor.integer()?;
        bytes.push(u8::try_from(value).map_err(|_| cursor.error_at(line, format!("{value} is not a byte")))?);
        if !cursor.accept(',')? {
            return Ok(());
        }
    }
}

/// Keeps the bytes before the first zero as the string of `label`.
fn keep(module: &mut Module, label: Option<&str>, bytes: &mut Vec<u8>) {
    if let Some(label) = label {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        module.strings.insert(label.to_string(), String::from_utf8_lossy(text).into_owned());
    }
    bytes.clear();
}

/// Follows the `.loc` directives of a function.
#[derive(Default)]
pub(super) struct Places {
    /// The location of the next instruction.
    pub location: Option<Location>,
    /// The call whose function it is in: an index into the calls.
    pub inlined: Option<usize>,
    /// The call that each location was last in: a location that is named as a call's place stood in a directive before.
    last: HashMap<Location, Option<usize>>,
    calls: HashMap<Inlined, usize>,
}

impl Places {
    /// Reads `.loc 1 22 3`, and `, function_name label, inlined_at 1 20 9` after it, after `.loc`.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, calls: &mut Vec<Inlined>) -> Result<()> {
        let location = location(cursor)?;
        self.inlined = None;
        if cursor.accept(',')? {
            cursor.expect_name("function_name")?;
            let function = cursor.name("the label of a function's name")?.to_string();
            cursor.offset()?;
            cursor.expect(',')?;
            cursor.expect_name("inlined_at")?;
            let at = self::location(cursor)?;
            let outer = self.last.get(&at).copied().flatten();
            let call = Inlined { function, at, outer };
            let next = calls.len();
            let index = *self.calls.entry(call.clone()).or_insert(next);
            if index == next {
                calls.push(call);
            }
            self.inlined = Some(index);
        }
        self.last.insert(location, self.inlined);
        self.location = Some(location).filter(|location| location.line > 0);
        Ok(())
    }
}

fn location(cursor: &mut Cursor<'_>) -> Result<Location> {
    Ok(Location { file: cursor.count()?, line: cursor.count()?, column: cursor.count()? })
}
