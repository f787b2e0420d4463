//! `.f16x2` and `.bf16x2`: a scalar function applied to both halves of a 32-bit register.
//!
//! The commonest have names ([`half::fma2`](super::half::fma2) and its like); the maps take any other.

/// Defines functions of registers as functions of their halves.
macro_rules! of_halves {
    ($($pair:ident = $scalar:ident($($arg:ident),+);)*) => {$(
        #[doc = concat!("[`", stringify!($scalar), "`] of each half.")]
        #[inline(always)]
        pub fn $pair($($arg: u32),+) -> u32 {
            $crate::numeric::pair::join($scalar($($arg as u16),+), $scalar($(($arg >> 16) as u16),+))
        }
    )*};
}
pub(super) use of_halves;

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
    both(|place| f((a >> place) as u16))
}

/// `f` of the halves of two registers.
#[inline(always)]
pub fn map2(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    both(|place| f((a >> place) as u16, (b >> place) as u16))
}

/// `f` of the halves of three registers.
#[inline(always)]
pub fn map3(a: u32, b: u32, c: u32, f: impl Fn(u16, u16, u16) -> u16) -> u32 {
    both(|place| f((a >> place) as u16, (b >> place) as u16, (c >> place) as u16))
}

/// Joins what `f` gives for the places of the low and the high half. A loop, so that `f` has one caller and is inlined: twice
/// in a row it may become a call, and then loops over lanes do not vectorise.
#[inline(always)]
fn both(f: impl Fn(u32) -> u16) -> u32 {
    let mut out = 0;
    for place in [0, 16] {
        out |= u32::from(f(place)) << place;
    }
    out
}
