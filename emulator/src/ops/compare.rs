//! Comparisons: setp, set; and choices: selp, slct.
//!
//! A comparison with more than one predicate to write, or joined with another predicate, goes through temporaries and
//! [`predicate::join`]. Tests: `tests/alu/compare.rs`.

use super::{
    compose::{Each, Ftz32},
    integer::{sized, typed},
    lanes::{Value, binary, op, plain, ternary, unary},
    modifiers::{Modifiers, needs},
    predicate::{self, JOINS, Join},
};
use crate::{
    isa::Isa,
    numeric::{
        bf16,
        compare::{Compare, compare32, compare64},
        half,
    },
    program::{Builder, Exec, LaneFn},
    ptx::ast::{
        Operand,
        Type::{self, *},
    },
};

/// A comparison operator as a type.
pub(super) trait Relation: 'static {
    const OP: Compare;
}

macro_rules! relations {
    ($($name:ident $word:literal)*) => {
        $(
            pub(super) struct $name;
            impl Relation for $name {
                const OP: Compare = Compare::$name;
            }
        )*
        const RELATIONS: &[(&str, Compare)] = &[$(($word, Compare::$name)),*];

        /// The handler of a comparison of f32.
        fn compare_singles(op: Compare, isa: Isa, ftz: bool) -> LaneFn {
            match (op, ftz) {
                $(
                    (Compare::$name, false) => binary::<Single<$name>>(isa),
                    (Compare::$name, true) => binary::<Each<Ftz32, Single<$name>>>(isa),
                )*
            }
        }
    };
}

relations! {
    Eq "eq" Ne "ne" Lt "lt" Le "le" Gt "gt" Ge "ge"
    Equ "equ" Neu "neu" Ltu "ltu" Leu "leu" Gtu "gtu" Geu "geu" Num "num" Nan "nan"
}

/// The operators of integers; those of unsigned ones have two names.
const ORDERS: &[(&str, Compare)] = &[
    ("eq", Compare::Eq),
    ("ne", Compare::Ne),
    ("lt", Compare::Lt),
    ("le", Compare::Le),
    ("gt", Compare::Gt),
    ("ge", Compare::Ge),
];
const UNSIGNED_ORDERS: &[(&str, Compare)] =
    &[("lo", Compare::Lt), ("ls", Compare::Le), ("hi", Compare::Gt), ("hs", Compare::Ge)];

op!(Single<R: Relation>: (f32, f32) -> bool = |a, b| compare32(R::OP, a, b));
op!(Double: (f64, f64) -> bool = |a, b; imm| compare64(operator(imm), a, b));
op!(Halves: (u32, u32) -> bool = |a, b; imm| compare_halves(a, b, imm));

op!(IsEq<T: Ordered>: (T, T) -> bool = |a, b| a == b);
op!(IsNe<T: Ordered>: (T, T) -> bool = |a, b| a != b);
op!(IsLt<T: Ordered>: (T, T) -> bool = |a, b| a < b);
op!(IsLe<T: Ordered>: (T, T) -> bool = |a, b| a <= b);
op!(IsGt<T: Ordered>: (T, T) -> bool = |a, b| a > b);
op!(IsGe<T: Ordered>: (T, T) -> bool = |a, b| a >= b);

/// Integers.
pub(super) trait Ordered: Value + Ord {}
impl Ordered for u16 {}
impl Ordered for u32 {}
impl Ordered for u64 {}
impl Ordered for i16 {}
impl Ordered for i32 {}
impl Ordered for i64 {}

op!(Choose<T: Value>: (T, T, bool) -> T = |a, b, p| if p { a } else { b });
op!(ChooseBySign<T: Value>: (T, T, i32) -> T = |a, b, c| if c >= 0 { a } else { b });
op!(ChooseByFloat<T: Value>: (T, T, f32) -> T = |a, b, c| if c >= 0.0 { a } else { b });
op!(ChooseByFlushed<T: Value>: (T, T, f32) -> T =
    |a, b, c| if crate::numeric::single::ftz(c) >= 0.0 { a } else { b });
op!(Truth: (bool) -> u32 = |p; imm| if p { imm as u32 } else { 0 });
op!(Truths: (bool, bool) -> u32 =
    |p, q; imm| (if p { imm as u32 } else { 0 }) | (if q { (imm as u32) << 16 } else { 0 }));

const SOURCES: [Type; 15] = [B16, B32, B64, U16, U32, U64, S16, S32, S64, F32, F64, F16, F16x2, Bf16, Bf16x2];
const CHOSEN: [Type; 11] = [B16, B32, B64, U16, U32, U64, S16, S32, S64, F32, F64];

/// Bits of the immediate of [`Halves`], above the operator.
const HIGH: i64 = 16;
const BF16: i64 = 32;
const FTZ: i64 = 64;

#[inline(always)]
fn operator(imm: i64) -> Compare {
    RELATIONS[(imm & 15) as usize % RELATIONS.len()].1
}

/// Compares the low halves, or the high ones.
#[inline(always)]
fn compare_halves(a: u32, b: u32, imm: i64) -> bool {
    let value = |x: u32| {
        let x = if imm & HIGH != 0 { (x >> 16) as u16 } else { x as u16 };
        match (imm & BF16 != 0, imm & FTZ != 0) {
            (true, _) => bf16::to_f32(x),
            (false, true) => half::to_f32(half::ftz(x)),
            (false, false) => half::to_f32(x),
        }
    };
    compare32(operator(imm), value(a), value(b))
}

/// A comparison, read from the modifiers.
#[derive(Clone, Copy)]
struct Comparison {
    run: LaneFn,
    imm: i64,
    ty: Type,
}

impl Comparison {
    fn new(b: &Builder<'_>, word: &str, ty: Type, ftz: bool) -> Result<Comparison, String> {
        let refused = || format!("operator .{word} is not one of .{}", format!("{ty:?}").to_lowercase());
        let float = matches!(ty, F32 | F64 | F16 | F16x2 | Bf16 | Bf16x2);
        if ftz && !matches!(ty, F32 | F16 | F16x2) {
            return Err(format!("modifier .ftz is not one of {ty:?}"));
        }
        let tables: &[&[(&str, Compare)]] = match ty {
            U16 | U32 | U64 => &[ORDERS, UNSIGNED_ORDERS],
            S16 | S32 | S64 => &[ORDERS],
            B16 | B32 | B64 => &[&ORDERS[..2]],
            _ => &[RELATIONS],
        };
        let found = tables.iter().copied().flatten().find(|(name, _)| *name == word);
        let (op, isa) = (found.ok_or_else(refused)?.1, b.isa);
        let number = RELATIONS.iter().position(|&(_, known)| known == op).unwrap_or(0) as i64;
        let flag = |set: bool, bit| if set { bit } else { 0 };
        let half = matches!(ty, F16 | F16x2 | Bf16 | Bf16x2);
        let run = match (ty, op) {
            (F32, _) => compare_singles(op, isa, ftz),
            (F64, _) => plain::binary::<Double>(isa),
            _ if float => plain::binary::<Halves>(isa),
            (_, Compare::Eq) => sized!(ty, binary, IsEq, isa),
            (_, Compare::Ne) => sized!(ty, binary, IsNe, isa),
            (_, Compare::Lt) => typed!(ty, binary, IsLt, isa),
            (_, Compare::Le) => typed!(ty, binary, IsLe, isa),
            (_, Compare::Gt) => typed!(ty, binary, IsGt, isa),
            _ => typed!(ty, binary, IsGe, isa),
        };
        let imm = number | flag(half && ftz, FTZ) | flag(matches!(ty, Bf16 | Bf16x2), BF16);
        if matches!(ty, Bf16 | Bf16x2) {
            needs(b, 90)?;
        }
        Ok(Comparison { run, imm, ty })
    }

    fn pairs(self) -> bool {
        matches!(self.ty, F16x2 | Bf16x2)
    }

    /// Emits the comparison of the operands 1 and 2 into `d`; of pairs, of their low or high halves.
    fn emit(self, b: &mut Builder<'_>, d: &Operand, high: bool) -> Result<(), String> {
        b.destination(0, d, Pred)?;
        b.source(1, b.operand(1)?, self.ty)?;
        b.source(2, b.operand(2)?, self.ty)?;
        b.set_imm(self.imm | if high { HIGH } else { 0 });
        b.emit(Exec::Lanes(self.run))
    }
}

/// How a comparison is joined with another predicate, if it is.
type Joined<'a> = Option<(Join, &'a Operand)>;

/// Reads the operator and, if there is one, how the comparison is joined with operand 3.
fn operators<'a>(b: &Builder<'a>, m: &mut Modifiers<'a>) -> Result<(&'a str, Joined<'a>), String> {
    let word = m.next().ok_or("has no operator of comparison")?;
    let join = m.choose(&JOINS);
    b.expect_operands(if join.is_some() { 4 } else { 3 })?;
    Ok((word, join.map(|join| b.operand(3).map(|c| (join, c))).transpose()?))
}

/// Lowers `setp`.
pub fn set_predicate(b: &mut Builder<'_>) -> Result<(), String> {
    let mut m = Modifiers::of(b);
    let (word, other) = operators(b, &mut m)?;
    let ftz = m.accept("ftz");
    let ty = m.last_ty(&SOURCES)?;
    let comparison = Comparison::new(b, word, ty, ftz)?;
    let (p, q) = match b.operand(0)? {
        Operand::Pair(p, q) => (&**p, Some(&**q)),
        p if comparison.pairs() => return Err(format!("has one destination {p:?}, expected p|q")),
        p => (p, None),
    };
    if *p == Operand::Sink && q.is_none_or(|q| *q == Operand::Sink) {
        return Err("no destination is a register".into());
    }
    if let (None, None) = (q, other) {
        return comparison.emit(b, p, false);
    }
    let compared = b.scope.temporary(Pred);
    comparison.emit(b, &compared, false)?;
    let sink = Operand::Sink;
    let q = q.unwrap_or(&sink);
    if !comparison.pairs() {
        return predicate::join(b, [p, q], [&compared, &compared], true, other);
    }
    let high = b.scope.temporary(Pred);
    comparison.emit(b, &high, true)?;
    predicate::join(b, [p, q], [&compared, &high], false, other)
}

/// Lowers `set`: all ones or 1.0 where the comparison holds, else zeros.
pub fn set(b: &mut Builder<'_>) -> Result<(), String> {
    let mut m = Modifiers::of(b);
    let (word, other) = operators(b, &mut m)?;
    let ftz = m.accept("ftz");
    let d = m.ty(&[U16, S16, U32, S32, F32, F16, F16x2, Bf16, Bf16x2])?;
    let ty = m.last_ty(&SOURCES)?;
    let comparison = Comparison::new(b, word, ty, ftz)?;
    let truth = truth(d, ty).ok_or_else(|| format!("{ty:?} cannot be compared into {d:?}"))?;
    if d == Bf16 {
        needs(b, 90)?;
    }
    let [low, high] = [b.scope.temporary(Pred), b.scope.temporary(Pred)];
    comparison.emit(b, &low, false)?;
    if comparison.pairs() {
        comparison.emit(b, &high, true)?;
    }
    let pair = if comparison.pairs() { [&low, &high] } else { [&low, &low] };
    if other.is_some() {
        let d = if comparison.pairs() { pair } else { [&low, &Operand::Sink] };
        predicate::join(b, d, pair, false, other)?;
    }
    b.result(b.operand(0)?, d)?;
    b.set_imm(truth);
    b.source(1, &low, Pred)?;
    if !comparison.pairs() {
        return b.emit(Exec::Lanes(unary::<Truth>(b.isa)));
    }
    b.source(2, &high, Pred)?;
    b.emit(Exec::Lanes(binary::<Truths>(b.isa)))
}

/// What `set` writes for true: of pairs, to each half. `None` for types that do not go together.
fn truth(d: Type, source: Type) -> Option<i64> {
    let pair = matches!(source, F16x2 | Bf16x2);
    let half = matches!(source, F16 | Bf16);
    Some(match d {
        U32 | S32 if pair => 0xffff,
        U32 | S32 => 0xffff_ffff,
        U16 | S16 if half => 0xffff,
        F32 if !pair && !half => i64::from(1f32.to_bits()),
        F16 if !pair && source != Bf16 => i64::from(half::ONE),
        Bf16 if !pair && source != F16 => i64::from(bf16::ONE),
        F16x2 if source == F16x2 => i64::from(half::ONE),
        Bf16x2 if source == Bf16x2 => i64::from(bf16::ONE),
        _ => return None,
    })
}

/// Lowers `selp d, a, b, p`: `a` where `p` holds, else `b`.
pub fn select(b: &mut Builder<'_>) -> Result<(), String> {
    let isa = b.isa;
    let ty = Modifiers::of(b).last_ty(&CHOSEN)?;
    b.expect_operands(4)?;
    b.result(b.operand(0)?, ty)?;
    b.source(1, b.operand(1)?, ty)?;
    b.source(2, b.operand(2)?, ty)?;
    if b.predicate(3, b.operand(3)?)? {
        return Err("the predicate is negated, which selp does not allow".into());
    }
    let run = sized!(ty, ternary, Choose, isa);
    b.emit(Exec::Lanes(run))
}

/// Lowers `slct d, a, b, c`: `a` where `c` is at least zero, else `b`.
pub fn select_by_sign(b: &mut Builder<'_>) -> Result<(), String> {
    let (isa, mut m) = (b.isa, Modifiers::of(b));
    let ftz = m.accept("ftz");
    let ty = m.ty(&CHOSEN)?;
    let by = m.last_ty(if ftz { &[F32] } else { &[F32, S32] })?;
    let run = match (by, ftz) {
        (F32, true) => sized!(ty, ternary, ChooseByFlushed, isa),
        (F32, false) => sized!(ty, ternary, ChooseByFloat, isa),
        _ => sized!(ty, ternary, ChooseBySign, isa),
    };
    super::elementwise::elementwise(b, run, ty, &[ty, ty, by])
}
