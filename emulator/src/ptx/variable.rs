//! Declarations of variables and parameters, and of their space, alignment, type and size.

use super::ast::{Space, Type, Variable};
use super::cursor::Cursor;
use super::error::Result;
use super::initial::{self, Shape};
use super::lexer::Token;

/// Bytes of the largest variable: more than any device holds.
const MAX_SIZE: usize = 1 << 40;

/// The most dimensions of an array.
const MAX_DIMENSIONS: usize = 8;

/// What stands before the names of a declaration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub space: Space,
    pub ty: Type,
    pub vector: usize,
    align: usize,
}

/// The state space of this word after a dot.
pub(super) fn space(word: &str) -> Option<Space> {
    Some(match word {
        "reg" => Space::Register,
        "global" => Space::Global,
        "const" => Space::Const,
        "shared" => Space::Shared,
        "local" => Space::Local,
        "param" => Space::Param,
        _ => return None,
    })
}

/// Reads `.align 8 .v2 .f32`, after the space.
pub(super) fn head(cursor: &mut Cursor<'_>, space: Space) -> Result<Head> {
    let (mut align, mut vector) = (None, 1);
    loop {
        let Token::Dotted(word) = cursor.peek() else {
            return Err(cursor.unexpected("a type"));
        };
        match word {
            "align" => align = Some(alignment(cursor)?),
            "attribute" => {
                return Err(cursor.error("attributes of variables, like .managed, are not supported"));
            }
            "v2" | "v4" => {
                vector = if word == "v2" { 2 } else { 4 };
                cursor.next()?;
            }
            _ => {
                let ty = Type::parse(word).ok_or_else(|| cursor.unexpected("a type"))?;
                if ty == Type::Pred && space != Space::Register {
                    return Err(cursor.error("a predicate can only be a register"));
                }
                cursor.next()?;
                let natural = (ty.size() * vector).max(1);
                return Ok(Head { space, ty, vector, align: align.unwrap_or(natural) });
            }
        }
    }
}

/// Reads `.align 8`.
fn alignment(cursor: &mut Cursor<'_>) -> Result<usize> {
    cursor.next()?;
    let line = cursor.line();
    let align = cursor.count()?;
    match align.is_power_of_two() {
        true => Ok(align as usize),
        false => Err(cursor.error_at(line, format!("the alignment {align} is not a power of two"))),
    }
}

/// Reads a name and its dimensions and initial value, after `head`.
pub(super) fn declarator<'a>(
    cursor: &mut Cursor<'a>,
    head: Head,
    external: bool,
) -> Result<(&'a str, Variable)> {
    let line = cursor.line();
    let name = cursor.name("the name of a variable")?;
    let Dimensions { mut counts, open } = dimensions(cursor, external)?;
    if head.vector > 1 {
        counts.push(head.vector);
    }
    let mut variable = Variable {
        name: name.to_string(),
        space: head.space,
        ty: head.ty,
        vector: head.vector,
        align: head.align,
        size: 0,
        init: Vec::new(),
        external,
        line,
    };
    let mut shape =
        Shape::new(head.ty, counts, MAX_SIZE).map_err(|message| cursor.error_at(line, message))?;
    if cursor.accept('=')? {
        if external || !matches!(head.space, Space::Global | Space::Const) {
            return Err(cursor.error_at(line, format!("{name} cannot have an initial value here")));
        }
        variable.init = initial::read(cursor, &mut shape, open)?;
    } else if open && !(external && matches!(head.space, Space::Shared | Space::Global | Space::Const)) {
        return Err(cursor.error_at(line, format!("{name} has no size")));
    }
    variable.size = shape.size();
    Ok((name, variable))
}

/// The dimensions of an array; those of a scalar are none.
struct Dimensions {
    counts: Vec<usize>,
    /// The first is `[]`, and stands as 0 in `counts`.
    open: bool,
}

fn dimensions(cursor: &mut Cursor<'_>, external: bool) -> Result<Dimensions> {
    let (mut counts, mut open) = (Vec::new(), false);
    while cursor.accept('[')? {
        let line = cursor.line();
        if counts.is_empty() && cursor.peek() == Token::Mark(']') {
            open = true;
            counts.push(0);
        } else {
            let count = cursor.integer()?;
            let least = if external && counts.is_empty() { 0 } else { 1 };
            let fits = usize::try_from(count).ok().filter(|count| (least..=MAX_SIZE).contains(count));
            counts.push(
                fits.ok_or_else(|| cursor.error_at(line, format!("an array cannot have {count} elements")))?,
            );
        }
        if counts.len() > MAX_DIMENSIONS {
            return Err(cursor.error(format!("more than {MAX_DIMENSIONS} dimensions")));
        }
        cursor.expect(']')?;
    }
    Ok(Dimensions { counts, open })
}

/// Reads `(.param .u64 .ptr .global .align 1 name, ...)`, after the parenthesis.
pub(super) fn parameters<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<(&'a str, Variable)>> {
    let mut all = Vec::new();
    if cursor.accept(')')? {
        return Ok(all);
    }
    loop {
        all.push(parameter(cursor)?);
        if cursor.accept(')')? {
            return Ok(all);
        }
        cursor.expect(',')?;
    }
}

fn parameter<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Variable)> {
    let space = match cursor.peek() {
        Token::Dotted("param") => Space::Param,
        Token::Dotted("reg") => Space::Register,
        _ => return Err(cursor.unexpected(".param or .reg")),
    };
    cursor.next()?;
    let head = head(cursor, space)?;
    if cursor.accept_dotted("ptr")? {
        pointee(cursor)?;
    }
    declarator(cursor, head, false)
}

/// Reads what a pointer parameter promises of its target: a space and an alignment. The accesses themselves are checked.
fn pointee(cursor: &mut Cursor<'_>) -> Result<()> {
    if let Token::Dotted("global" | "const" | "shared" | "local") = cursor.peek() {
        cursor.next()?;
    }
    if cursor.peek() == Token::Dotted("align") {
        alignment(cursor)?;
    }
    Ok(())
}
