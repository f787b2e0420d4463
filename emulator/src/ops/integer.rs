//! Integer arithmetic: add, sub, mul, mad, div, rem, abs, neg, min, max, sad and the 24-bit, dot-product and byte-wise instructions.
//!
//! The carry chain (`.cc`, `addc`, ...) is in [`super::carry`], single bits are in [`super::bits`]. Tests: `tests/alu/integer.rs`.

use super::{
    compose::{Pair, Then},
    elementwise::elementwise,
    lanes::{Value, binary, op, plain, ternary, unary},
    modifiers::{Modifiers, needs},
};
use crate::{
    numeric::{integer, simd},
    program::Builder,
    ptx::ast::Type::{self, *},
};

/// Types of 16, 32 and 64 bits, unsigned and signed.
const INTS: [Type; 6] = [U16, U32, U64, S16, S32, S64];
const SIGNED: [Type; 3] = [S16, S32, S64];
const NARROW: [Type; 4] = [U16, U32, S16, S32];
const WORDS: [Type; 2] = [U32, S32];

/// An integer type of 16, 32 or 64 bits. Overflow wraps.
pub(super) trait Int: Value + Ord {
    /// A product of two.
    type Wide: Value;
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn mul_hi(self, b: Self) -> Self;
    fn mul_wide(self, b: Self) -> Self::Wide;
    fn add_wide(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    fn div(self, b: Self) -> Self;
    fn rem(self, b: Self) -> Self;
    fn sad(self, b: Self, c: Self) -> Self;
    fn abs(self) -> Self;
}

macro_rules! ints {
    ($($int:ident $wide:ident $hi:ident $div:ident $rem:ident $sad:ident $abs:ident)*) => {$(
        impl Int for $int {
            type Wide = $wide;
            #[inline(always)]
            fn add(self, b: Self) -> Self { self.wrapping_add(b) }
            #[inline(always)]
            fn sub(self, b: Self) -> Self { self.wrapping_sub(b) }
            #[inline(always)]
            fn mul(self, b: Self) -> Self { self.wrapping_mul(b) }
            #[inline(always)]
            fn mul_hi(self, b: Self) -> Self { integer::$hi(self, b) }
            #[inline(always)]
            fn mul_wide(self, b: Self) -> $wide { (self as $wide).wrapping_mul(b as $wide) }
            #[inline(always)]
            fn add_wide(a: $wide, b: $wide) -> $wide { a.wrapping_add(b) }
            #[inline(always)]
            fn div(self, b: Self) -> Self { integer::$div(self, b) }
            #[inline(always)]
            fn rem(self, b: Self) -> Self { integer::$rem(self, b) }
            #[inline(always)]
            fn sad(self, b: Self, c: Self) -> Self { integer::$sad(self, b, c) }
            #[inline(always)]
            fn abs(self) -> Self { self.$abs() }
        }
    )*};
}

// `.wide` of 64 bits does not exist; unsigned magnitudes are themselves.
ints! {
    u16 u32 mul_hi_u16 div_u16 rem_u16 sad_u16 into
    u32 u64 mul_hi_u32 div_u32 rem_u32 sad_u32 into
    u64 u64 mul_hi_u64 div_u64 rem_u64 sad_u64 into
    i16 i32 mul_hi_s16 div_s16 rem_s16 sad_s16 wrapping_abs
    i32 i64 mul_hi_s32 div_s32 rem_s32 sad_s32 wrapping_abs
    i64 i64 mul_hi_s64 div_s64 rem_s64 sad_s64 wrapping_abs
}

op!(Add<T: Int>: (T, T) -> T = |a, b| a.add(b));
op!(Sub<T: Int>: (T, T) -> T = |a, b| a.sub(b));
op!(MulLo<T: Int>: (T, T) -> T = |a, b| a.mul(b));
op!(MulHi<T: Int>: (T, T) -> T = |a, b| a.mul_hi(b));
op!(MulWide<T: Int>: (T, T) -> T::Wide = |a, b| a.mul_wide(b));
op!(MadLo<T: Int>: (T, T, T) -> T = |a, b, c| a.mul(b).add(c));
op!(MadHi<T: Int>: (T, T, T) -> T = |a, b, c| a.mul_hi(b).add(c));
op!(MadWide<T: Int>: (T, T, T::Wide) -> T::Wide = |a, b, c| T::add_wide(a.mul_wide(b), c));
op!(Div<T: Int>: (T, T) -> T = |a, b| a.div(b));
op!(Rem<T: Int>: (T, T) -> T = |a, b| a.rem(b));
op!(Sad<T: Int>: (T, T, T) -> T = |a, b, c| a.sad(b, c));
op!(Min<T: Int>: (T, T) -> T = |a, b| a.min(b));
op!(Max<T: Int>: (T, T) -> T = |a, b| a.max(b));
op!(Abs<T: Int>: (T) -> T = |a| a.abs());
op!(Neg<T: Int>: (T) -> T = |a| T::default().sub(a));

op!(AddSat: (i32, i32) -> i32 = |a, b| a.saturating_add(b));
op!(SubSat: (i32, i32) -> i32 = |a, b| a.saturating_sub(b));
op!(MadHiSat: (i32, i32, i32) -> i32 = |a, b, c| integer::mad_hi_sat_s32(a, b, c));
op!(Relu: (i32) -> i32 = |a| a.max(0));
op!(MinS16: (u16, u16) -> u16 = |a, b| (a as i16).min(b as i16) as u16);
op!(MaxS16: (u16, u16) -> u16 = |a, b| (a as i16).max(b as i16) as u16);
op!(ReluS16: (u16) -> u16 = |a| (a as i16).max(0) as u16);

op!(Mul24LoU: (u32, u32) -> u32 = |a, b| integer::mul24_lo_u32(a, b));
op!(Mul24HiU: (u32, u32) -> u32 = |a, b| integer::mul24_hi_u32(a, b));
op!(Mul24LoS: (i32, i32) -> i32 = |a, b| integer::mul24_lo_s32(a, b));
op!(Mul24HiS: (i32, i32) -> i32 = |a, b| integer::mul24_hi_s32(a, b));
op!(Mad24LoU: (u32, u32, u32) -> u32 = |a, b, c| integer::mul24_lo_u32(a, b).wrapping_add(c));
op!(Mad24HiU: (u32, u32, u32) -> u32 = |a, b, c| integer::mul24_hi_u32(a, b).wrapping_add(c));
op!(Mad24LoS: (i32, i32, i32) -> i32 = |a, b, c| integer::mul24_lo_s32(a, b).wrapping_add(c));
op!(Mad24HiS: (i32, i32, i32) -> i32 = |a, b, c| integer::mul24_hi_s32(a, b).wrapping_add(c));
op!(Mad24HiSat: (i32, i32, i32) -> i32 = |a, b, c| integer::mul24_hi_s32(a, b).saturating_add(c));

// Bits 0 and 1 of the immediate say whether `a` and `b` are signed, bit 2 whether the high bytes are meant.
op!(Dp4a: (u32, u32, u32) -> u32 = |a, b, c; imm| integer::dp4a(a, b, c, imm & 1 != 0, imm & 2 != 0));
op!(Dp2a: (u32, u32, u32) -> u32 =
    |a, b, c; imm| integer::dp2a(a, b, c, imm & 1 != 0, imm & 2 != 0, imm & 4 != 0));
op!(Vabsdiff4: (u32, u32, u32) -> u32 = |a, b, c; imm| simd::vabsdiff4(a, b, bytes(imm)));
op!(Vabsdiff4Add: (u32, u32, u32) -> u32 = |a, b, c; imm| simd::vabsdiff4_add(a, b, c, bytes(imm), 0xf));
op!(Vadd4: (u32, u32, u32) -> u32 = |a, b, c; imm| simd::vadd4(a, b, bytes(imm)));

/// The modifiers of a byte-wise instruction, of which its immediate has a bit each.
#[inline(always)]
fn bytes(imm: i64) -> simd::Bytes {
    simd::Bytes { signed_a: imm & 1 != 0, signed_b: imm & 2 != 0, signed_d: imm & 4 != 0, sat: imm & 8 != 0 }
}

/// The handler `$make::<$op<T>>` for the type with this spelling.
macro_rules! typed {
    ($ty:expr, $make:ident, $op:ident, $isa:expr) => {
        match $ty {
            Type::U16 => $make::<$op<u16>>($isa),
            Type::U32 => $make::<$op<u32>>($isa),
            Type::U64 => $make::<$op<u64>>($isa),
            Type::S16 => $make::<$op<i16>>($isa),
            Type::S32 => $make::<$op<i32>>($isa),
            Type::S64 => $make::<$op<i64>>($isa),
            other => return Err(format!("type {other:?} is not one of integers")),
        }
    };
}
/// As `typed`, where the sign does not matter.
macro_rules! sized {
    ($ty:expr, $make:ident, $op:ident, $isa:expr) => {
        match $ty.size() {
            2 => $make::<$op<u16>>($isa),
            4 => $make::<$op<u32>>($isa),
            8 => $make::<$op<u64>>($isa),
            size => return Err(format!("integers of {size} bytes are not supported")),
        }
    };
}
pub(super) use {sized, typed};

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let m = Modifiers::of(b);
    match b.source.opcode.as_str() {
        "add" | "sub" => add_sub(b, m),
        "mul" => multiply(b, m, false),
        "mad" => multiply(b, m, true),
        "mul24" | "mad24" => multiply24(b, m),
        "div" | "rem" | "sad" => same_types(b, m, &INTS),
        "abs" | "neg" => same_types(b, m, &SIGNED),
        "min" | "max" => min_max(b, m),
        "dp4a" | "dp2a" => dot_product(b, m),
        "vabsdiff4" | "vadd4" => byte_wise(b, m),
        _ => Err("unknown instruction".into()),
    }
}

fn add_sub(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let (isa, add) = (b.isa, b.source.opcode == "add");
    if m.accept("sat") {
        m.last_ty(&[S32])?;
        let run = if add { plain::binary::<AddSat>(isa) } else { plain::binary::<SubSat>(isa) };
        return elementwise(b, run, S32, &[S32; 2]);
    }
    if add && (m.accept("u16x2") || m.accept("s16x2")) {
        m.end()?;
        needs(b, 90)?;
        return elementwise(b, binary::<Pair<Add<u16>>>(isa), B32, &[B32; 2]);
    }
    let ty = m.last_ty(&INTS)?;
    let run = if add { sized!(ty, binary, Add, isa) } else { sized!(ty, binary, Sub, isa) };
    elementwise(b, run, ty, &[ty; 2])
}

#[derive(Clone, Copy, PartialEq)]
enum Half {
    Low,
    High,
    Both,
}

fn multiply(b: &mut Builder<'_>, mut m: Modifiers<'_>, add: bool) -> Result<(), String> {
    let isa = b.isa;
    let half = m.require(&[("lo", Half::Low), ("hi", Half::High), ("wide", Half::Both)])?;
    if add && half == Half::High && m.accept("sat") {
        m.last_ty(&[S32])?;
        return elementwise(b, plain::ternary::<MadHiSat>(isa), S32, &[S32; 3]);
    }
    let ty = m.last_ty(if half == Half::Both { &NARROW } else { &INTS })?;
    let d = if half == Half::Both { wide(ty)? } else { ty };
    let run = match (half, add) {
        (Half::Low, false) => sized!(ty, binary, MulLo, isa),
        (Half::High, false) => typed!(ty, binary, MulHi, isa),
        (Half::Both, false) => typed!(ty, binary, MulWide, isa),
        (Half::Low, true) => sized!(ty, ternary, MadLo, isa),
        (Half::High, true) => typed!(ty, ternary, MadHi, isa),
        (Half::Both, true) => typed!(ty, ternary, MadWide, isa),
    };
    elementwise(b, run, d, &[ty, ty, d][..if add { 3 } else { 2 }])
}

/// The type of twice the width.
fn wide(ty: Type) -> Result<Type, String> {
    Ok(match ty {
        U16 => U32,
        S16 => S32,
        U32 => U64,
        S32 => S64,
        other => return Err(format!("products of {other:?} have no wider type")),
    })
}

fn multiply24(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let (isa, add) = (b.isa, b.source.opcode == "mad24");
    let high = m.require(&[("lo", false), ("hi", true)])?;
    if add && high && m.accept("sat") {
        m.last_ty(&[S32])?;
        return elementwise(b, plain::ternary::<Mad24HiSat>(isa), S32, &[S32; 3]);
    }
    let ty = m.last_ty(&WORDS)?;
    let run = match (add, high, ty == S32) {
        (false, false, false) => plain::binary::<Mul24LoU>(isa),
        (false, false, true) => plain::binary::<Mul24LoS>(isa),
        (false, true, false) => plain::binary::<Mul24HiU>(isa),
        (false, true, true) => plain::binary::<Mul24HiS>(isa),
        (true, false, false) => plain::ternary::<Mad24LoU>(isa),
        (true, false, true) => plain::ternary::<Mad24LoS>(isa),
        (true, true, false) => plain::ternary::<Mad24HiU>(isa),
        (true, true, true) => plain::ternary::<Mad24HiS>(isa),
    };
    elementwise(b, run, ty, &[ty; 3][..if add { 3 } else { 2 }])
}

fn same_types(b: &mut Builder<'_>, m: Modifiers<'_>, allowed: &[Type]) -> Result<(), String> {
    let isa = b.isa;
    let ty = m.last_ty(allowed)?;
    let (run, sources) = match b.source.opcode.as_str() {
        "div" => (typed!(ty, binary, Div, isa), 2),
        "rem" => (typed!(ty, binary, Rem, isa), 2),
        "sad" => (typed!(ty, ternary, Sad, isa), 3),
        "abs" => (typed!(ty, unary, Abs, isa), 1),
        _ => (sized!(ty, unary, Neg, isa), 1),
    };
    elementwise(b, run, ty, &[ty; 3][..sources])
}

fn min_max(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let (isa, max) = (b.isa, b.source.opcode == "max");
    let relu = m.accept("relu");
    let pairs =
        if relu { m.choose(&[("s16x2", true)]) } else { m.choose(&[("s16x2", true), ("u16x2", false)]) };
    if let Some(signed) = pairs {
        m.end()?;
        needs(b, 90)?;
        let run = match (max, signed, relu) {
            (false, true, false) => binary::<Pair<MinS16>>(isa),
            (true, true, false) => binary::<Pair<MaxS16>>(isa),
            (false, _, true) => plain::binary::<Pair<Then<MinS16, ReluS16>>>(isa),
            (true, _, true) => plain::binary::<Pair<Then<MaxS16, ReluS16>>>(isa),
            (false, false, false) => binary::<Pair<Min<u16>>>(isa),
            (true, false, false) => binary::<Pair<Max<u16>>>(isa),
        };
        return elementwise(b, run, B32, &[B32; 2]);
    }
    if relu {
        m.last_ty(&[S32])?;
        needs(b, 90)?;
        let run = if max {
            plain::binary::<Then<Max<i32>, Relu>>(isa)
        } else {
            plain::binary::<Then<Min<i32>, Relu>>(isa)
        };
        return elementwise(b, run, S32, &[S32; 2]);
    }
    let ty = m.last_ty(&INTS)?;
    let run = if max { typed!(ty, binary, Max, isa) } else { typed!(ty, binary, Min, isa) };
    elementwise(b, run, ty, &[ty; 2])
}

fn dot_product(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let bytes = b.source.opcode == "dp4a";
    let high = !bytes && m.require(&[("lo", false), ("hi", true)])?;
    let signed = [m.ty(&WORDS)? == S32, m.last_ty(&WORDS)? == S32];
    let run = if bytes { ternary::<Dp4a>(b.isa) } else { plain::ternary::<Dp2a>(b.isa) };
    b.set_imm(i64::from(signed[0]) | i64::from(signed[1]) << 1 | i64::from(high) << 2);
    elementwise(b, run, B32, &[B32; 3])
}

/// With all four bytes of the result: operands with a mask of bytes (`d.b0`) do not parse.
fn byte_wise(b: &mut Builder<'_>, mut m: Modifiers<'_>) -> Result<(), String> {
    let difference = b.source.opcode == "vabsdiff4";
    let [d, x, y] = [m.ty(&WORDS)?, m.ty(&WORDS)?, m.ty(&WORDS)?].map(|ty| i64::from(ty == S32));
    let sum = difference && m.accept("add");
    let sat = !sum && m.accept("sat");
    m.end()?;
    let run = match (difference, sum) {
        (true, false) => plain::ternary::<Vabsdiff4>(b.isa),
        (true, true) => plain::ternary::<Vabsdiff4Add>(b.isa),
        _ => plain::ternary::<Vadd4>(b.isa),
    };
    b.set_imm(x | y << 1 | d << 2 | i64::from(sat) << 3);
    elementwise(b, run, B32, &[B32; 3])
}
