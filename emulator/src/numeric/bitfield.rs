//! Bits: `bfe`, `bfi`, `bfind`, `prmt`, `lop3`, `shf`, `shl`, `shr`, `fns`, `szext`, `bmsk`.
//!
//! `brev`, `popc`, `clz` are `reverse_bits`, `count_ones`, `leading_zeros`. Tests: `tests/numeric_integer.rs`.

macro_rules! fields {
    ($($uint:ident $int:ident $bfe_u:ident $bfe_s:ident $bfi:ident $bfind_u:ident $bfind_s:ident)*) => {$(
        /// `bfe` unsigned: `len` bits of `a` from `pos` up (both modulo 256); places past the top read 0.
        #[inline(always)]
        pub fn $bfe_u(a: $uint, pos: u32, len: u32) -> $uint {
            let moved = a.checked_shr(pos & 0xff).unwrap_or(0);
            moved & !$uint::MAX.checked_shl(len & 0xff).unwrap_or(0)
        }

        /// `bfe` signed: as unsigned, but what lies above the field or past the top is the sign: bit `pos + len - 1`, or the top
        /// bit if that is past it. A length of 0 gives 0.
        #[inline(always)]
        pub fn $bfe_s(a: $int, pos: u32, len: u32) -> $int {
            let (pos, len) = (pos & 0xff, len & 0xff);
            if len == 0 {
                return 0;
            }
            let unused = $uint::BITS.saturating_sub(len);
            // An arithmetic shift by at least the width leaves the sign alone.
            let moved = a >> pos.min($uint::BITS - 1);
            moved << unused >> unused
        }

        /// `bfi`: `b` with `len` bits from `pos` up (both modulo 256) replaced by the low ones of `a`; places past the top
        /// are dropped.
        #[inline(always)]
        pub fn $bfi(a: $uint, b: $uint, pos: u32, len: u32) -> $uint {
            let field = !$uint::MAX.checked_shl(len & 0xff).unwrap_or(0);
            let mask = field.checked_shl(pos & 0xff).unwrap_or(0);
            let value = a.checked_shl(pos & 0xff).unwrap_or(0);
            b & !mask | value & mask
        }

        /// `bfind` unsigned: the place of the topmost 1, or its distance from the top with `shiftamt`; 0xffffffff if there is none.
        #[inline(always)]
        pub fn $bfind_u(a: $uint, shiftamt: bool) -> u32 {
            let above = a.leading_zeros();
            if a == 0 {
                u32::MAX
            } else if shiftamt {
                above
            } else {
                $uint::BITS - 1 - above
            }
        }

        /// `bfind` signed: the topmost bit that differs from the sign; 0xffffffff for 0 and -1.
        #[inline(always)]
        pub fn $bfind_s(a: $int, shiftamt: bool) -> u32 {
            $bfind_u((if a < 0 { !a } else { a }) as $uint, shiftamt)
        }
    )*};
}

fields! {
    u32 i32 bfe_u32 bfe_s32 bfi_b32 bfind_u32 bfind_s32
    u64 i64 bfe_u64 bfe_s64 bfi_b64 bfind_u64 bfind_s64
}

macro_rules! shifts {
    ($($uint:ident $int:ident $shl:ident $shr_u:ident $shr_s:ident)*) => {$(
        /// `shl`: counts at least as wide as the type give 0.
        #[inline(always)]
        pub fn $shl(a: $uint, count: u32) -> $uint {
            if count < $uint::BITS { a << count } else { 0 }
        }

        /// `shr` unsigned or of bits: counts at least as wide as the type give 0.
        #[inline(always)]
        pub fn $shr_u(a: $uint, count: u32) -> $uint {
            if count < $uint::BITS { a >> count } else { 0 }
        }

        /// `shr` signed: counts at least as wide as the type give the sign everywhere.
        #[inline(always)]
        pub fn $shr_s(a: $int, count: u32) -> $int {
            a >> count.min($uint::BITS - 1)
        }
    )*};
}

shifts! {
    u16 i16 shl_b16 shr_u16 shr_s16
    u32 i32 shl_b32 shr_u32 shr_s32
    u64 i64 shl_b64 shr_u64 shr_s64
}

/// `shf.l`: the upper half of `b:a` shifted left by `c`, which counts modulo 32 with `wrap`, at most 32 without.
#[inline(always)]
pub fn shf_l(a: u32, b: u32, c: u32, wrap: bool) -> u32 {
    let count = if wrap { c & 31 } else { c.min(32) };
    (((u64::from(b) << 32 | u64::from(a)) << count) >> 32) as u32
}

/// `shf.r`: the lower half of `b:a` shifted right by `c`, which counts modulo 32 with `wrap`, at most 32 without.
#[inline(always)]
pub fn shf_r(a: u32, b: u32, c: u32, wrap: bool) -> u32 {
    let count = if wrap { c & 31 } else { c.min(32) };
    ((u64::from(b) << 32 | u64::from(a)) >> count) as u32
}

/// `lop3`: each bit is bit `a:b:c` of `table`.
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, table: u8) -> u32 {
    // A tree of selections, constants at its leaves: nothing branches on the table, so loops over lanes vectorise.
    let leaf = |i: u8| (u32::from(table >> i) & 1).wrapping_neg();
    let select = |x: u32, one: u32, zero: u32| zero ^ x & (one ^ zero);
    let by_c = |i: u8| select(c, leaf(i + 1), leaf(i));
    select(a, select(b, by_c(6), by_c(4)), select(b, by_c(2), by_c(0)))
}

/// A mode of `prmt`: how `c` picks four of the eight bytes of `b:a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prmt {
    /// No mode: nibble i of `c` picks the byte; its top bit fills the byte with that one's sign.
    Index,
    /// `.f4e`: four bytes upwards from byte `c`.
    F4e,
    /// `.b4e`: four bytes downwards from byte `c`, modulo 8.
    B4e,
    /// `.rc8`: byte `c` four times.
    Rc8,
    /// `.ecl`: bytes 0 to 3, those below `c` replaced by byte `c`.
    Ecl,
    /// `.ecr`: bytes 0 to 3, those above `c` replaced by byte `c`.
    Ecr,
    /// `.rc16`: the half that `c`'s lowest bit names, twice.
    Rc16,
}

/// `prmt`: four bytes of `b:a`.
#[inline(always)]
pub fn prmt(a: u32, b: u32, c: u32, mode: Prmt) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let pick = |i: u32, from: u32| {
        let byte = (bytes >> (8 * (from & 7))) as u8;
        let filled = if (byte as i8) < 0 { 0xff } else { 0 };
        u32::from(if from & 8 != 0 { filled } else { byte }) << (8 * i)
    };
    let low = c & 3;
    let from = |i: u32| match mode {
        Prmt::Index => c >> (4 * i) & 15,
        Prmt::F4e => low + i,
        Prmt::B4e => low.wrapping_sub(i) & 7,
        Prmt::Rc8 => low,
        Prmt::Ecl => low.max(i),
        Prmt::Ecr => low.min(i),
        Prmt::Rc16 => 2 * (low & 1) + (i & 1),
    };
    pick(0, from(0)) | pick(1, from(1)) | pick(2, from(2)) | pick(3, from(3))
}

/// `fns`: the place of the `|offset|`-th 1 of `mask` from `base` on, upwards for a positive offset, downwards for a negative one;
/// for offset 0, `base` itself if its bit is 1. 0xffffffff if there is none, or if `base` is past the top.
#[inline]
pub fn fns(mask: u32, base: u32, offset: i32) -> u32 {
    if base > 31 {
        return u32::MAX;
    }
    let set = |place: &u32| mask >> place & 1 == 1;
    let nth = offset.unsigned_abs().saturating_sub(1) as usize;
    let found = match offset.signum() {
        0 => Some(base).filter(set),
        1 => (base..32).filter(set).nth(nth),
        _ => (0..=base).rev().filter(set).nth(nth),
    };
    found.unwrap_or(u32::MAX)
}

/// `szext`: the low `bits` bits of `a`, extended by their sign if `signed`. From 32 on, `wrap` counts modulo 32 and the other mode
/// keeps `a` whole.
#[inline(always)]
pub fn szext(a: u32, bits: u32, signed: bool, wrap: bool) -> u32 {
    let bits = if wrap { bits & 31 } else { bits };
    if bits > 31 {
        return a;
    }
    let sign = signed && bits > 0 && a >> (bits.max(1) - 1) & 1 == 1;
    let above = u32::MAX << bits;
    if sign { a | above } else { a & !above }
}

/// `bmsk`: `width` ones from `pos` up, those past the top dropped. With `wrap` both count modulo 32, else a position past the top
/// gives 0.
#[inline(always)]
pub fn bmsk(pos: u32, width: u32, wrap: bool) -> u32 {
    let (pos, width) = if wrap { (pos & 31, width & 31) } else { (pos, width) };
    let ones = !u32::MAX.checked_shl(width).unwrap_or(0);
    ones.checked_shl(pos).unwrap_or(0)
}
