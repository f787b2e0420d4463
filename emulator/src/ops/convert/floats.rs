//! Conversions to floats.

use super::{
    Form, Step,
    integers::{Whole, immediate, integral, whole},
};
use crate::{
    isa::Isa,
    numeric::{Round, bf16, cvt, double, half, single},
    ops::{
        float::{directed, rounding},
        lanes::{op, plain, unary},
    },
    program::LaneFn,
    ptx::ast::Type::{self, *},
};

op!(IntToF32Nearest<I: Whole>: (I) -> f32 = |x| cvt::int_to_f32(x, Round::Rn));
// The immediate of these and all below holds the rounding, where there is one.
op!(IntToF32<I: Whole>: (I) -> f32 = |x; imm| cvt::int_to_f32(x, directed(imm)));
op!(IntToF64<I: Whole>: (I) -> f64 = |x; imm| cvt::int_to_f64(x, round(imm)));
op!(IntToF16<I: Whole>: (I) -> u16 = |x; imm| cvt::int_to_f16(x, round(imm)));
op!(IntToBf16<I: Whole>: (I) -> u16 = |x; imm| cvt::int_to_bf16(x, round(imm)));

op!(F16ToF32: (u16) -> f32 = |x| half::to_f32(x));
op!(F16ToF64: (u16) -> f64 = |x| half::to_f64(x));
op!(F16ToBf16: (u16) -> u16 = |x; imm| bf16::from_f64(half::to_f64(x), round(imm)));
op!(Bf16ToF32: (u16) -> f32 = |x| bf16::to_f32(x));
op!(Bf16ToF64: (u16) -> f64 = |x| bf16::to_f64(x));
op!(Bf16ToF16: (u16) -> u16 = |x; imm| half::from_f64(bf16::to_f64(x), round(imm)));
op!(F32ToF64: (f32) -> f64 = |x| cvt::f32_to_f64(x));
op!(F32ToF16Nearest: (f32) -> u16 = |x| half::from_f32(x));
op!(F32ToF16: (f32) -> u16 = |x; imm| cvt::f32_to_f16(x, directed(imm)));
op!(F32ToBf16Nearest: (f32) -> u16 = |x| bf16::from_f32(x));
op!(F32ToBf16: (f32) -> u16 = |x; imm| cvt::f32_to_bf16(x, directed(imm)));
op!(F64ToF32Nearest: (f64) -> f32 = |x| single::narrow(x, Round::Rn));
op!(F64ToF32: (f64) -> f32 = |x; imm| single::narrow(x, directed(imm)));
op!(F64ToF16: (f64) -> u16 = |x; imm| half::from_f64(x, round(imm)));
op!(F64ToBf16: (f64) -> u16 = |x; imm| bf16::from_f64(x, round(imm)));

op!(RoundF16: (u16) -> u16 = |x; imm| cvt::round_f16(x, integral(imm)));
op!(RoundBf16: (u16) -> u16 = |x; imm| cvt::round_bf16(x, integral(imm)));
op!(RoundF32: (f32) -> f32 = |x; imm| cvt::round_f32(x, integral(imm)));
op!(RoundF64: (f64) -> f64 = |x; imm| cvt::round_f64(x, integral(imm)));

op!(CopyF16: (u16) -> u16 = |x| half::from_f32(half::to_f32(x)));
op!(CopyBf16: (u16) -> u16 = |x| bf16::from_f32(bf16::to_f32(x)));
op!(CopyF32: (f32) -> f32 = |x| single::canonical(x));
op!(CopyF64: (f64) -> f64 = |x| double::canonical(x));

op!(FtzF32: (f32) -> f32 = |x| single::ftz(x));
op!(SatF16: (u16) -> u16 = |x| half::sat(x));
op!(SatBf16: (u16) -> u16 = |x| bf16::sat(x));
op!(SatF32: (f32) -> f32 = |x| single::sat(x));
op!(SatF64: (f64) -> f64 = |x| double::sat(x));
op!(ReluF16: (u16) -> u16 = |x| half::relu(x));
op!(ReluBf16: (u16) -> u16 = |x| bf16::relu(x));
op!(SatfiniteF16: (u16) -> u16 = |x| half::satfinite(x));
op!(SatfiniteBf16: (u16) -> u16 = |x| bf16::satfinite(x));

/// The rounding that an immediate stands for.
#[inline(always)]
fn round(imm: i64) -> Round {
    if imm == 0 { Round::Rn } else { directed(imm) }
}

const NO_ROUNDING: &str = "has no rounding, expected one of .rn .rz .rm .rp";

/// From integers.
pub(super) fn from_integer(isa: Isa, form: Form, d: Type, source: Type) -> Result<Vec<Step>, String> {
    form.refuse(&["rounding", "ftz", "sat"])?;
    let round = form.round.ok_or(NO_ROUNDING)?;
    let run = match (d, round) {
        (F16, _) => whole!(source, IntToF16, isa),
        (Bf16, _) => whole!(source, IntToBf16, isa),
        (F32, Round::Rn) => whole!(source, IntToF32Nearest, isa),
        (F32, _) => whole!(source, IntToF32, isa),
        _ => whole!(source, IntToF64, isa),
    };
    // No integer gives a subnormal number, so `.ftz` has nothing to do.
    let mut steps = vec![Step { run, imm: rounding(round), gives: d }];
    steps.extend(saturation(isa, form, d));
    Ok(steps)
}

/// Between floats.
pub(super) fn from_float(isa: Isa, form: Form, d: Type, source: Type) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    if form.ftz && source == F32 {
        steps.push(Step { run: plain::unary::<FtzF32>(isa), imm: 0, gives: F32 });
    }
    if d == source {
        form.refuse(&["rounding to integers", "ftz", "sat"])?;
        // What comes after makes NaN canonical, too.
        if form.integral.is_some() || !(form.sat || form.ftz && d == F32) {
            steps.push(same(isa, form, d));
        } else if form.ftz && !form.sat {
            steps.push(Step { run: unary::<CopyF32>(isa), imm: 0, gives: F32 });
        }
    } else {
        steps.push(across(isa, form, d, source)?);
        if form.ftz && d == F32 {
            steps.push(Step { run: plain::unary::<FtzF32>(isa), imm: 0, gives: F32 });
        }
    }
    steps.extend(saturation(isa, form, d));
    steps.extend(last(isa, form, d));
    Ok(steps)
}

/// From a type to itself: to integral values, or the value itself.
fn same(isa: Isa, form: Form, ty: Type) -> Step {
    let run = match (ty, form.integral.is_some()) {
        (F16, true) => plain::unary::<RoundF16>(isa),
        (F16, false) => plain::unary::<CopyF16>(isa),
        (Bf16, true) => plain::unary::<RoundBf16>(isa),
        (Bf16, false) => plain::unary::<CopyBf16>(isa),
        (F32, true) => unary::<RoundF32>(isa),
        (F32, false) => unary::<CopyF32>(isa),
        (_, true) => plain::unary::<RoundF64>(isa),
        (_, false) => plain::unary::<CopyF64>(isa),
    };
    Step { run, imm: form.integral.map_or(0, immediate), gives: ty }
}

/// From one type to another: wider ones hold every value, others are rounded to.
fn across(isa: Isa, form: Form, d: Type, source: Type) -> Result<Step, String> {
    let wider = d.size() > source.size();
    match (wider, form.relu || form.satfinite) {
        (true, _) => form.refuse(&["ftz", "sat"])?,
        (false, false) => form.refuse(&["rounding", "ftz", "sat"])?,
        (false, true) => {
            form.refuse(&["rounding", "relu", "satfinite"])?;
            if source != F32 || !matches!(form.round, Some(Round::Rn | Round::Rz)) {
                return Err("modifiers .relu and .satfinite go with .rn and .rz from .f32".into());
            }
        }
    }
    let round = if wider { Round::Rn } else { form.round.ok_or(NO_ROUNDING)? };
    let run: LaneFn = match (source, d, round) {
        (F16, Bf16, _) => plain::unary::<F16ToBf16>(isa),
        (F16, F32, _) => unary::<F16ToF32>(isa),
        (F16, _, _) => plain::unary::<F16ToF64>(isa),
        (Bf16, F16, _) => plain::unary::<Bf16ToF16>(isa),
        (Bf16, F32, _) => unary::<Bf16ToF32>(isa),
        (Bf16, _, _) => plain::unary::<Bf16ToF64>(isa),
        (F32, F64, _) => plain::unary::<F32ToF64>(isa),
        (F32, F16, Round::Rn) => unary::<F32ToF16Nearest>(isa),
        (F32, F16, _) => plain::unary::<F32ToF16>(isa),
        (F32, _, Round::Rn) => unary::<F32ToBf16Nearest>(isa),
        (F32, _, _) => plain::unary::<F32ToBf16>(isa),
        (_, F16, _) => plain::unary::<F64ToF16>(isa),
        (_, Bf16, _) => plain::unary::<F64ToBf16>(isa),
        (_, _, Round::Rn) => plain::unary::<F64ToF32Nearest>(isa),
        (_, _, _) => plain::unary::<F64ToF32>(isa),
    };
    Ok(Step { run, imm: rounding(round), gives: d })
}

/// `.sat`.
fn saturation(isa: Isa, form: Form, d: Type) -> Option<Step> {
    let run = match d {
        F16 => plain::unary::<SatF16>(isa),
        Bf16 => plain::unary::<SatBf16>(isa),
        F32 => plain::unary::<SatF32>(isa),
        _ => plain::unary::<SatF64>(isa),
    };
    form.sat.then_some(Step { run, imm: 0, gives: d })
}

/// `.satfinite` and `.relu`, which only conversions to f16 and bf16 have here.
fn last(isa: Isa, form: Form, d: Type) -> impl Iterator<Item = Step> {
    let (relu, satfinite): (LaneFn, LaneFn) = match d {
        F16 => (plain::unary::<ReluF16>(isa), plain::unary::<SatfiniteF16>(isa)),
        _ => (plain::unary::<ReluBf16>(isa), plain::unary::<SatfiniteBf16>(isa)),
    };
    let steps = [(form.satfinite, satfinite), (form.relu, relu)];
    steps.into_iter().filter(|(asked, _)| *asked).map(move |(_, run)| Step { run, imm: 0, gives: d })
}
