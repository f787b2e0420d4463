//! Arithmetic on f16 and bf16, single and packed: add, sub, mul, fma, abs, neg, min, max.
//!
//! Values pass as bits; [`Pair`] makes the packed forms. Tests: `tests/alu/half.rs`.

use super::{
    compose::{Each, Pair, Then},
    elementwise::elementwise,
    lanes::{Binary, Ternary, Unary, binary, op, ternary, unary},
    modifiers::{Modifiers, needs},
};
use crate::{
    isa::Isa,
    numeric::{
        bf16, half,
        minmax::{self, Mode},
    },
    program::{Builder, LaneFn},
    ptx::ast::Type::{self, *},
};

const F16S: [Type; 2] = [F16, F16x2];
const HALVES: [Type; 4] = [F16, F16x2, Bf16, Bf16x2];

op!(Ftz16: (u16) -> u16 = |x| half::ftz(x));
op!(Sat16: (u16) -> u16 = |x| half::sat(x));
op!(Relu16: (u16) -> u16 = |x| half::relu(x));
op!(ReluB16: (u16) -> u16 = |x| bf16::relu(x));
op!(Add16: (u16, u16) -> u16 = |a, b| half::add(a, b));
op!(Sub16: (u16, u16) -> u16 = |a, b| half::sub(a, b));
op!(Mul16: (u16, u16) -> u16 = |a, b| half::mul(a, b));
op!(Fma16: (u16, u16, u16) -> u16 = |a, b, c| half::fma(a, b, c));
op!(AddB16: (u16, u16) -> u16 = |a, b| bf16::add(a, b));
op!(SubB16: (u16, u16) -> u16 = |a, b| bf16::sub(a, b));
op!(MulB16: (u16, u16) -> u16 = |a, b| bf16::mul(a, b));
op!(FmaB16: (u16, u16, u16) -> u16 = |a, b, c| bf16::fma(a, b, c));
op!(Abs16: (u16) -> u16 = |x| half::abs(x));
op!(Neg16: (u16) -> u16 = |x| half::neg(x));

// The immediate holds the modifiers, see `mode`.
op!(Min16: (u16, u16) -> u16 = |a, b; imm| minmax::min16::<{ half::INF }>(a, b, mode(imm)));
op!(Max16: (u16, u16) -> u16 = |a, b; imm| minmax::max16::<{ half::INF }>(a, b, mode(imm)));
op!(MinB16: (u16, u16) -> u16 = |a, b; imm| minmax::min16::<{ bf16::INF }>(a, b, mode(imm)));
op!(MaxB16: (u16, u16) -> u16 = |a, b; imm| minmax::max16::<{ bf16::INF }>(a, b, mode(imm)));

type Flushed16<F> = Then<Each<Ftz16, F>, Ftz16>;

/// The modifiers of `min` and `max` that an immediate stands for.
#[inline(always)]
pub(super) fn mode(imm: i64) -> Mode {
    Mode { nan: imm & 1 != 0, xorsign_abs: imm & 2 != 0 }
}

/// What follows the rounded result.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Sat,
    Relu,
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    match b.source.opcode.as_str() {
        "abs" | "neg" => sign(b),
        "min" | "max" => min_max(b),
        "add" | "sub" | "mul" | "fma" => rounded(b),
        _ => Err("unknown form".into()),
    }
}

fn rounded(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    let opcode = b.source.opcode.as_str();
    let fused = opcode == "fma";
    let round = m.accept("rn");
    if fused && !round {
        return Err("has no rounding, expected .rn".into());
    }
    let ftz = m.accept("ftz");
    let last = m.choose(&[("sat", Last::Sat), ("relu", Last::Relu)]).unwrap_or(Last::Nothing);
    let bf16 = !ftz && last != Last::Sat;
    let ty = m.last_ty(if bf16 { &HALVES } else { &F16S })?;
    if last == Last::Relu && !fused {
        return Err("modifier .relu is one of fma alone".into());
    }
    if last == Last::Relu || (fused && is_bf16(ty)) {
        needs(b, 80)?;
    } else if is_bf16(ty) {
        needs(b, 90)?;
    }
    let pair = ty.size() == 4;
    let run = match (is_bf16(ty), opcode) {
        (false, "add") => modified::<Add16>(isa, pair, ftz, last),
        (false, "sub") => modified::<Sub16>(isa, pair, ftz, last),
        (false, "mul") => modified::<Mul16>(isa, pair, ftz, last),
        (false, _) => modified_fma(isa, pair, ftz, last),
        (true, "add") => both::<AddB16>(isa, pair),
        (true, "sub") => both::<SubB16>(isa, pair),
        (true, "mul") => both::<MulB16>(isa, pair),
        (true, _) if last == Last::Relu => both3::<Then<FmaB16, ReluB16>>(isa, pair),
        (true, _) => both3::<FmaB16>(isa, pair),
    };
    elementwise(b, run, ty, &[ty; 3][..if fused { 3 } else { 2 }])
}

fn sign(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, abs, mut m) = (b.isa, b.source.opcode == "abs", Modifiers::of(b));
    let ftz = m.accept("ftz");
    let ty = m.last_ty(if ftz { &F16S } else { &HALVES })?;
    if is_bf16(ty) {
        needs(b, 80)?;
    }
    let pair = ty.size() == 4;
    let run = match (abs, ftz) {
        (true, false) => both1::<Abs16>(isa, pair),
        (true, true) => both1::<Flushed16<Abs16>>(isa, pair),
        (false, false) => both1::<Neg16>(isa, pair),
        (false, true) => both1::<Flushed16<Neg16>>(isa, pair),
    };
    elementwise(b, run, ty, &[ty])
}

fn min_max(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, max, mut m) = (b.isa, b.source.opcode == "max", Modifiers::of(b));
    let ftz = m.accept("ftz");
    let imm = min_max_modifiers(&mut m);
    let ty = m.last_ty(if ftz { &F16S } else { &HALVES })?;
    needs(b, if imm & 2 != 0 { 86 } else { 80 })?;
    let pair = ty.size() == 4;
    let run = match (is_bf16(ty), max, ftz) {
        (true, false, _) => both::<MinB16>(isa, pair),
        (true, true, _) => both::<MaxB16>(isa, pair),
        (false, false, false) => both::<Min16>(isa, pair),
        (false, true, false) => both::<Max16>(isa, pair),
        (false, false, true) => both::<Flushed16<Min16>>(isa, pair),
        (false, true, true) => both::<Flushed16<Max16>>(isa, pair),
    };
    b.set_imm(imm);
    elementwise(b, run, ty, &[ty; 2])
}

/// Reads `.NaN` and `.xorsign.abs` into what [`mode`] takes.
pub(super) fn min_max_modifiers(m: &mut Modifiers<'_>) -> i64 {
    let nan = m.accept("NaN");
    // Without its second half it is refused as an unexpected modifier.
    let xorsign = m.accept_both("xorsign", "abs");
    i64::from(nan) | i64::from(xorsign) << 1
}

/// Whether the type is one of bf16.
pub(super) fn is_bf16(ty: Type) -> bool {
    matches!(ty, Bf16 | Bf16x2)
}

/// The handler of `F` for one value or for a pair.
pub(super) fn both1<F: Unary<A = u16, D = u16>>(isa: Isa, pair: bool) -> LaneFn {
    if pair { unary::<Pair<F>>(isa) } else { unary::<F>(isa) }
}

fn both<F: Binary<A = u16, B = u16, D = u16>>(isa: Isa, pair: bool) -> LaneFn {
    if pair { binary::<Pair<F>>(isa) } else { binary::<F>(isa) }
}

fn both3<F: Ternary<A = u16, B = u16, C = u16, D = u16>>(isa: Isa, pair: bool) -> LaneFn {
    if pair { ternary::<Pair<F>>(isa) } else { ternary::<F>(isa) }
}

fn modified<F: Binary<A = u16, B = u16, D = u16>>(isa: Isa, pair: bool, ftz: bool, last: Last) -> LaneFn {
    match (ftz, last == Last::Sat) {
        (false, false) => both::<F>(isa, pair),
        (true, false) => both::<Flushed16<F>>(isa, pair),
        (false, true) => both::<Then<F, Sat16>>(isa, pair),
        (true, true) => both::<Then<Flushed16<F>, Sat16>>(isa, pair),
    }
}

fn modified_fma(isa: Isa, pair: bool, ftz: bool, last: Last) -> LaneFn {
    match (ftz, last) {
        (false, Last::Nothing) => both3::<Fma16>(isa, pair),
        (true, Last::Nothing) => both3::<Flushed16<Fma16>>(isa, pair),
        (false, Last::Sat) => both3::<Then<Fma16, Sat16>>(isa, pair),
        (true, Last::Sat) => both3::<Then<Flushed16<Fma16>, Sat16>>(isa, pair),
        (false, Last::Relu) => both3::<Then<Fma16, Relu16>>(isa, pair),
        (true, Last::Relu) => both3::<Then<Flushed16<Fma16>, Relu16>>(isa, pair),
    }
}
