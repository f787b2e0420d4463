//! Addition with carry: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc`, `madc`.
//!
//! The carry flag is a predicate of the function like any other, so it is kept per lane and across what stands between.
//! Tests: `tests/alu/integer.rs`.

use super::modifiers::Modifiers;
use crate::{
    machine::Registers,
    program::{Builder, Exec, Instr, LaneFn, NONE},
    ptx::ast::Type::*,
};

/// What is added to what.
#[derive(Clone, Copy)]
enum Sum {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// The lower half of `a * b`, plus `c`.
    Low,
    /// The upper half of `a * b`, plus `c`.
    High,
    /// As `High`, of signed numbers.
    HighSigned,
}

const SUMS: [Sum; 5] = [Sum::Add, Sum::Sub, Sum::Low, Sum::High, Sum::HighSigned];

/// Operand slots: the result, the carry out and in, and the sources.
const CARRY_OUT: usize = 1;
const CARRY_IN: usize = 5;

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let mut m = Modifiers::of(b);
    let (opcode, reads) = match b.source.opcode.as_str() {
        "addc" => ("add", true),
        "subc" => ("sub", true),
        "madc" => ("mad", true),
        other => (other, false),
    };
    let fused = opcode == "mad";
    let high = fused && m.require(&[("lo", false), ("hi", true)])?;
    let writes = m.accept("cc");
    let ty = m.last_ty(&[U32, S32, U64, S64])?;
    if !writes && !reads {
        return Err("modifier .cc is not where it belongs".into());
    }
    let sum = match (opcode, high, ty) {
        ("add", _, _) => 0,
        ("sub", _, _) => 1,
        (_, false, _) => 2,
        (_, true, S32 | S64) => 4,
        _ => 3,
    };
    let sources = if fused { 3 } else { 2 };
    b.expect_operands(1 + sources)?;
    b.result(b.operand(0)?, ty)?;
    for i in 1..=sources {
        b.source(1 + i, b.operand(i)?, ty)?;
    }
    let carry = b.scope.carry();
    if writes {
        b.destination(CARRY_OUT, &carry, Pred)?;
    }
    if reads {
        b.source(CARRY_IN, &carry, Pred)?;
    }
    b.set_flags(sum);
    let run: LaneFn = if ty.size() == 4 { run_32 } else { run_64 };
    b.emit(Exec::Lanes(run))
}

fn run_32(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let read = |at: usize| match instr.r[at] {
        NONE => [0; 32],
        register => *registers.single(register),
    };
    let [a, b, c] = [read(2), read(3), read(4)];
    let (sum, flag) = (sum(instr), flag(registers, instr));
    let mut carry = 0;
    let d = std::array::from_fn(|l| {
        let product = match sum {
            Sum::HighSigned => (i64::from(a[l].cast_signed()) * i64::from(b[l].cast_signed())) as u64,
            _ => u64::from(a[l]) * u64::from(b[l]),
        };
        let (x, y) =
            addends(sum, a[l].into(), b[l].into(), product & 0xffff_ffff, product >> 32, c[l].into());
        let bit = u64::from(flag >> l & 1);
        let total = if matches!(sum, Sum::Sub) { x.wrapping_sub(y).wrapping_sub(bit) } else { x + y + bit };
        carry |= u32::from(total >> 32 != 0) << l;
        total as u32
    });
    registers.write_single(instr.r[0], mask, &d);
    write_carry(registers, mask, instr, carry);
}

fn run_64(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let read = |at: usize| match instr.r[at] {
        NONE => [0; 32],
        register => *registers.double(register),
    };
    let [a, b, c] = [read(2), read(3), read(4)];
    let (sum, flag) = (sum(instr), flag(registers, instr));
    let mut carry = 0;
    let d = std::array::from_fn(|l| {
        let product = match sum {
            Sum::HighSigned => (i128::from(a[l].cast_signed()) * i128::from(b[l].cast_signed())) as u128,
            _ => u128::from(a[l]) * u128::from(b[l]),
        };
        let (x, y) = addends(sum, a[l], b[l], product as u64, (product >> 64) as u64, c[l]);
        let (x, y, bit) = (u128::from(x), u128::from(y), u128::from(flag >> l & 1));
        let total = if matches!(sum, Sum::Sub) { x.wrapping_sub(y).wrapping_sub(bit) } else { x + y + bit };
        carry |= u32::from(total >> 64 != 0) << l;
        total as u64
    });
    registers.write_double(instr.r[0], mask, &d);
    write_carry(registers, mask, instr, carry);
}

fn addends(sum: Sum, a: u64, b: u64, low: u64, high: u64, c: u64) -> (u64, u64) {
    match sum {
        Sum::Add | Sum::Sub => (a, b),
        Sum::Low => (low, c),
        Sum::High | Sum::HighSigned => (high, c),
    }
}

fn sum(instr: &Instr) -> Sum {
    SUMS[usize::from(instr.flags) % SUMS.len()]
}

/// The carry that comes in, of all lanes.
fn flag(registers: &Registers<'_>, instr: &Instr) -> u32 {
    match instr.r[CARRY_IN] {
        NONE => 0,
        register => registers.predicate(register),
    }
}

fn write_carry(registers: &mut Registers<'_>, mask: u32, instr: &Instr, carry: u32) {
    if instr.r[CARRY_OUT] != NONE {
        registers.write_predicate(instr.r[CARRY_OUT], mask, carry);
    }
}
