//! The syntax tree: what a PTX module says, with names resolved and blocks flattened.

use super::error::Error;
use std::collections::HashMap;

/// A parsed module.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// `.version`, as (major, minor).
    pub version: (u32, u32),
    /// `.target sm_90a` is `(90, "a")`.
    pub target: (u32, String),
    /// Variables at module scope: `.global`, `.const`, and (also external) `.shared`.
    pub variables: Vec<Variable>,
    /// Kernels and device functions, declarations without a body included; a body takes the place of its declarations.
    pub functions: Vec<Function>,
    /// `.file` numbers to source file names.
    pub files: HashMap<u32, String>,
    /// `.section .debug_str` labels to their strings: the names of inlined functions.
    pub strings: HashMap<String, String>,
    /// The text of each line, for messages; line 1 is at index 0.
    pub lines: Vec<String>,
}

impl Module {
    /// An error on this line of the module's text.
    pub fn error_at(&self, line: u32, message: String) -> Error {
        let text = self.lines.get((line as usize).wrapping_sub(1)).cloned().unwrap_or_default();
        Error { line, text, message }
    }
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Registers.
    Register,
    /// Device memory.
    Global,
    /// Read-only bank.
    Const,
    /// A block's memory.
    Shared,
    /// A thread's memory.
    Local,
    /// Parameters of kernels and calls.
    Param,
}

/// A type without its vector size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of PTX")]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

impl Type {
    /// Bytes of one element; 0 for predicates.
    pub const fn size(self) -> usize {
        use Type::*;
        match self {
            Pred => 0,
            B8 | U8 | S8 => 1,
            B16 | U16 | S16 | F16 | Bf16 => 2,
            B32 | U32 | S32 | F16x2 | Bf16x2 | F32 => 4,
            B64 | U64 | S64 | F64 => 8,
            B128 => 16,
        }
    }

    /// The type of this spelling, without its dot.
    pub fn parse(text: &str) -> Option<Type> {
        use Type::*;
        Some(match text {
            "pred" => Pred,
            "b8" => B8,
            "b16" => B16,
            "b32" => B32,
            "b64" => B64,
            "b128" => B128,
            "u8" => U8,
            "u16" => U16,
            "u32" => U32,
            "u64" => U64,
            "s8" => S8,
            "s16" => S16,
            "s32" => S32,
            "s64" => S64,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => Bf16,
            "bf16x2" => Bf16x2,
            "f32" => F32,
            "f64" => F64,
            _ => return None,
        })
    }
}

/// A variable or parameter.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub space: Space,
    /// The type of an element.
    pub ty: Type,
    /// Elements of a `.v2` or `.v4` variable; 1 otherwise.
    pub vector: usize,
    /// `.align` if given, else the natural alignment of the element (of the vector, for vectors).
    pub align: usize,
    /// Size in bytes; 0 for `extern .shared x[]`.
    pub size: usize,
    /// Initial value: bytes at offsets and addresses of symbols at offsets. Bytes not named are zero.
    pub init: Vec<(usize, Init)>,
    /// Declared `.extern`.
    pub external: bool,
    /// The line of the declaration.
    pub line: u32,
}

/// A part of an initial value.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Little-endian bytes.
    Bytes(Vec<u8>),
    /// The address of a variable or function, plus an offset; `generic` where the text says `generic(name)`.
    Symbol {
        /// The variable or function.
        name: String,
        /// Bytes to add.
        offset: i64,
        /// Convert to a generic address.
        generic: bool,
    },
}

/// A register of a function: an index into [`Function::registers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegId(pub u32);

/// A declared register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name in the text.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A kernel or device function.
#[derive(Debug, Clone, Default)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// A kernel (`.entry`) rather than a device function (`.func`).
    pub entry: bool,
    /// Declared `.extern`, or without a body here: another declaration or the emulator supplies it (`vprintf`).
    pub external: bool,
    /// Values returned.
    pub returns: Vec<Variable>,
    /// Parameters.
    pub params: Vec<Variable>,
    /// `.maxntid`, `.reqntid`, `.minnctapersm`, `.maxnreg`, ...: name without the dot, values; no values for `.noreturn`.
    pub directives: Vec<(String, Vec<u32>)>,
    /// All registers of all scopes.
    pub registers: Vec<Register>,
    /// `.shared`, `.local` and `.param` variables of all scopes; names that repeat in other scopes are made unique with a
    /// suffix `'2`, `'3`, ..., in the operands too.
    pub variables: Vec<Variable>,
    /// Prototypes of indirect calls by label, unique as in [`Function::variables`]: (returns, parameters).
    pub prototypes: HashMap<String, (Vec<Variable>, Vec<Variable>)>,
    /// Targets of `.branchtargets` and `.calltargets` lists by label: names of labels or functions.
    pub targets: HashMap<String, Vec<String>>,
    /// The instructions, in order.
    pub code: Vec<Instruction>,
    /// Where each label stands: index into `code` of the instruction after it. Unique names, as for variables.
    pub labels: HashMap<String, usize>,
    /// The calls that the compiler inlined into this function: [`Instruction::inlined`] counts these.
    pub inlined: Vec<Inlined>,
    /// The line of the declaration.
    pub line: u32,
}

/// A call in the CUDA source whose function was inlined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inlined {
    /// The called function: a key of [`Module::strings`], where its mangled name is.
    pub function: String,
    /// Where the call stands.
    pub at: Location,
    /// If the call itself stands in an inlined function: the call of that one, an index into [`Function::inlined`].
    pub outer: Option<usize>,
}

/// An instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// `@p` or `@!p`: the predicate and whether it is negated.
    pub guard: Option<(RegId, bool)>,
    /// `ld`, `mma`, `cp`: the text up to the first dot.
    pub opcode: String,
    /// The parts between the dots after it, in order: `["global", "nc", "L2::128B", "v4", "u32"]`.
    pub modifiers: Vec<String>,
    /// The operands in order; both destinations of `d|p` are one operand, a [`Operand::Pair`].
    pub operands: Vec<Operand>,
    /// The line in the PTX text.
    pub line: u32,
    /// The source line that `.loc` gave; none where it gave line 0, which means no line in particular.
    pub location: Option<Location>,
    /// If `location` is in an inlined function: the call of that one, an index into [`Function::inlined`].
    pub inlined: Option<usize>,
}

/// A place in the CUDA source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// A key of [`Module::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A register.
    Register(RegId),
    /// `!p`, a negated predicate source.
    Negated(RegId),
    /// A special register, `%tid.x` as `"tid.x"`.
    Special(String),
    /// An integer; its bits as 64-bit two's complement.
    Integer(i64),
    /// `0f3F800000`: bits of an f32.
    F32(u32),
    /// `0d...`: bits of an f64. Decimal literals with a point are f64 too.
    F64(u64),
    /// A variable, function or label.
    Symbol(String, i64),
    /// `[base + offset]`.
    Address {
        /// A register, symbol or integer; for `[tensor, {x, y}]` the [`Operand::List`] of what stands in the brackets.
        base: Box<Operand>,
        /// Bytes to add.
        offset: i64,
    },
    /// `{a, b, c, d}`.
    Vector(Vec<Operand>),
    /// `d|p`.
    Pair(Box<Operand>, Box<Operand>),
    /// `_`.
    Sink,
    /// `(a, b)`: the lists of a call.
    List(Vec<Operand>),
}
