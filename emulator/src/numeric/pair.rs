//! `.f16x2` and `.bf16x2`: a scalar function applied to both halves of a 32-bit register.

/// The low and the high half.
#[inline(always)]
pub fn split(x: u32) -> (u16, u16) {
    (x as u16, (x >> 16) as u16)
}

/// The register with the halves `low` and `high`.
#[inline(always)]
pub fn join(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// `f` of each half.
#[inline(always)]
pub fn map1(a: u32, f: impl Fn(u16) -> u16) -> u32 {
    let (low, high) = split(a);
    join(f(low), f(high))
}

/// `f` of the halves of two registers.
#[inline(always)]
pub fn map2(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    let (a, b) = (split(a), split(b));
    join(f(a.0, b.0), f(a.1, b.1))
}

/// `f` of the halves of three registers.
#[inline(always)]
pub fn map3(a: u32, b: u32, c: u32, f: impl Fn(u16, u16, u16) -> u16) -> u32 {
    let (a, b, c) = (split(a), split(b), split(c));
    join(f(a.0, b.0, c.0), f(a.1, b.1, c.1))
}
