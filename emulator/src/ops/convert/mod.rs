//! cvt: the forms of one value. Packed results and formats of 8 bits are in [`packed`].
//!
//! A conversion is a chain of steps, mostly one: each is a function of one value, and what stands between goes through
//! temporaries. Registers may be wider than the types: sources are cut, results extended. Tests: `tests/alu/convert.rs`.

mod floats;
mod integers;
mod packed;

use super::{
    lanes::{op, unary},
    modifiers::{Modifiers, needs},
};
use crate::{
    numeric::{IntRound, Round},
    program::{Builder, Exec, LaneFn, Width},
    ptx::ast::{
        Operand,
        Type::{self, *},
    },
};

op!(LowHalf: (u64) -> u32 = |x| x as u32);

/// A function of one value, with its immediate and the type that it gives.
#[derive(Clone, Copy)]
struct Step {
    run: LaneFn,
    imm: i64,
    gives: Type,
}

/// The modifiers of a conversion.
#[derive(Clone, Copy, Default)]
struct Form {
    round: Option<Round>,
    integral: Option<IntRound>,
    ftz: bool,
    sat: bool,
    relu: bool,
    satfinite: bool,
}

impl Form {
    fn read(m: &mut Modifiers<'_>) -> Form {
        let integral = m.choose(&[
            ("rni", IntRound::Rni),
            ("rzi", IntRound::Rzi),
            ("rmi", IntRound::Rmi),
            ("rpi", IntRound::Rpi),
        ]);
        let round = if integral.is_none() { m.round() } else { None };
        let mut form =
            Form { round, integral, ftz: m.accept("ftz"), sat: m.accept("sat"), ..Form::default() };
        // `.relu.satfinite` to f16 and bf16, `.satfinite.relu` to others.
        form.relu = m.accept("relu");
        form.satfinite = m.accept("satfinite");
        form.relu |= form.satfinite && !form.relu && m.accept("relu");
        form
    }

    /// The name of the first modifier that a form without any of these does not have.
    fn refuse(self, allowed: &[&str]) -> Result<(), String> {
        let present = [
            ("rounding", self.round.is_some()),
            ("rounding to integers", self.integral.is_some()),
            ("ftz", self.ftz),
            ("sat", self.sat),
            ("relu", self.relu),
            ("satfinite", self.satfinite),
        ];
        match present.iter().find(|(name, present)| *present && !allowed.contains(name)) {
            Some((name, _)) => Err(format!("these types do not go with {name}")),
            None => Ok(()),
        }
    }
}

const TYPES: [Type; 12] = [U8, U16, U32, U64, S8, S16, S32, S64, F16, Bf16, F32, F64];

/// Lowers `cvt`.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    if packed::is_one(&b.source.modifiers) {
        return packed::lower(b);
    }
    let mut m = Modifiers::of(b);
    let form = Form::read(&mut m);
    let d = m.ty(&TYPES)?;
    let source = m.last_ty(&TYPES)?;
    b.expect_operands(2)?;
    let steps = steps(b, form, d, source)?;
    chain(b, source, &steps, d)
}

fn is_float(ty: Type) -> bool {
    matches!(ty, F16 | Bf16 | F32 | F64)
}

fn steps(b: &Builder<'_>, form: Form, d: Type, source: Type) -> Result<Vec<Step>, String> {
    if form.ftz && d != F32 && source != F32 {
        return Err("modifier .ftz is one of conversions from or to .f32".into());
    }
    target(b, form, d, source)?;
    match (is_float(source), is_float(d)) {
        (false, false) => integers::resize(b.isa, form, d, source),
        (true, false) => integers::from_float(b.isa, form, d, source),
        (false, true) => floats::from_integer(b.isa, form, d, source),
        (true, true) => floats::from_float(b.isa, form, d, source),
    }
}

/// Which compute capability has the conversion.
fn target(b: &Builder<'_>, form: Form, d: Type, source: Type) -> Result<(), String> {
    let old = matches!(form.round, Some(Round::Rn | Round::Rz)) && !form.ftz && !form.sat;
    if (d, source) == (Bf16, F32) && old || form.relu || form.satfinite {
        return needs(b, 80);
    }
    if d == Bf16 || source == Bf16 { needs(b, 90) } else { Ok(()) }
}

/// Emits the steps from operand 1, of type `source`, to operand 0, of type `d`.
fn chain(b: &mut Builder<'_>, source: Type, steps: &[Step], d: Type) -> Result<(), String> {
    let mut from = narrowed(b, b.operand(1)?, source)?;
    let mut ty = source;
    let extension = extension(b, b.operand(0)?, d)?;
    let all: Vec<Step> = steps.iter().copied().chain(extension).collect();
    for (i, step) in all.iter().enumerate() {
        let last = i + 1 == all.len();
        let to = if last { b.operand(0)?.clone() } else { b.scope.temporary(step.gives) };
        if last {
            if to == Operand::Sink {
                return Err("the destination is _, expected a register".into());
            }
            b.wide_destination(0, &to, step.gives)?;
        } else {
            b.destination(0, &to, step.gives)?;
        }
        b.wide_source(1, &from, ty)?;
        b.set_imm(step.imm);
        b.emit(Exec::Lanes(step.run))?;
        (from, ty) = (to, step.gives);
    }
    Ok(())
}

/// The source, from a register of 64 bits if need be cut to 32, in which handlers of narrower types look for it.
fn narrowed(b: &mut Builder<'_>, operand: &Operand, ty: Type) -> Result<Operand, String> {
    let Operand::Register(id) = operand else { return Ok(operand.clone()) };
    let declared = b.scope.register_type(*id);
    fits(b, operand, ty)?;
    if Width::of(declared) == Width::of(ty) {
        return Ok(operand.clone());
    }
    let low = b.scope.temporary(B32);
    b.destination(0, &low, B32)?;
    b.source(1, operand, B64)?;
    b.emit(Exec::Lanes(unary::<LowHalf>(b.isa)))?;
    Ok(low)
}

/// Refuses registers of floats that are wider than the type, and predicates.
fn fits(b: &Builder<'_>, operand: &Operand, ty: Type) -> Result<(), String> {
    let Operand::Register(id) = operand else { return Ok(()) };
    let declared = b.scope.register_type(*id);
    let float = matches!(declared, F16 | F16x2 | Bf16 | Bf16x2 | F32 | F64);
    if declared.size() == ty.size() && declared != Pred || declared.size() > ty.size() && !float {
        return Ok(());
    }
    Err(format!("register {} has type {declared:?}, expected one for {ty:?}", b.scope.register_name(*id)))
}

/// The step that fills a destination register wider than its type: with the sign, of signed integers, else with zeros.
fn extension(b: &Builder<'_>, operand: &Operand, ty: Type) -> Result<Option<Step>, String> {
    fits(b, operand, ty)?;
    let Operand::Register(id) = operand else { return Ok(None) };
    let size = b.scope.register_type(*id).size();
    let signed = matches!(ty, S8 | S16 | S32 | S64);
    // Values of up to 32 bits have zeros above them anyway.
    if size == ty.size() || (size <= 4 && !signed) {
        return Ok(None);
    }
    let bits = match (ty.size(), signed) {
        (1, false) => U8,
        (2, false) => U16,
        (4, false) => U32,
        _ => ty,
    };
    let wide = match size {
        2 => U16,
        4 => U32,
        _ => U64,
    };
    integers::resize(b.isa, Form::default(), wide, bits).map(|steps| steps.first().copied())
}
