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
    let mut parts = Parts { list: Vec::new(), of_last: ADDRESS };
    let elements = level(cursor, shape, 0, 0, open, &mut parts)?;
    parts.check_complete(cursor)?;
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

/// Reads one element: a number, an address, or a byte of an address.
fn element(cursor: &mut Cursor<'_>, ty: Type, offset: usize, parts: &mut Parts) -> Result<()> {
    let line = cursor.line();
    let wrong = |cursor: &Cursor<'_>, found: &str| {
        Err(cursor.error_at(line, format!("{found} is not a value of {ty:?}")))
    };
    if let Token::Name(name) = cursor.peek() {
        parts.check_complete(cursor)?;
        parts.list.push((offset, address(cursor)?));
        return if ty.size() == ADDRESS { Ok(()) } else { wrong(cursor, &format!("the address of {name}")) };
    }
    match ty {
        Type::F32 | Type::F64 => {
            let Some(bytes) = float(cursor, ty)? else {
                return wrong(cursor, "an integer");
            };
            parts.bytes(offset, &bytes);
            Ok(())
        }
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::B128 | Type::Pred => {
            wrong(cursor, "a number")
        }
        _ => {
            let value = cursor.integer()?;
            if cursor.accept('(')? {
                return byte_of_address(cursor, ty, value, offset, parts);
            }
            parts.check_complete(cursor)?;
            let bits = 8 * ty.size() as u32;
            if value < -(1 << (bits - 1)) || value >= 1 << bits {
                return wrong(cursor, &value.to_string());
            }
            let bytes = value.to_le_bytes();
            parts.bytes(offset, bytes.get(..ty.size()).unwrap_or(&bytes));
            Ok(())
        }
    }
}

/// Reads a floating-point number as the bytes of one of type `ty`; none for an integer.
fn float(cursor: &mut Cursor<'_>, ty: Type) -> Result<Option<Vec<u8>>> {
    let negative = cursor.signs()?;
    let literal = cursor.literal()?;
    let literal = if negative { literal.negated() } else { literal };
    Ok(match (ty, literal) {
        (Type::F32, Literal::F32(bits)) => Some(bits.to_le_bytes().to_vec()),
        (Type::F32, Literal::F64(bits)) => Some((f64::from_bits(bits) as f32).to_le_bytes().to_vec()),
        (_, Literal::F64(bits)) => Some(bits.to_le_bytes().to_vec()),
        (_, Literal::F32(bits)) => Some(f64::from(f32::from_bits(bits)).to_le_bytes().to_vec()),
        (_, Literal::Integer(_)) => None,
    })
}

/// Reads `name`, `name+4` or `generic(name)+4`.
fn address(cursor: &mut Cursor<'_>) -> Result<Init> {
    let mut name = cursor.name("a variable or function")?;
    let generic = name == "generic" && cursor.accept('(')?;
    if generic {
        name = cursor.name("a variable or function")?;
        cursor.expect(')')?;
    }
    Ok(Init::Symbol { name: name.to_string(), offset: cursor.offset()?, generic })
}

/// Reads `0xFF00(generic(name)+4)`, after its first parenthesis: one byte of an address. Where an address is not aligned, all
/// its bytes stand like this one after the other.
fn byte_of_address(
    cursor: &mut Cursor<'_>,
    ty: Type,
    mask: i128,
    offset: usize,
    parts: &mut Parts,
) -> Result<()> {
    let line = cursor.line();
    let init = address(cursor)?;
    cursor.expect(')')?;
    let Some(index) = (0..ADDRESS).find(|index| ty.size() == 1 && mask == 0xff << (8 * index)) else {
        return Err(cursor.error_at(line, format!("the mask {mask:#x} does not give a {ty:?} of an address")));
    };
    if index == 0 {
        parts.check_complete(cursor)?;
        parts.list.push((offset, init));
    } else if parts.of_last != index || parts.list.last() != Some(&(offset - index, init)) {
        return Err(
            cursor.error_at(line, format!("byte {index} of an address does not follow the one before it"))
        );
    }
    parts.of_last = index + 1;
    Ok(())
}

/// Bytes of an address.
const ADDRESS: usize = 8;

/// The parts of an initial value so far, at rising offsets.
struct Parts {
    list: Vec<(usize, Init)>,
    /// Bytes of the last part that were read, if it is an address that is read byte by byte.
    of_last: usize,
}

impl Parts {
    /// Adds bytes, to the last part if they follow it.
    fn bytes(&mut self, offset: usize, bytes: &[u8]) {
        match self.list.last_mut() {
            Some((start, Init::Bytes(last))) if *start + last.len() == offset => last.extend(bytes),
            _ => self.list.push((offset, Init::Bytes(bytes.to_vec()))),
        }
    }

    /// Fails if bytes of the last address are missing.
    fn check_complete(&self, cursor: &Cursor<'_>) -> Result<()> {
        match self.of_last {
            ADDRESS => Ok(()),
            some => Err(cursor.error(format!("only {some} of the {ADDRESS} bytes of an address are given"))),
        }
    }
}
