//! Division, roots and transcendental functions, exact (`.rn` and the directed modes) and approximate.
//!
//! Which of the results within the documented bounds an approximation gives is in the immediate: see `approx_of`.
//! Tests: `tests/alu/approximate.rs`.

use super::{
    elementwise::elementwise,
    float::{directed, flushed_binary, flushed_costly, flushed_unary, rounding},
    half::both1,
    lanes::{op, plain},
    modifiers::{Modifiers, needs},
};
use crate::{
    isa::Isa,
    numeric::{Approx, Round, approx, double, single},
    program::{Builder, LaneFn},
    ptx::ast::Type::*,
};

op!(Div32: (f32, f32) -> f32 = |a, b| single::div(a, b, Round::Rn));
op!(Rcp32: (f32) -> f32 = |x| single::rcp(x, Round::Rn));
op!(Sqrt32: (f32) -> f32 = |x| single::sqrt(x, Round::Rn));
op!(Div64: (f64, f64) -> f64 = |a, b| double::div(a, b, Round::Rn));
op!(Rcp64: (f64) -> f64 = |x| double::rcp(x, Round::Rn));
op!(Sqrt64: (f64) -> f64 = |x| double::sqrt(x, Round::Rn));
op!(Div32Directed: (f32, f32) -> f32 = |a, b; imm| single::div(a, b, directed(imm)));
op!(Rcp32Directed: (f32) -> f32 = |x; imm| single::rcp(x, directed(imm)));
op!(Sqrt32Directed: (f32) -> f32 = |x; imm| single::sqrt(x, directed(imm)));
op!(Div64Directed: (f64, f64) -> f64 = |a, b; imm| double::div(a, b, directed(imm)));
op!(Rcp64Directed: (f64) -> f64 = |x; imm| double::rcp(x, directed(imm)));
op!(Sqrt64Directed: (f64) -> f64 = |x; imm| double::sqrt(x, directed(imm)));

op!(DivApprox: (f32, f32) -> f32 = |a, b; imm| approx::div(a, b, approx_of(imm)));
op!(DivFull: (f32, f32) -> f32 = |a, b; imm| approx::div_full(a, b, approx_of(imm)));
op!(RcpApprox: (f32) -> f32 = |x; imm| approx::rcp(x, approx_of(imm)));
op!(SqrtApprox: (f32) -> f32 = |x; imm| approx::sqrt(x, approx_of(imm)));
op!(RsqrtApprox: (f32) -> f32 = |x; imm| approx::rsqrt(x, approx_of(imm)));
op!(SinApprox: (f32) -> f32 = |x; imm| approx::sin(x, approx_of(imm)));
op!(CosApprox: (f32) -> f32 = |x; imm| approx::cos(x, approx_of(imm)));
op!(Lg2Approx: (f32) -> f32 = |x; imm| approx::lg2(x, approx_of(imm)));
op!(Ex2Approx: (f32) -> f32 = |x; imm| approx::ex2(x, approx_of(imm)));
op!(TanhApprox: (f32) -> f32 = |x; imm| approx::tanh(x, approx_of(imm)));
op!(RcpGross: (f64) -> f64 = |x; imm| approx::rcp_ftz_f64(x, approx_of(imm)));
op!(RsqrtGross: (f64) -> f64 = |x; imm| approx::rsqrt_ftz_f64(x, approx_of(imm)));
op!(Rsqrt64: (f64) -> f64 = |x; imm| approx::rsqrt_f64(x, approx_of(imm)));
op!(Ex2F16: (u16) -> u16 = |x; imm| approx::ex2_f16(x, approx_of(imm)));
op!(Ex2Bf16: (u16) -> u16 = |x; imm| approx::ex2_ftz_bf16(x, approx_of(imm)));
op!(TanhF16: (u16) -> u16 = |x; imm| approx::tanh_f16(x, approx_of(imm)));
op!(TanhBf16: (u16) -> u16 = |x; imm| approx::tanh_bf16(x, approx_of(imm)));

/// The immediate that stands for nearest results (0) or a seed (one more; the two largest seeds are one).
fn choice(b: &Builder<'_>) -> i64 {
    b.scope.jitter.map_or(0, |seed| seed.saturating_add(1).cast_signed())
}

#[inline(always)]
fn approx_of(imm: i64) -> Approx {
    match imm {
        0 => Approx::Nearest,
        n => Approx::Jitter(n.cast_unsigned().wrapping_sub(1)),
    }
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    match b.source.opcode.as_str() {
        "div" | "rcp" | "sqrt" => quotient(b),
        "rsqrt" => inverse_root(b),
        "sin" | "cos" | "lg2" => {
            let mut m = Modifiers::of(b);
            m.require(&[("approx", ())])?;
            let ftz = m.accept("ftz");
            m.last_ty(&[F32])?;
            let run = match b.source.opcode.as_str() {
                "sin" => flushed_costly::<SinApprox>(ftz),
                "cos" => flushed_costly::<CosApprox>(ftz),
                _ => flushed_costly::<Lg2Approx>(ftz),
            };
            b.set_imm(choice(b));
            elementwise(b, run, F32, &[F32])
        }
        "ex2" => exponential(b),
        "tanh" => hyperbolic_tangent(b),
        _ => Err("unknown instruction".into()),
    }
}

/// `div`, `rcp` and `sqrt`, which must say how they round or that they approximate.
fn quotient(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    let opcode = b.source.opcode.as_str();
    let sources = if opcode == "div" { 2 } else { 1 };
    let Some(round) = m.round() else {
        return approximate_quotient(b, m, sources);
    };
    let ftz = m.accept("ftz");
    let ty = m.last_ty(if ftz { &[F32] } else { &[F32, F64] })?;
    let run = match (ty, opcode, round) {
        (F32, "div", Round::Rn) => flushed_binary::<Div32>(isa, ftz),
        (F32, "div", _) => flushed_binary::<Div32Directed>(isa, ftz),
        (F32, "rcp", Round::Rn) => flushed_unary::<Rcp32>(isa, ftz),
        (F32, "rcp", _) => flushed_unary::<Rcp32Directed>(isa, ftz),
        (F32, _, Round::Rn) => flushed_unary::<Sqrt32>(isa, ftz),
        (F32, _, _) => flushed_unary::<Sqrt32Directed>(isa, ftz),
        (_, "div", Round::Rn) => plain::binary::<Div64>(isa),
        (_, "div", _) => plain::binary::<Div64Directed>(isa),
        (_, "rcp", Round::Rn) => plain::unary::<Rcp64>(isa),
        (_, "rcp", _) => plain::unary::<Rcp64Directed>(isa),
        (_, _, Round::Rn) => plain::unary::<Sqrt64>(isa),
        (_, _, _) => plain::unary::<Sqrt64Directed>(isa),
    };
    b.set_imm(rounding(round));
    elementwise(b, run, ty, &[ty; 2][..sources])
}

fn approximate_quotient(b: &mut Builder<'_>, mut m: Modifiers<'_>, sources: usize) -> Result<(), String> {
    let (isa, opcode) = (b.isa, b.source.opcode.as_str());
    let full = opcode == "div" && m.accept("full");
    if !full && !m.accept("approx") {
        return Err("has no rounding, expected one of .rn .rz .rm .rp .approx".into());
    }
    let ftz = m.accept("ftz");
    let gross = ftz && opcode == "rcp";
    let ty = m.last_ty(if gross { &[F32, F64] } else { &[F32] })?;
    let run = match (ty, opcode) {
        (F64, _) => plain::unary::<RcpGross>(isa),
        (_, "div") if full => flushed_binary::<DivFull>(isa, ftz),
        (_, "div") => flushed_binary::<DivApprox>(isa, ftz),
        (_, "rcp") => flushed_unary::<RcpApprox>(isa, ftz),
        _ => flushed_unary::<SqrtApprox>(isa, ftz),
    };
    b.set_imm(choice(b));
    elementwise(b, run, ty, &[ty; 2][..sources])
}

fn inverse_root(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    m.require(&[("approx", ())])?;
    let ftz = m.accept("ftz");
    let ty = m.last_ty(&[F32, F64])?;
    let run: LaneFn = match (ty, ftz) {
        (F32, _) => flushed_unary::<RsqrtApprox>(isa, ftz),
        (_, true) => plain::unary::<RsqrtGross>(isa),
        (_, false) => plain::unary::<Rsqrt64>(isa),
    };
    b.set_imm(choice(b));
    elementwise(b, run, ty, &[ty])
}

/// `ex2.approx` of f32 and f16; of bf16 it has `.ftz` always.
fn exponential(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m): (Isa, _) = (b.isa, Modifiers::of(b));
    m.require(&[("approx", ())])?;
    let ftz = m.accept("ftz");
    let ty = m.last_ty(if ftz { &[F32, Bf16, Bf16x2] } else { &[F32, F16, F16x2] })?;
    let run = match ty {
        F32 => flushed_costly::<Ex2Approx>(ftz),
        F16 | F16x2 => both1::<Ex2F16>(isa, ty == F16x2),
        _ => both1::<Ex2Bf16>(isa, ty == Bf16x2),
    };
    match ty {
        F32 => {}
        F16 | F16x2 => needs(b, 75)?,
        _ => needs(b, 90)?,
    }
    b.set_imm(choice(b));
    elementwise(b, run, ty, &[ty])
}

fn hyperbolic_tangent(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    m.require(&[("approx", ())])?;
    let ty = m.last_ty(&[F32, F16, F16x2, Bf16, Bf16x2])?;
    let run = match ty {
        F32 => plain::costly::<TanhApprox>(),
        F16 | F16x2 => both1::<TanhF16>(isa, ty == F16x2),
        _ => both1::<TanhBf16>(isa, ty == Bf16x2),
    };
    needs(b, if matches!(ty, Bf16 | Bf16x2) { 90 } else { 75 })?;
    b.set_imm(choice(b));
    elementwise(b, run, ty, &[ty])
}
