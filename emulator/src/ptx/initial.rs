//! Initial values of variables.

use super::ast::{Init, Type};
use super::cursor::Cursor;
use super::error::Result;
use super::lexer::Token;
use super::literal::Literal;

/// Elements of an array of arrays.
pub(super) struct Shape {
    ty: Type,
    /// Elements per dimension, outermost first; none for a scalar.
    counts: Vec<usize>,
    /// Bytes that all elements together may have.
    limit: usize,
}

impl Shape {
    /// Fails if all elements together have more than `limit` bytes.
    pub fn new(ty: Type, counts: Vec<usize>, limit: usize) -> std::result::Result<Shape, String> {
        // An open dimension counts as one element, so that what stands inside of it is within the limit.
        let size = counts.iter().try_fold(ty.size(), |size, count| {
            size.checked_mul((*count).max(1)).filter(|size| *size <= limit)
        });
        match size {
            Some(_) => Ok(Shape { ty, counts, limit }),
            None => Err(format!("the variable has more than {limit} bytes")),
        }
    }

    /// Bytes of all elements.
    pub fn size(&self) -> usize {
        self.stride(0)
    }

    /// Bytes of one element of the array that has `depth` dimensions around it.
    fn stride(&self, depth: usize) -> usize {
        self.counts.iter().skip(depth).product::<usize>() * self.ty.size()
    }
}

/// Reads an initial value. `open` lets it decide how many elements the first dimension has.
pub(super) fn read(cursor: &mut Cursor<'_>, shape: &mut Shape, open: bool) -> Result<Vec<(usize, Init)>> {
    let mut parts = Parts { list: Vec::new() };
    let elements = level(cursor, shape, 0, 0, open, &mut parts)?;
    if let (true, Some(first)) = (open, shape.counts.first_mut()) {
        *first = elements;
    }
    Ok(parts.list)
}

/// Reads the elements at `offset` that are inside of `depth` dimensions; how many there are.
fn level(
    cursor: &mut Cursor<'_>,
    shape: &Shape,
    depth: usize,
    offset: usize,
    open: bool,
    parts: &mut Parts,
) -> Result<usize> {
    let Some(&count) = shape.counts.get(depth) else {
        element(cursor, shape.ty, offset, parts)?;
        return Ok(1);
    };
    cursor.expect('{')?;
    let mut index = 0;
    while !cursor.accept('}')? {
        if index > 0 {
            cursor.expect(',')?;
        }
        let stride = shape.stride(depth + 1);
        let most = if open { shape.limit / stride.max(1) } else { count };
        if index >= most {
            return Err(cursor.error(format!("more than {most} elements in the initial value")));
        }
        level(cursor, shape, depth + 1, offset + index * stride, false, parts)?;
        index += 1;
    }
    Ok(index)
}

/// Reads one element: a number, or the address of something.
fn element(cursor: &mut Cursor<'_>, ty: Type, offset: usize, parts: &mut Parts) -> Result<()> {
    if let Token::Name(_) = cursor.peek() {
        return address(cursor, ty, offset, parts);
    }
    let line = cursor.line();
    let wrong = |cursor: &Cursor<'_>, found: String| {
        cursor.error_at(line, format!("{found} is not a value of {ty:?}"))
    };
    let size = ty.size();
    if matches!(ty, Type::F32 | Type::F64) {
        let negative = cursor.signs()?;
        let literal = cursor.literal()?;
        let literal = if negative { literal.negated() } else { literal };
        let bytes = match (ty, literal) {
            (Type::F32, Literal::F32(bits)) => bits.to_le_bytes().to_vec(),
            (Type::F32, Literal::F64(bits)) => (f64::from_bits(bits) as f32).to_le_bytes().to_vec(),
            (_, Literal::F64(bits)) => bits.to_le_bytes().to_vec(),
            (_, Literal::F32(bits)) => f64::from(f32::from_bits(bits)).to_le_bytes().to_vec(),
            (_, Literal::Integer(value)) => return Err(wrong(cursor, value.to_string())),
        };
        parts.bytes(offset, &bytes);
        return Ok(());
    }
    let value = cursor.integer()?;
    if matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::B128) {
        return Err(wrong(cursor, value.to_string()));
    }
    let bits = 8 * size as u32;
    if value < -(1 << (bits - 1)) || value >= 1 << bits {
        return Err(wrong(cursor, value.to_string()));
    }
    let bytes = value.to_le_bytes();
    parts.bytes(offset, bytes.get(..size).unwrap_or(&bytes));
    Ok(())
}

/// Reads `name`, `name+4` or `generic(name)+4`.
fn address(cursor: &mut Cursor<'_>, ty: Type, at: usize, parts: &mut Parts) -> Result<()> {
    let line = cursor.line();
    let mut name = cursor.name("a variable or function")?;
    let generic = name == "generic" && cursor.accept('(')?;
    let mut offset = 0;
    if generic {
        name = cursor.name("a variable or function")?;
        offset = cursor.offset()?;
        cursor.expect(')')?;
    }
    let outside = cursor.offset()?;
    let offset = i64::checked_add(offset, outside)
        .ok_or_else(|| cursor.error_at(line, "the offset has more than 64 bits"))?;
    if !matches!(ty, Type::B64 | Type::U64 | Type::S64) {
        return Err(cursor.error_at(line, format!("the address of {name} does not fit in {ty:?}")));
    }
    parts.list.push((at, Init::Symbol { name: name.to_string(), offset, generic }));
    Ok(())
}

/// The parts of an initial value so far, at rising offsets.
struct Parts {
    list: Vec<(usize, Init)>,
}

impl Parts {
    /// Adds bytes, to the last part if they follow it.
    fn bytes(&mut self, offset: usize, bytes: &[u8]) {
        match self.list.last_mut() {
            Some((start, Init::Bytes(last))) if *start + last.len() == offset => last.extend(bytes),
            _ => self.list.push((offset, Init::Bytes(bytes.to_vec()))),
        }
    }
}
