//! Conversions to pairs of f16 and bf16, to tf32, and to and from pairs of 8-bit floats.

use super::{Form, Step};
use crate::{
    isa::Isa,
    numeric::{Round, bf16, cvt, fp8, half, tf32},
    ops::{
        compose::Pair,
        float::{directed, rounding},
        lanes::{binary, op, plain, unary},
        modifiers::{Modifiers, needs},
    },
    program::{Builder, Exec, LaneFn},
    ptx::ast::Type::{self, *},
};

// In all of these `a` goes to the high half, `b` to the low one. The immediate holds the rounding, if not to nearest.
op!(ToF16x2: (f32, f32) -> u32 = |a, b| cvt::f32_to_f16x2(a, b, Round::Rn));
op!(ToF16x2Directed: (f32, f32) -> u32 = |a, b; imm| cvt::f32_to_f16x2(a, b, directed(imm)));
op!(ToBf16x2: (f32, f32) -> u32 = |a, b| cvt::f32_to_bf16x2(a, b, Round::Rn));
op!(ToBf16x2Directed: (f32, f32) -> u32 = |a, b; imm| cvt::f32_to_bf16x2(a, b, directed(imm)));
op!(ReluF16: (u16) -> u16 = |x| half::relu(x));
op!(ReluBf16: (u16) -> u16 = |x| bf16::relu(x));
op!(SatfiniteF16: (u16) -> u16 = |x| half::satfinite(x));
op!(SatfiniteBf16: (u16) -> u16 = |x| bf16::satfinite(x));

op!(ToE4m3: (f32, f32) -> u16 = |a, b| fp8::pack_f32(a, b, fp8::e4m3_from_f32));
op!(ToE5m2: (f32, f32) -> u16 = |a, b| fp8::pack_f32(a, b, fp8::e5m2_from_f32));
op!(HalvesToE4m3: (u32) -> u16 = |x| fp8::pack_f16x2(x, fp8::e4m3_from_f32));
op!(HalvesToE5m2: (u32) -> u16 = |x| fp8::pack_f16x2(x, fp8::e5m2_from_f32));
op!(ReluBytes: (u16) -> u16 = |x| u16::from_le_bytes(x.to_le_bytes().map(fp8::relu)));
op!(FromE4m3: (u16) -> u32 = |x| fp8::unpack(x, fp8::e4m3_to_f16));
op!(FromE5m2: (u16) -> u32 = |x| fp8::unpack(x, fp8::e5m2_to_f16));

op!(ToTf32Away: (f32) -> f32 = |x| tf32::from_f32_rna(x));
op!(ToTf32: (f32) -> f32 = |x| tf32::from_f32_rn(x));
op!(ToTf32Zero: (f32) -> f32 = |x| tf32::from_f32_rz(x));
op!(ReluTf32: (f32) -> f32 = |x| tf32::relu(x));
op!(SatfiniteTf32: (f32) -> f32 = |x| tf32::satfinite(x));

/// A type that only this file knows.
#[derive(Clone, Copy, PartialEq)]
enum Packed {
    F16x2,
    Bf16x2,
    E4m3x2,
    E5m2x2,
    Tf32,
    F32,
}

const TYPES: [(&str, Packed); 6] = [
    ("f16x2", Packed::F16x2),
    ("bf16x2", Packed::Bf16x2),
    ("e4m3x2", Packed::E4m3x2),
    ("e5m2x2", Packed::E5m2x2),
    ("tf32", Packed::Tf32),
    ("f32", Packed::F32),
];

/// Whether these are the modifiers of a conversion in this file.
pub(super) fn is_one(modifiers: &[String]) -> bool {
    let types = modifiers.len().saturating_sub(2);
    modifiers[types..].iter().any(|word| TYPES[..5].iter().any(|(name, _)| name == word))
}

/// Lowers one of them.
pub(super) fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let mut m = Modifiers::of(b);
    let away = m.accept("rna");
    let form =
        if away { Form { satfinite: m.accept("satfinite"), ..Form::default() } } else { Form::read(&mut m) };
    let (d, source) = (m.require(&TYPES)?, m.require(&TYPES)?);
    m.end()?;
    match (d, source) {
        (Packed::Tf32, Packed::F32) => to_tf32(b, form, away),
        _ if away => Err("rounding .rna is one to .tf32".into()),
        (Packed::F16x2 | Packed::Bf16x2, Packed::F32) => to_halves(b, form, d == Packed::Bf16x2),
        (Packed::E4m3x2 | Packed::E5m2x2, Packed::F32 | Packed::F16x2) => {
            to_bytes(b, form, d == Packed::E5m2x2, source == Packed::F16x2)
        }
        (Packed::F16x2, Packed::E4m3x2 | Packed::E5m2x2) => from_bytes(b, form, source == Packed::E5m2x2),
        _ => Err("there is no conversion between these types".into()),
    }
}

fn nearest(form: Form) -> Result<(), String> {
    if form.round == Some(Round::Rn) { Ok(()) } else { Err("does not round with .rn".into()) }
}

fn to_halves(b: &mut Builder<'_>, form: Form, bf16: bool) -> Result<(), String> {
    form.refuse(&["rounding", "relu", "satfinite"])?;
    needs(b, 80)?;
    let isa = b.isa;
    let run = match (form.round, bf16) {
        (Some(Round::Rn), false) => binary::<ToF16x2>(isa),
        (Some(Round::Rn), true) => binary::<ToBf16x2>(isa),
        (Some(Round::Rz), false) => plain::binary::<ToF16x2Directed>(isa),
        (Some(Round::Rz), true) => plain::binary::<ToBf16x2Directed>(isa),
        _ => return Err("has no rounding .rn or .rz".into()),
    };
    let (relu, satfinite) = if bf16 {
        (plain::unary::<Pair<ReluBf16>>(isa), plain::unary::<Pair<SatfiniteBf16>>(isa))
    } else {
        (plain::unary::<Pair<ReluF16>>(isa), plain::unary::<Pair<SatfiniteF16>>(isa))
    };
    let imm = form.round.map_or(0, rounding);
    let last = [(form.satfinite, satfinite), (form.relu, relu)];
    emit(b, Step { run, imm, gives: B32 }, &[F32, F32], &last)
}

fn to_bytes(b: &mut Builder<'_>, form: Form, e5m2: bool, halves: bool) -> Result<(), String> {
    form.refuse(&["rounding", "relu", "satfinite"])?;
    nearest(form)?;
    if !form.satfinite {
        return Err("has no modifier .satfinite".into());
    }
    needs(b, 89)?;
    let isa = b.isa;
    let (run, sources): (LaneFn, &[Type]) = match (halves, e5m2) {
        (false, false) => (binary::<ToE4m3>(isa), &[F32, F32]),
        (false, true) => (binary::<ToE5m2>(isa), &[F32, F32]),
        (true, false) => (plain::unary::<HalvesToE4m3>(isa), &[F16x2]),
        (true, true) => (plain::unary::<HalvesToE5m2>(isa), &[F16x2]),
    };
    emit(b, Step { run, imm: 0, gives: B16 }, sources, &[(form.relu, plain::unary::<ReluBytes>(isa))])
}

fn from_bytes(b: &mut Builder<'_>, form: Form, e5m2: bool) -> Result<(), String> {
    form.refuse(&["rounding", "relu"])?;
    nearest(form)?;
    needs(b, 89)?;
    let isa: Isa = b.isa;
    let run = if e5m2 { unary::<FromE5m2>(isa) } else { unary::<FromE4m3>(isa) };
    emit(b, Step { run, imm: 0, gives: B32 }, &[B16], &[(form.relu, plain::unary::<Pair<ReluF16>>(isa))])
}

fn to_tf32(b: &mut Builder<'_>, form: Form, away: bool) -> Result<(), String> {
    form.refuse(&["rounding", "relu", "satfinite"])?;
    let isa = b.isa;
    let run = match form.round {
        None if away => unary::<ToTf32Away>(isa),
        Some(Round::Rn) => unary::<ToTf32>(isa),
        Some(Round::Rz) => unary::<ToTf32Zero>(isa),
        _ => return Err("has no rounding .rn, .rz or .rna".into()),
    };
    needs(
        b,
        if away {
            80
        } else if form.satfinite {
            100
        } else {
            90
        },
    )?;
    let last =
        [(form.satfinite, plain::unary::<SatfiniteTf32>(isa)), (form.relu, plain::unary::<ReluTf32>(isa))];
    emit(b, Step { run, imm: 0, gives: B32 }, &[F32], &last)
}

/// Emits the conversion, and on its result those of the functions of `last` that are asked for.
fn emit(b: &mut Builder<'_>, first: Step, sources: &[Type], last: &[(bool, LaneFn)]) -> Result<(), String> {
    b.expect_operands(1 + sources.len())?;
    let d = b.operand(0)?;
    let last: Vec<LaneFn> = last.iter().filter(|(asked, _)| *asked).map(|&(_, run)| run).collect();
    let mut to = if last.is_empty() { d.clone() } else { b.scope.temporary(first.gives) };
    b.result(&to, first.gives)?;
    for (i, &ty) in sources.iter().enumerate() {
        b.source(1 + i, b.operand(1 + i)?, ty)?;
    }
    b.set_imm(first.imm);
    b.emit(Exec::Lanes(first.run))?;
    for (i, &run) in last.iter().enumerate() {
        let from = to;
        to = if i + 1 == last.len() { d.clone() } else { b.scope.temporary(first.gives) };
        b.result(&to, first.gives)?;
        b.source(1, &from, first.gives)?;
        b.emit(Exec::Lanes(run))?;
    }
    Ok(())
}
