//! Conversions to integers.

use super::{Form, Step};
use crate::{
    isa::Isa,
    numeric::{
        IntRound, bf16,
        cvt::{self, Int},
        half, single,
    },
    ops::lanes::{Unary, Value, op, plain, unary},
    program::LaneFn,
    ptx::ast::Type::{self, *},
};
use std::marker::PhantomData;

/// An integer type of a conversion.
pub trait Whole: Value + Int {
    /// Extended to 64 bits, by the sign of signed types.
    fn extend(self) -> u64;
    /// The low bits.
    fn cut(bits: u64) -> Self;
}

macro_rules! wholes {
    ($($int:ident)*) => {$(
        impl Whole for $int {
            #[inline(always)]
            fn extend(self) -> u64 {
                self as i64 as u64
            }
            #[inline(always)]
            fn cut(bits: u64) -> Self {
                bits as $int
            }
        }
    )*};
}
wholes!(u8 u16 u32 u64 i8 i16 i32 i64);

/// The handler `unary::<$op<T>>` for the integer type `T` with this spelling.
macro_rules! whole {
    ($ty:expr, $op:ident, $isa:expr) => {
        whole!($ty, |T| unary::<$op<T>>($isa))
    };
    ($ty:expr, |$t:ident| $make:expr) => {
        match $ty {
            Type::U8 => {
                type $t = u8;
                $make
            }
            Type::U16 => {
                type $t = u16;
                $make
            }
            Type::U32 => {
                type $t = u32;
                $make
            }
            Type::U64 => {
                type $t = u64;
                $make
            }
            Type::S8 => {
                type $t = i8;
                $make
            }
            Type::S16 => {
                type $t = i16;
                $make
            }
            Type::S32 => {
                type $t = i32;
                $make
            }
            Type::S64 => {
                type $t = i64;
                $make
            }
            other => return Err(format!("type {other:?} is not one of integers")),
        }
    };
}
pub(super) use whole;

/// From one width to another: extended by the sign of the source's type, or cut.
struct Resize<S, D>(PhantomData<(S, D)>);

impl<S: Whole, D: Whole> Unary for Resize<S, D> {
    type A = S;
    type D = D;
    #[inline(always)]
    fn apply(a: S, _: i64) -> D {
        D::cut(a.extend())
    }
}

// The immediate of these says which type's range bounds the result.
op!(Saturate32<S: Whole>: (S) -> u32 = |a; imm| saturated(a.widen(), imm) as u32);
op!(Saturate64<S: Whole>: (S) -> u64 = |a; imm| saturated(a.widen(), imm));

const TYPES: [Type; 8] = [U8, U16, U32, U64, S8, S16, S32, S64];

/// `x` clamped to a type's range, as its bits.
#[inline(always)]
fn saturated(x: i128, ty: i64) -> u64 {
    match ty {
        0 => u8::saturate(x).into(),
        1 => u16::saturate(x).into(),
        2 => u32::saturate(x).into(),
        3 => u64::saturate(x),
        4 => (i8::saturate(x) as u8).into(),
        5 => (i16::saturate(x) as u16).into(),
        6 => (i32::saturate(x) as u32).into(),
        _ => i64::saturate(x) as u64,
    }
}

// The immediate holds the rounding.
op!(F16ToInt<I: Whole>: (u16) -> I = |x; imm| cvt::f32_to_int(half::to_f32(x), integral(imm)));
op!(Bf16ToInt<I: Whole>: (u16) -> I = |x; imm| cvt::f32_to_int(bf16::to_f32(x), integral(imm)));
op!(F32ToInt<I: Whole>: (f32) -> I = |x; imm| cvt::f32_to_int(x, integral(imm)));
op!(F32FtzToInt<I: Whole>: (f32) -> I = |x; imm| cvt::f32_to_int(single::ftz(x), integral(imm)));
op!(F64ToInt<I: Whole>: (f64) -> I = |x; imm| cvt::f64_to_int(x, integral(imm)));

/// The immediate that stands for a rounding to integers.
pub(super) fn immediate(round: IntRound) -> i64 {
    match round {
        IntRound::Rni => 0,
        IntRound::Rzi => 1,
        IntRound::Rmi => 2,
        IntRound::Rpi => 3,
    }
}

/// The rounding to integers that an immediate stands for.
#[inline(always)]
pub(super) fn integral(imm: i64) -> IntRound {
    match imm {
        0 => IntRound::Rni,
        1 => IntRound::Rzi,
        2 => IntRound::Rmi,
        _ => IntRound::Rpi,
    }
}

/// Between integers.
pub(super) fn resize(isa: Isa, form: Form, d: Type, source: Type) -> Result<Vec<Step>, String> {
    form.refuse(&["sat"])?;
    let (run, imm): (LaneFn, i64) = if form.sat {
        let run =
            if d.size() == 8 { whole!(source, Saturate64, isa) } else { whole!(source, Saturate32, isa) };
        (run, TYPES.iter().position(|&ty| ty == d).unwrap_or(0) as i64)
    } else {
        let run = whole!(source, |S| match d.size() {
            1 => unary::<Resize<S, u8>>(isa),
            2 => unary::<Resize<S, u16>>(isa),
            4 => unary::<Resize<S, u32>>(isa),
            _ => plain::unary::<Resize<S, u64>>(isa),
        });
        (run, 0)
    };
    Ok(vec![Step { run, imm, gives: d }])
}

/// From floats. They clamp without `.sat` too.
pub(super) fn from_float(isa: Isa, form: Form, d: Type, source: Type) -> Result<Vec<Step>, String> {
    form.refuse(&["rounding to integers", "ftz", "sat"])?;
    let round = form.integral.ok_or("has no rounding, expected one of .rni .rzi .rmi .rpi")?;
    let run = match (source, form.ftz) {
        (F16, _) => whole!(d, F16ToInt, isa),
        (Bf16, _) => whole!(d, Bf16ToInt, isa),
        (F32, false) => whole!(d, F32ToInt, isa),
        (F32, true) => whole!(d, F32FtzToInt, isa),
        _ => whole!(d, F64ToInt, isa),
    };
    Ok(vec![Step { run, imm: immediate(round), gives: d }])
}
