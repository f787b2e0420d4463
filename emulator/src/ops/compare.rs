//! Comparisons: setp.

use super::lanes::{binary, op};
use crate::{
    program::{Builder, Exec},
    ptx::ast::Type,
};

op!(GeS32: (i32, i32) -> bool = |a, b| a >= b);
op!(GeU32: (u32, u32) -> bool = |a, b| a >= b);

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    b.expect_operands(3)?;
    let run = match b.modifiers().as_str() {
        "ge.s32" => binary::<GeS32>(b.isa),
        "ge.u32" => binary::<GeU32>(b.isa),
        _ => return Err("unknown form".into()),
    };
    b.destination(0, b.operand(0)?, Type::Pred)?;
    b.source(1, b.operand(1)?, Type::B32)?;
    b.source(2, b.operand(2)?, Type::B32)?;
    b.emit(Exec::Lanes(run))
}
