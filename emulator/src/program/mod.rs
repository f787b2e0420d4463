//! A module as it is executed: instructions that hold their handler and the numbers of their registers.
//!
//! [`Program::load`] lowers a syntax tree: each instruction goes to the family of [`crate::ops`] that owns its opcode, which
//! checks every modifier and operand, or refuses; then registers are allocated, so that a warp's registers fit in the cache.
//! Called by `driver` and by tests; run by [`crate::machine`].

mod allocate;
mod builder;
mod dot;
mod draft;
mod fuse;
mod instr;
mod layout;
mod liveness;
mod lower;
mod place;
mod scope;

pub use builder::{Builder, Width};
pub use instr::{Access, Control, Exec, Flow, Instr, LaneFn, NONE, OPERANDS, Use, WarpFn};
pub use layout::{CallSite, Function, Line, Parameter, Program, align_up};
pub use lower::Options;
pub use place::Place;
pub use scope::FunctionScope;
