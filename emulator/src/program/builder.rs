//! What a family of instructions uses to lower one of its own: reads operands with their types checked, and records which
//! registers are read and written.

use super::instr::{Access, Exec, Instr, NONE, OPERANDS, Use};
use super::scope::FunctionScope;
use crate::{
    isa::Isa,
    ops,
    ptx::ast::{self, Operand, RegId, Type},
};

/// How much of the register file a value takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// A predicate: one bit a lane.
    Predicate,
    /// One register, for values of up to 32 bits. Narrower values have zeros above.
    Single,
    /// Two registers.
    Double,
}

impl Width {
    /// The width of a type.
    pub const fn of(ty: Type) -> Width {
        match ty.size() {
            0 => Width::Predicate,
            1..=4 => Width::Single,
            _ => Width::Double,
        }
    }
}

/// An instruction being lowered.
pub struct Builder<'a> {
    /// The instruction of the syntax tree.
    pub source: &'a ast::Instruction,
    /// The function and the module around it.
    pub scope: &'a mut FunctionScope,
    /// Which versions of handlers to pick.
    pub isa: Isa,
    uses: Vec<Use>,
    instr: Instr,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a ast::Instruction, scope: &'a mut FunctionScope, isa: Isa) -> Builder<'a> {
        Builder {
            source,
            scope,
            isa,
            uses: Vec::new(),
            instr: Instr::new(Exec::Control(super::Control::Exit)),
        }
    }

    /// The modifiers, joined by dots: `"rn.ftz.f32"`.
    pub fn modifiers(&self) -> String {
        self.source.modifiers.join(".")
    }

    /// The operand `i`, or an error that says how many there are.
    pub fn operand(&self, i: usize) -> Result<&'a Operand, String> {
        let operands = &self.source.operands;
        operands.get(i).ok_or_else(|| format!("has {} operands, expected at least {}", operands.len(), i + 1))
    }

    /// Demands exactly `n` operands.
    pub fn expect_operands(&self, n: usize) -> Result<(), String> {
        match self.source.operands.len() {
            found if found == n => Ok(()),
            found => Err(format!("has {found} operands, expected {n}")),
        }
    }

    /// Puts the source operand `operand` of type `ty` at `r[at]`: a register of that size, or a constant.
    pub fn source(&mut self, at: usize, operand: &Operand, ty: Type) -> Result<(), String> {
        self.read(at, operand, ty, Access::Read)
    }

    /// As [`Builder::source`], for values that must be defined: addresses, lane masks.
    pub fn address(&mut self, at: usize, operand: &Operand, ty: Type) -> Result<(), String> {
        self.read(at, operand, ty, Access::Address)
    }

    fn read(&mut self, at: usize, operand: &Operand, ty: Type, access: Access) -> Result<(), String> {
        let register = match operand {
            Operand::Register(id) => {
                self.check_type(*id, ty)?;
                id.0
            }
            Operand::Special(name) => {
                let value = self.scope.temporary(ty);
                self.before(|b| ops::special_register(b, &value, name, ty))?;
                let Operand::Register(id) = value else { unreachable!("a temporary is a register") };
                id.0
            }
            constant => {
                let bits = self.scope.constant(constant, ty)?;
                self.scope.constant_register(bits, Width::of(ty))
            }
        };
        self.note(at, register, access, Width::of(ty));
        Ok(())
    }

    /// Emits what `lower` makes before the instruction in hand.
    fn before(&mut self, lower: impl FnOnce(&mut Builder<'a>) -> Result<(), String>) -> Result<(), String> {
        let uses = std::mem::take(&mut self.uses);
        let instr = std::mem::replace(&mut self.instr, Instr::new(Exec::Control(super::Control::Exit)));
        lower(self)?;
        (self.uses, self.instr) = (uses, instr);
        Ok(())
    }

    /// Puts the destination operand `operand` of type `ty` at `r[at]`; `_` is a sink.
    pub fn destination(&mut self, at: usize, operand: &Operand, ty: Type) -> Result<(), String> {
        match operand {
            Operand::Sink => Ok(()),
            Operand::Register(id) => {
                self.check_type(*id, ty)?;
                self.note(at, id.0, Access::Write, Width::of(ty));
                Ok(())
            }
            other => Err(format!("destination {} is {other:?}, expected a register", at + 1)),
        }
    }

    /// The destination of an instruction that has no other effect: [`Builder::destination`] at `r[0]`, and not a sink.
    pub fn result(&mut self, operand: &Operand, ty: Type) -> Result<(), String> {
        if *operand == Operand::Sink {
            return Err("the destination is _, expected a register".into());
        }
        self.destination(0, operand, ty)
    }

    /// As [`Builder::source`] and [`Builder::destination`] for loads, stores and conversions, whose registers may be wider than the type:
    /// gives the width of the register.
    pub fn wide_source(&mut self, at: usize, operand: &Operand, ty: Type) -> Result<Width, String> {
        let ty = self.widened(operand, ty)?;
        self.source(at, operand, ty)?;
        Ok(Width::of(ty))
    }

    /// See [`Builder::wide_source`].
    pub fn wide_destination(&mut self, at: usize, operand: &Operand, ty: Type) -> Result<Width, String> {
        let ty = self.widened(operand, ty)?;
        self.destination(at, operand, ty)?;
        Ok(Width::of(ty))
    }

    /// The type of the register `operand` if it is an integer or untyped one wider than `ty`, else `ty`.
    fn widened(&self, operand: &Operand, ty: Type) -> Result<Type, String> {
        let Operand::Register(id) = operand else { return Ok(ty) };
        let declared = self.scope.register_type(*id);
        let wider = declared.size() > ty.size() && declared != Type::Pred && ty != Type::Pred;
        Ok(if wider { declared } else { ty })
    }

    /// Reads a predicate into `r[at]`; gives whether it is negated.
    pub fn predicate(&mut self, at: usize, operand: &Operand) -> Result<bool, String> {
        match operand {
            Operand::Negated(id) => self.source(at, &Operand::Register(*id), Type::Pred).map(|()| true),
            Operand::Register(_) => self.source(at, operand, Type::Pred).map(|()| false),
            // The compiler writes -1 for true.
            Operand::Integer(v @ -1..=1) => {
                let register =
                    self.scope.constant_register(if *v == 0 { 0 } else { u64::MAX }, Width::Predicate);
                self.note(at, register, Access::Read, Width::Predicate);
                Ok(false)
            }
            other => Err(format!("operand {other:?} is not a predicate")),
        }
    }

    fn check_type(&self, id: RegId, ty: Type) -> Result<(), String> {
        let declared = self.scope.register_type(id);
        if declared.size() == ty.size() && (declared == Type::Pred) == (ty == Type::Pred) {
            return Ok(());
        }
        Err(format!(
            "register {} has type {declared:?}, expected one of the size of {ty:?}",
            self.scope.register_name(id)
        ))
    }

    fn note(&mut self, at: usize, register: u32, access: Access, width: Width) {
        assert!(at <= OPERANDS || at >= Use::LIST as usize, "operand slot {at} of {OPERANDS}");
        self.uses.push(Use { at: at as u8, register, access, width });
    }

    /// The immediate of the instruction.
    pub fn set_imm(&mut self, imm: i64) {
        self.instr.imm = imm;
    }

    /// The small number that the handler wants.
    pub fn set_flags(&mut self, flags: u8) {
        self.instr.flags = flags;
    }

    /// The value of a constant operand (an immediate or the address of a symbol).
    pub fn immediate(&self, operand: &Operand, ty: Type) -> Result<u64, String> {
        self.scope.constant(operand, ty)
    }

    /// Emits the instruction with this meaning, and begins the next one with the same source.
    pub fn emit(&mut self, exec: Exec) -> Result<(), String> {
        let mut instr = std::mem::replace(&mut self.instr, Instr::new(exec));
        instr.exec = exec;
        if let Some((id, negate)) = self.source.guard {
            self.check_type(id, Type::Pred)?;
            self.note(Use::GUARD as usize, id.0, Access::Address, Width::Predicate);
            instr.negate = negate;
        }
        instr.guard = NONE;
        let uses = std::mem::take(&mut self.uses);
        self.scope.push(instr, uses, self.source);
        Ok(())
    }
}
