//! The instructions: a module for each family, which lowers its opcodes and holds their handlers.
//!
//! Lowering checks every modifier and the type of every operand, and picks a handler; what a family does not know it refuses. A
//! handler of pure arithmetic is made by [`lanes`] from a function on single values (see [`crate::numeric`]); others get a
//! [`crate::machine::Context`].

mod approximate;
mod arithmetic;
mod atomic;
mod barrier;
mod bits;
mod carry;
mod cluster;
mod compare;
mod compose;
mod control;
mod convert;
mod copy;
mod elementwise;
mod exchange;
mod fence;
mod float;
mod fused;
mod half;
mod hint;
mod integer;
mod lanes;
mod matrix;
pub mod memory;
mod minmax;
mod modifiers;
mod moves;
mod predicate;
pub mod print;
mod special;

pub use copy::{Copies, Store, Transfers, deliver, finish, leave};
pub use fused::{dot_halves, widen_half, widen_halves};
pub use special::read as special_register;

use crate::program::Builder;

/// The flag of the call of a function that the emulator supplies.
pub const BUILTIN_CALL: u8 = 0xC0;

/// Lowers one instruction.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    match b.source.opcode.as_str() {
        "mov" | "cvta" => moves::lower(b),
        "ld" | "ldu" | "st" => memory::lower(b),
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" => control::lower(b),
        "barrier" if cluster::is_barrier(&b.source.modifiers) => cluster::lower(b),
        "mapa" | "griddepcontrol" => cluster::lower(b),
        "bar" | "barrier" => barrier::lower(b),
        "mma" | "wmma" | "ldmatrix" | "stmatrix" | "movmatrix" => matrix::lower(b),
        "cp" | "mbarrier" => copy::lower(b),
        "fence" if copy::is_fence(b.source) => copy::lower(b),
        "shfl" | "vote" | "match" | "redux" | "elect" | "activemask" => exchange::lower(b),
        "atom" | "red" => atomic::lower(b),
        "membar" | "fence" => fence::lower(b),
        "nanosleep" | "prefetch" | "prefetchu" | "pmevent" | "createpolicy" | "isspacep" => hint::lower(b),
        _ => arithmetic::lower(b),
    }
}
