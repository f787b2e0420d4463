//! What is known while a function is lowered.

use super::{
    Flow, Instr, Use, Width,
    draft::{Draft, Idiom},
    layout::{CallSite, Line},
    place::Place,
};
use crate::{
    memory::FUNCTION_BASE,
    ptx::ast::{self, Operand, RegId, Type},
};
use std::collections::HashMap;

/// A function being lowered, and what the module knows.
pub struct FunctionScope {
    /// Symbols of the module and of the function.
    pub places: HashMap<String, Place>,
    /// Numbers of the module's functions.
    pub functions: HashMap<String, usize>,
    /// Compute capability that the module was compiled for.
    pub target: u32,
    /// Compute capability of the device.
    pub arch: u32,
    /// Errors within the documented bounds for approximate instructions, from this seed; without it they round to nearest.
    pub jitter: Option<u64>,
    /// Labels, `.branchtargets` and prototypes of the function.
    pub labels: HashMap<String, usize>,
    /// Lists of branch targets by label.
    pub targets: HashMap<String, Vec<String>>,
    /// Prototypes of indirect calls.
    pub prototypes: HashMap<String, (Vec<ast::Variable>, Vec<ast::Variable>)>,
    /// Sizes of the function's `.param` variables.
    pub param_sizes: HashMap<String, u32>,
    /// Whether the function is a kernel.
    pub entry: bool,
    /// Whether the function asks where the workspace of cooperative launches lies.
    pub reads_workspace: bool,
    /// Tables of `brx.idx`, as indices into the function's syntax tree.
    pub tables: Vec<Vec<u32>>,
    /// Calls.
    pub calls: Vec<CallSite>,
    /// Register lists of large instructions, as virtual registers.
    pub lists: Vec<Vec<u16>>,
    pub(super) carry: Option<RegId>,
    pub(super) registers: Vec<ast::Register>,
    pub(super) constants: HashMap<(u64, Width), u32>,
    pub(super) drafts: Vec<Draft>,
}

impl FunctionScope {
    /// The type of a register.
    pub fn register_type(&self, id: RegId) -> Type {
        self.registers[id.0 as usize].ty
    }

    /// The name of a register.
    pub fn register_name(&self, id: RegId) -> &str {
        &self.registers[id.0 as usize].name
    }

    /// A new register for a value between two instructions of one lowering.
    pub fn temporary(&mut self, ty: Type) -> Operand {
        let id = RegId(self.registers.len() as u32);
        self.registers.push(ast::Register { name: format!("temporary {}", id.0), ty });
        Operand::Register(id)
    }

    /// The carry flag of the function.
    pub fn carry(&mut self) -> Operand {
        let id = self.carry.unwrap_or(RegId(self.registers.len() as u32));
        if self.carry.replace(id).is_none() {
            self.registers.push(ast::Register { name: "the carry flag".into(), ty: Type::Pred });
        }
        Operand::Register(id)
    }

    /// The bits of a constant operand as a value of type `ty`.
    pub fn constant(&self, operand: &Operand, ty: Type) -> Result<u64, String> {
        let mask = |bits: u64| if ty.size() >= 8 { bits } else { bits & ((1 << (8 * ty.size())) - 1) };
        match operand {
            Operand::Integer(_) if matches!(ty, Type::F32 | Type::F64) => {
                Err(format!("operand {operand:?} is an integer, expected {ty:?}"))
            }
            Operand::Integer(v) => Ok(mask(*v as u64)),
            Operand::F32(bits) if ty == Type::F64 => Ok(f64::from(f32::from_bits(*bits)).to_bits()),
            Operand::F32(bits) => Ok(mask(u64::from(*bits))),
            Operand::F64(bits) if ty == Type::F32 => Ok(u64::from((f64::from_bits(*bits) as f32).to_bits())),
            Operand::F64(bits) if ty.size() == 8 => Ok(*bits),
            Operand::Symbol(name, offset) => self.symbol(name, *offset),
            other => Err(format!("operand {other:?} is not a register or a constant of type {ty:?}")),
        }
    }

    fn symbol(&self, name: &str, offset: i64) -> Result<u64, String> {
        if let Some(&f) = self.functions.get(name) {
            return Ok(FUNCTION_BASE + f as u64);
        }
        match self.places.get(name) {
            Some(Place::Address(a)) => Ok(a.wrapping_add_signed(offset)),
            Some(Place::Shared(a) | Place::Kernel(a)) => Ok(u64::from(*a).wrapping_add_signed(offset)),
            Some(Place::Frame(_)) => {
                Err(format!("the address of {name} in local memory can be taken by mov only"))
            }
            None => Err(format!("unknown name {name}")),
        }
    }

    /// The virtual register that holds a constant.
    pub fn constant_register(&mut self, bits: u64, width: Width) -> u32 {
        let next = self.registers.len() as u32;
        let id = *self.constants.entry((bits, width)).or_insert(next);
        if id == next {
            let ty = match width {
                Width::Predicate => Type::Pred,
                Width::Single => Type::B32,
                Width::Double => Type::B64,
            };
            self.registers.push(ast::Register { name: format!("constant {bits}"), ty });
        }
        id
    }

    /// The index of a label in the syntax tree.
    pub fn label(&self, name: &str) -> Result<usize, String> {
        self.labels.get(name).copied().ok_or_else(|| format!("unknown label {name}"))
    }

    pub(super) fn push(&mut self, instr: Instr, uses: Vec<Use>, source: &ast::Instruction) {
        let line = Line { ptx: source.line, source: source.location };
        let flow = Flow::of(&source.opcode, &source.modifiers);
        self.drafts.push(Draft { instr, uses, parts: Vec::new(), idiom: Idiom::None, flow, line });
    }
}
