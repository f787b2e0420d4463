//! Integer arithmetic of PTX where Rust's operators do not say the same: high halves, division, 24-bit products, sums of
//! absolute differences, dot products.
//!
//! Add, sub, `mul.lo` and `mad.lo` are Rust's `wrapping_*`; `add.sat.s32` is `saturating_add`. Tests: `tests/numeric_integer.rs`.

macro_rules! high_and_division {
    ($($int:ident $wide:ident $high:ident $div:ident $rem:ident $sad:ident)*) => {$(
        /// `mul.hi`: the upper half of the product.
        #[inline(always)]
        pub fn $high(a: $int, b: $int) -> $int {
            ((a as $wide * b as $wide) >> $int::BITS) as $int
        }

        /// `div`: towards zero. By 0, which the ISA leaves open, all ones; the smallest number by -1 wraps to itself.
        #[inline(always)]
        pub fn $div(a: $int, b: $int) -> $int {
            if b == 0 { !0 } else { a.wrapping_div(b) }
        }

        /// `rem`: of the sign of `a`. By 0, which the ISA leaves open, `a`; of the smallest number by -1, 0.
        #[inline(always)]
        pub fn $rem(a: $int, b: $int) -> $int {
            if b == 0 { a } else { a.wrapping_rem(b) }
        }

        /// `sad`: `|a - b| + c`, wrapping.
        #[inline(always)]
        pub fn $sad(a: $int, b: $int, c: $int) -> $int {
            (a.abs_diff(b) as $int).wrapping_add(c)
        }
    )*};
}

high_and_division! {
    u16 u32 mul_hi_u16 div_u16 rem_u16 sad_u16
    u32 u64 mul_hi_u32 div_u32 rem_u32 sad_u32
    u64 u128 mul_hi_u64 div_u64 rem_u64 sad_u64
    i16 i32 mul_hi_s16 div_s16 rem_s16 sad_s16
    i32 i64 mul_hi_s32 div_s32 rem_s32 sad_s32
    i64 i128 mul_hi_s64 div_s64 rem_s64 sad_s64
}

/// `mad.hi.sat.s32`: the upper half of the product plus `c`, clamped.
#[inline(always)]
pub fn mad_hi_sat_s32(a: i32, b: i32, c: i32) -> i32 {
    mul_hi_s32(a, b).saturating_add(c)
}

/// The 48-bit product of the low 24 bits, taken as unsigned.
#[inline(always)]
fn product24_u(a: u32, b: u32) -> u64 {
    u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)
}

/// The 48-bit product of the low 24 bits, taken as signed.
#[inline(always)]
fn product24_s(a: i32, b: i32) -> i64 {
    i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)
}

/// `mul24.lo.u32`: bits 0 to 31 of the product; `mad24.lo` adds, wrapping.
#[inline(always)]
pub fn mul24_lo_u32(a: u32, b: u32) -> u32 {
    product24_u(a, b) as u32
}

/// `mul24.hi.u32`: bits 16 to 47 of the product; `mad24.hi` adds, wrapping.
#[inline(always)]
pub fn mul24_hi_u32(a: u32, b: u32) -> u32 {
    (product24_u(a, b) >> 16) as u32
}

/// `mul24.lo.s32`: bits 0 to 31 of the product.
#[inline(always)]
pub fn mul24_lo_s32(a: i32, b: i32) -> i32 {
    product24_s(a, b) as i32
}

/// `mul24.hi.s32`: bits 16 to 47 of the product; `mad24.hi.sat` adds with `saturating_add`.
#[inline(always)]
pub fn mul24_hi_s32(a: i32, b: i32) -> i32 {
    (product24_s(a, b) >> 16) as i32
}

/// Byte `i` of `x`, sign- or zero-extended.
#[inline(always)]
fn byte(x: u32, i: u32, signed: bool) -> i32 {
    let byte = (x >> (8 * i)) as u8;
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}

/// Half `i` of `x`, sign- or zero-extended.
#[inline(always)]
fn half(x: u32, i: u32, signed: bool) -> i32 {
    let half = (x >> (16 * i)) as u16;
    if signed { i32::from(half as i16) } else { i32::from(half) }
}

/// `dp4a`: `c` plus the products of the four bytes, wrapping. The flags say whether `a`'s and `b`'s bytes are signed.
#[inline(always)]
pub fn dp4a(a: u32, b: u32, c: u32, signed_a: bool, signed_b: bool) -> u32 {
    let term = |i| byte(a, i, signed_a) * byte(b, i, signed_b);
    c.wrapping_add((term(0) + term(1) + term(2) + term(3)) as u32)
}

/// `dp2a`: `c` plus the products of `a`'s two halves with two bytes of `b` (bytes 2 and 3 with `hi`, else 0 and 1), wrapping.
#[inline(always)]
pub fn dp2a(a: u32, b: u32, c: u32, signed_a: bool, signed_b: bool, hi: bool) -> u32 {
    let first = if hi { 2 } else { 0 };
    let term = |i| half(a, i, signed_a) * byte(b, first + i, signed_b);
    c.wrapping_add((term(0) + term(1)) as u32)
}
