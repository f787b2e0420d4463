//! Emits instructions that do the same to every lane, for all families of arithmetic.

use crate::{
    program::{Builder, Exec, LaneFn},
    ptx::ast::Type,
};

/// Emits an instruction with one destination of type `d` and sources of these types.
pub fn elementwise(b: &mut Builder<'_>, run: LaneFn, d: Type, sources: &[Type]) -> Result<(), String> {
    b.expect_operands(1 + sources.len())?;
    b.result(b.operand(0)?, d)?;
    for (i, &ty) in sources.iter().enumerate() {
        b.source(1 + i, b.operand(1 + i)?, ty)?;
    }
    b.emit(Exec::Lanes(run))
}
