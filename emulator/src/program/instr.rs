//! The executable instruction.

use crate::machine::{Context, Fault, Registers};

/// Operand slots of an instruction: `mma` has 4 + 4 + 2 + 4 registers.
pub const OPERANDS: usize = 14;
/// The number that means "no register" (an unused operand slot, an unguarded instruction, a sink).
pub const NONE: u16 = u16::MAX;

/// A handler that touches the registers of the active lanes and nothing else. It is an `unsafe fn` because some versions need
/// instructions that not every CPU has; `ops::lanes` picks by [`crate::isa::Isa`].
pub type LaneFn = unsafe fn(&mut Registers<'_>, u32, &Instr);

/// A handler that reaches the warp, its block, memory or the watchers. The number is the mask of the lanes to run. An `unsafe fn` for the same
/// reason.
pub type WarpFn = unsafe fn(&mut Context<'_, '_>, u32, &Instr) -> Result<(), Fault>;

/// What an instruction does.
#[derive(Clone, Copy)]
pub enum Exec {
    /// Arithmetic on registers.
    Lanes(LaneFn),
    /// Memory, warp-wide exchange, copies.
    Warp(WarpFn),
    /// As `Warp`, but for the lanes named in operand 0 together: they run when all of them that still live have arrived.
    Sync(WarpFn),
    /// Changes where lanes go on, or makes them wait.
    Control(Control),
}

/// Instructions that change where lanes go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// To the instruction `imm`.
    Branch,
    /// To an entry of the table `imm` by the index in operand 0 (`brx.idx`).
    BranchTable,
    /// Into the function `imm`.
    Call,
    /// Into the function whose address is in operand 0 (64 bits).
    CallIndirect,
    /// Back to the caller; out of the kernel if there is none.
    Return,
    /// Out of the kernel.
    Exit,
    /// Waits at a barrier of the block: the form is in `imm`, see `ops::barrier`.
    Barrier,
    /// `bar.warp.sync`: waits for the lanes named in operand 0, which may be anywhere.
    WarpBarrier,
    /// `barrier.cluster.wait`.
    ClusterWait,
}

/// An instruction: 64 bytes.
#[derive(Clone, Copy)]
pub struct Instr {
    /// What it does.
    pub exec: Exec,
    /// Register numbers: destinations first. 64-bit values take the number of the first of two registers; predicates have
    /// numbers of their own.
    pub r: [u16; OPERANDS],
    /// The predicate that guards it, or [`NONE`].
    pub guard: u16,
    /// Runs where the guard is false.
    pub negate: bool,
    /// For what a handler wants: a small number chosen when lowering.
    pub flags: u8,
    /// An immediate: address offset, branch target, look-up table.
    pub imm: i64,
}

impl Instr {
    /// An unguarded instruction without operands.
    pub fn new(exec: Exec) -> Instr {
        Instr { exec, r: [NONE; OPERANDS], guard: NONE, negate: false, flags: 0, imm: 0 }
    }
}

/// How values go through an instruction, for the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Each lane computes its own results from its own sources.
    Lanes,
    /// `ld`: memory to the registers `r[0]`, `r[1]`, ...
    Load,
    /// `st`: the registers `r[0]`, `r[1]`, ... to memory.
    Store,
    /// `atom`, `red`.
    Atomic,
    /// `shfl`.
    Shuffle,
    /// Any lane's sources may reach any lane's results.
    Across,
    /// As `Across`, and sources must be defined: matrix products.
    Matrix,
}

impl Flow {
    /// That of an instruction by its spelling.
    pub fn of(opcode: &str, modifiers: &[String]) -> Flow {
        match opcode {
            "ld" | "ldu" => Flow::Load,
            "st" => Flow::Store,
            "atom" | "red" => Flow::Atomic,
            "shfl" => Flow::Shuffle,
            "mma" | "wgmma" => Flow::Matrix,
            "wmma" if modifiers.first().is_some_and(|m| m == "mma") => Flow::Matrix,
            "wmma" | "ldmatrix" | "stmatrix" | "movmatrix" | "vote" | "match" | "redux" | "elect" => {
                Flow::Across
            }
            "bar" | "barrier" => Flow::Across,
            _ => Flow::Lanes,
        }
    }
}

/// How an instruction touches a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a source.
    Read,
    /// As the address of a memory access, or a choice of lanes: must be defined.
    Address,
    /// As a destination.
    Write,
}

impl Access {
    /// Whether the instruction needs what the register holds before it.
    pub fn reads(self) -> bool {
        self != Access::Write
    }
}

impl Use {
    /// The guard of an instruction.
    pub const GUARD: u8 = OPERANDS as u8;
    /// From here on `at` means element `at - LIST` of the instruction's register list, whose number is in `imm`.
    pub const LIST: u8 = 64;
}

/// One register that an instruction touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Which of [`Instr::r`] it is; see [`Use::GUARD`] and [`Use::LIST`] for more.
    pub at: u8,
    /// Its number; before allocation, the number of the virtual register.
    pub register: u32,
    /// How.
    pub access: Access,
    /// One register, two, or a predicate.
    pub width: super::Width,
}
