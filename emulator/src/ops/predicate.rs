//! Predicates: logic on them, and what `setp`, `set` and `lop3` do with the predicate of a comparison. Whole masks at once.
//!
//! Tests: `tests/alu/compare.rs`, `tests/alu/bits.rs`.

use crate::{
    machine::Registers,
    program::{Builder, Exec, Instr, LaneFn, NONE},
    ptx::ast::{Operand, Type},
};

/// How a comparison and another predicate become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Both.
    And,
    /// Either.
    Or,
    /// One of the two.
    Xor,
}

/// The words of [`Join`].
pub const JOINS: [(&str, Join); 3] = [("and", Join::And), ("or", Join::Or), ("xor", Join::Xor)];

/// In the flags of an instruction: a source is inverted.
const INVERT: [u8; 2] = [1, 2];

/// Lowers `and`, `or`, `xor` and `not` of predicates.
pub fn logic(b: &mut Builder<'_>) -> Result<(), String> {
    let run: LaneFn = match b.source.opcode.as_str() {
        "not" => not,
        "and" => and,
        "or" => or,
        _ => xor,
    };
    let sources = if b.source.opcode == "not" { 1 } else { 2 };
    b.expect_operands(1 + sources)?;
    b.result(b.operand(0)?, Type::Pred)?;
    let mut flags = 0;
    for i in 0..sources {
        if b.predicate(1 + i, b.operand(1 + i)?)? {
            flags |= INVERT[i];
        }
    }
    b.set_flags(flags);
    b.emit(Exec::Lanes(run))
}

/// Writes two predicates (either may be a sink) from two comparisons, the second inverted if asked, each joined with the same other
/// predicate if there is one.
pub fn join(
    b: &mut Builder<'_>,
    destinations: [&Operand; 2],
    compared: [&Operand; 2],
    inverted: bool,
    other: Option<(Join, &Operand)>,
) -> Result<(), String> {
    for i in 0..2 {
        b.destination(i, destinations[i], Type::Pred)?;
        b.source(2 + i, compared[i], Type::Pred)?;
    }
    let run: LaneFn = match other.map(|(join, _)| join) {
        None => copy_two,
        Some(Join::And) => and_two,
        Some(Join::Or) => or_two,
        Some(Join::Xor) => xor_two,
    };
    let mut flags = if inverted { INVERT[1] } else { 0 };
    if let Some((_, predicate)) = other
        && b.predicate(4, predicate)?
    {
        flags |= INVERT[0];
    }
    b.set_flags(flags);
    b.emit(Exec::Lanes(run))
}

/// The predicate `r[at]`, inverted if the flags say so.
fn source(registers: &Registers<'_>, instr: &Instr, at: usize, inverted: u8) -> u32 {
    let p = registers.predicate(instr.r[at]);
    if instr.flags & inverted != 0 { !p } else { p }
}

fn two(registers: &mut Registers<'_>, mask: u32, instr: &Instr, f: impl Fn(u32, u32) -> u32) {
    let [a, b] = [source(registers, instr, 1, INVERT[0]), source(registers, instr, 2, INVERT[1])];
    registers.write_predicate(instr.r[0], mask, f(a, b));
}

fn and(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    two(registers, mask, instr, |a, b| a & b);
}

fn or(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    two(registers, mask, instr, |a, b| a | b);
}

fn xor(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    two(registers, mask, instr, |a, b| a ^ b);
}

fn not(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let p = source(registers, instr, 1, INVERT[0]);
    registers.write_predicate(instr.r[0], mask, !p);
}

fn write_two(registers: &mut Registers<'_>, mask: u32, instr: &Instr, f: impl Fn(u32) -> u32) {
    let values = [f(registers.predicate(instr.r[2])), f(source(registers, instr, 3, INVERT[1]))];
    for (at, value) in values.into_iter().enumerate() {
        if instr.r[at] != NONE {
            registers.write_predicate(instr.r[at], mask, value);
        }
    }
}

fn copy_two(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    write_two(registers, mask, instr, |p| p);
}

fn and_two(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let other = source(registers, instr, 4, INVERT[0]);
    write_two(registers, mask, instr, |p| p & other);
}

fn or_two(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let other = source(registers, instr, 4, INVERT[0]);
    write_two(registers, mask, instr, |p| p | other);
}

fn xor_two(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let other = source(registers, instr, 4, INVERT[0]);
    write_two(registers, mask, instr, |p| p ^ other);
}
