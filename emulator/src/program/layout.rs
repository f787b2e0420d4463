//! Where things are in a loaded module.

use super::instr::{Flow, Instr, Use};
use crate::{counters::Part, ptx::ast};
use std::{collections::HashMap, sync::Arc};

/// A loaded module.
pub struct Program {
    /// The instructions of all functions.
    pub code: Vec<Instr>,
    /// Registers that each instruction touches, for the checks.
    pub uses: Vec<Vec<Use>>,
    /// The PTX instructions that each instruction stands for, for the counters: none for a helper, several for a fused one.
    pub parts: Vec<Vec<Part>>,
    /// How values go through each instruction, for the checks.
    pub flows: Vec<Flow>,
    /// Where each instruction came from.
    pub lines: Vec<Line>,
    /// Kernels and device functions.
    pub functions: Vec<Function>,
    /// Numbers of `functions` by name.
    pub names: HashMap<String, usize>,
    /// Address and size of each `.global` and `.const` variable.
    pub variables: HashMap<String, (u64, u64)>,
    /// Address of the workspace of cooperative launches; 0 if no function asks for it.
    pub workspace: u64,
    /// Targets of `brx.idx`.
    pub tables: Vec<Vec<u32>>,
    /// Calls of device functions.
    pub calls: Vec<CallSite>,
    /// Register lists of instructions with more operands than [`Instr::r`] holds.
    pub lists: Vec<Vec<u16>>,
    /// The text of the module, line by line, for messages.
    pub text: Arc<Vec<String>>,
    /// Names of source files by number.
    pub files: HashMap<u32, String>,
    /// `.target`, 80 for `sm_80`.
    pub target: u32,
    /// `.version` as ten times the major number plus the minor.
    pub version: u32,
}

/// Where an instruction came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Line of the PTX text, from 1.
    pub ptx: u32,
    /// Line of the CUDA source, if the module says.
    pub source: Option<ast::Location>,
}

/// A kernel or device function.
#[derive(Debug, Clone, Default)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// A kernel.
    pub entry: bool,
    /// First instruction.
    pub start: u32,
    /// One past the last instruction.
    pub end: u32,
    /// 32-bit registers of a thread.
    pub registers: u16,
    /// Predicates of a thread.
    pub predicates: u16,
    /// Values that stand in registers throughout: (register, bits).
    pub constants: Vec<(u16, u32)>,
    /// 64-bit values that stand in registers throughout: (register, bits).
    pub wide_constants: Vec<(u16, u64)>,
    /// Predicates that stand in registers throughout: (register, value).
    pub constant_predicates: Vec<(u16, bool)>,
    /// 32-bit registers that some path may read before it writes them.
    pub undefined: Vec<u16>,
    /// Predicates that some path may read before it writes them.
    pub undefined_predicates: Vec<u16>,
    /// Bytes of local memory of a thread: `.local` variables, and the `.param` variables of calls.
    pub local: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
    /// Largest alignment of shared memory, static or dynamic.
    pub shared_align: u32,
    /// Parameters in order.
    pub params: Vec<Parameter>,
    /// Bytes of all parameters.
    pub param_bytes: u32,
    /// For device functions: where the returned values lie in its local memory.
    pub returns: Vec<Parameter>,
    /// `.maxntid` or `.reqntid`: threads a block at most, per dimension.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid` rather than `.maxntid`.
    pub exact_threads: bool,
    /// `.minnctapersm`.
    pub min_blocks: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// The function asks where the workspace of cooperative launches lies.
    pub reads_workspace: bool,
    /// The largest number of 32-bit registers whose values, constants aside, some instruction has still to read.
    pub pressure: u32,
}

/// A call: where the caller's frame holds the arguments, and where it wants the returned values.
#[derive(Debug, Clone, Default)]
pub struct CallSite {
    /// The function called; `None` for an indirect call, and for a function that the emulator supplies.
    pub function: Option<usize>,
    /// The name in the text.
    pub name: String,
    /// Offsets and sizes of the arguments.
    pub arguments: Vec<(u32, u32)>,
    /// Offsets and sizes of the returned values.
    pub results: Vec<(u32, u32)>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Offset in bytes: of kernels, in the parameter buffer; of device functions, in the local memory of the call.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl Function {
    /// Offset of dynamic shared memory: after the static, at the largest alignment of either.
    pub fn dynamic_shared(&self) -> u32 {
        align_up(self.shared, self.shared_align as usize)
    }
}

impl Program {
    /// The kernel of this name.
    pub fn kernel(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied().filter(|&i| self.functions[i].entry)
    }

    /// The function that an instruction belongs to.
    pub fn function_at(&self, pc: u32) -> Option<&Function> {
        self.functions.iter().find(|f| (f.start..f.end).contains(&pc))
    }
}

/// `offset` rounded up to a multiple of `align`.
pub fn align_up(offset: u32, align: usize) -> u32 {
    offset.next_multiple_of(align.max(1) as u32)
}
