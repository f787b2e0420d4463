//! What stops a launch.

use super::Launch;
use crate::{program::Program, ptx::ast::Location};
use std::fmt;

/// The kind of a fault: which error the driver reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// An access outside every allocation.
    IllegalAddress,
    /// An address that is not a multiple of the access size.
    MisalignedAddress,
    /// An address of another space than the instruction's.
    InvalidAddressSpace,
    /// A jump to what is not code.
    InvalidPc,
    /// An instruction that the hardware would not execute.
    IllegalInstruction,
    /// `trap`, and whatever else hardware reports as a failed launch.
    LaunchFailed,
    /// A failed device assertion.
    Assert,
    /// No progress.
    Timeout,
    /// A finding of the checks where hardware would go on.
    Finding,
}

/// A thread at an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Where {
    /// The kernel's name.
    pub kernel: String,
    /// `%ctaid`.
    pub block: [u32; 3],
    /// `%tid`.
    pub thread: [u32; 3],
    /// Line of the PTX text, from 1; 0 if not known.
    pub line: u32,
    /// That line.
    pub text: String,
    /// `file:line` of the CUDA source, if the module says.
    pub source: Option<String>,
}

impl Where {
    /// The thread of this number in a block, at the instruction `pc`.
    pub fn new(program: &Program, launch: &Launch, block: [u32; 3], thread: u32, pc: u32) -> Where {
        let [x, y, _] = launch.block;
        let line = program.lines.get(pc as usize).copied();
        let ptx = line.map_or(0, |l| l.ptx);
        let file = |l: Location| program.files.get(&l.file).map(|f| format!("{f}:{}", l.line));
        Where {
            kernel: program.functions[launch.kernel].name.clone(),
            block,
            thread: [thread % x, thread / x % y, thread / x / y],
            line: ptx,
            text: program
                .text
                .get((ptx as usize).wrapping_sub(1))
                .map(|l| l.trim().to_string())
                .unwrap_or_default(),
            source: line.and_then(|l| l.source).and_then(file),
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(
            f,
            "kernel {}, block ({bx},{by},{bz}), thread ({tx},{ty},{tz}), PTX line {}: {}",
            self.kernel, self.line, self.text
        )?;
        match &self.source {
            Some(source) => write!(f, " [{source}]"),
            None => Ok(()),
        }
    }
}

/// Why a launch stopped. Boxed, because almost every handler returns a result that holds none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Details>);

/// The contents of a [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The kind.
    pub kind: FaultKind,
    /// What happened, with the numbers.
    pub message: String,
    /// The lane that it happened in, within its warp; the interpreter fills in the place from it.
    pub lane: u32,
    /// Where.
    pub place: Where,
}

impl Fault {
    /// A fault of one lane.
    pub fn new(kind: FaultKind, lane: u32, message: impl Into<String>) -> Fault {
        Fault(Box::new(Details { kind, message: message.into(), lane, place: Where::default() }))
    }
}

impl std::ops::Deref for Fault {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl std::ops::DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.place)
    }
}

impl std::error::Error for Fault {}
