//! Instructions whose registers are not allocated yet, and what passes over them ask.

use super::{Access, Flow, Instr, Use, layout::Line};
use crate::{counters::Part, ptx::ast};

/// An instruction whose registers are not allocated yet.
#[derive(Clone)]
pub(super) struct Draft {
    pub instr: Instr,
    pub uses: Vec<Use>,
    pub parts: Vec<Part>,
    pub idiom: Idiom,
    pub flow: Flow,
    pub line: Line,
}

/// What an instruction may be fused as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idiom {
    /// Nothing.
    #[default]
    None,
    /// `mov.b32 {low, high}, pair` of 16-bit registers.
    Unpack,
    /// `cvt.f32.f16`.
    Widen,
    /// Takes a half at a bit of a pair and widens it.
    WidenPart,
    /// Takes both halves of a pair and widens them.
    WidenPair,
    /// `fma.rn.f32`.
    Fma,
}

impl Idiom {
    /// The idiom that an instruction is part of.
    pub(super) fn of(source: &ast::Instruction) -> Idiom {
        let modifiers: Vec<&str> = source.modifiers.iter().map(String::as_str).collect();
        match (source.opcode.as_str(), &modifiers[..], source.operands.first()) {
            ("mov", ["b32"], Some(ast::Operand::Vector(parts))) if parts.len() == 2 => Idiom::Unpack,
            ("cvt", ["f32", "f16"], _) => Idiom::Widen,
            ("fma", ["rn", "f32"], _) => Idiom::Fma,
            _ => Idiom::None,
        }
    }
}

/// How often each register is read and written in a function.
pub(super) struct Counts {
    pub(super) reads: Vec<u32>,
    writes: Vec<u32>,
}

impl Counts {
    /// Whether a register is written once and read once: a value between two instructions.
    pub(super) fn between(&self, register: u32) -> bool {
        (self.reads[register as usize], self.writes[register as usize]) == (1, 1)
    }

    pub(super) fn of(drafts: &[Draft], registers: usize) -> Counts {
        let mut counts = Counts { reads: vec![0; registers], writes: vec![0; registers] };
        for u in drafts.iter().flat_map(|d| &d.uses) {
            match u.access {
                Access::Write => counts.writes[u.register as usize] += 1,
                _ => counts.reads[u.register as usize] += 1,
            }
        }
        counts
    }
}
