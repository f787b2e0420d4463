//! Which family owns an opcode of arithmetic.

use super::{approximate, bits, carry, compare, convert, float, half, integer, minmax};
use crate::program::Builder;

/// Lowers an arithmetic instruction.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let last = b.source.modifiers.last().map_or("", String::as_str);
    let carries = b.source.modifiers.iter().any(|m| m == "cc");
    match (b.source.opcode.as_str(), last) {
        ("add" | "sub" | "mul" | "mad", _) if carries => carry::lower(b),
        ("addc" | "subc" | "madc", _) => carry::lower(b),
        ("min" | "max", "f32" | "f64") => minmax::lower(b),
        ("add" | "sub" | "mul" | "mad" | "fma" | "abs" | "neg", "f32" | "f64") => float::lower(b),
        (
            "add" | "sub" | "mul" | "fma" | "abs" | "neg" | "min" | "max",
            "f16" | "f16x2" | "bf16" | "bf16x2",
        ) => half::lower(b),
        ("div", "f32" | "f64") | ("rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh", _) => {
            approximate::lower(b)
        }
        (
            "add" | "sub" | "mul" | "mad" | "mul24" | "mad24" | "sad" | "div" | "rem" | "abs" | "neg" | "min"
            | "max" | "dp4a" | "dp2a" | "vabsdiff4" | "vadd4",
            _,
        ) => integer::lower(b),
        (
            "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf" | "prmt" | "popc" | "clz"
            | "brev" | "bfind" | "bfe" | "bfi" | "fns" | "bmsk" | "szext",
            _,
        ) => bits::lower(b),
        ("setp", _) => compare::set_predicate(b),
        ("set", _) => compare::set(b),
        ("selp", _) => compare::select(b),
        ("slct", _) => compare::select_by_sign(b),
        ("copysign", _) => minmax::copysign(b),
        ("testp", _) => minmax::test(b),
        ("cvt", _) => convert::lower(b),
        ("fma", _) => Err(format!("found type .{last}, expected one of floats")),
        _ => Err("unknown instruction".into()),
    }
}
