//! Integer, bit-field and video instructions against the ISA's definitions, bit by bit or in 128-bit integers.

use cuda_emulator::numeric::bitfield::{self, Prmt};
use cuda_emulator::numeric::integer;
use cuda_emulator::numeric::simd::{self, Bytes};
use proptest::prelude::*;

/// Any bits, but often few or many ones, or the limits of the type.
fn word() -> impl Strategy<Value = u64> {
    let limits =
        [0, 1, u64::MAX, 1 << 31, 1 << 63, (1 << 31) - 1, (1 << 63) - 1, 0xffff_ffff, 0x8000_0000_8000_8080];
    prop_oneof![any::<u64>(), prop::sample::select(limits.to_vec()), (0..64u32).prop_map(|n| 1u64 << n)]
}

/// Positions and lengths: mostly near the width, sometimes anything.
fn count() -> impl Strategy<Value = u32> {
    prop_oneof![0..70u32, any::<u32>()]
}

/// `bfe` of the low `width` bits of `a`, as the ISA's loop has it.
fn bfe(a: u64, pos: u32, len: u32, width: u32, signed: bool) -> u64 {
    let (pos, len, top) = (pos & 0xff, len & 0xff, width - 1);
    let bit = |i: u32| a >> i & 1;
    let fill = if !signed || len == 0 { 0 } else { bit((pos + len - 1).min(top)) };
    (0..width).map(|i| if i < len && pos + i <= top { bit(pos + i) << i } else { fill << i }).sum()
}

fn bfi(a: u64, b: u64, pos: u32, len: u32, width: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let mut out = b;
    for i in 0..len {
        if pos + i < width {
            out = out & !(1 << (pos + i)) | (a >> i & 1) << (pos + i);
        }
    }
    out
}

fn fns(mask: u32, base: i32, offset: i32) -> u32 {
    let bit = |place: i32| mask >> place & 1 == 1;
    if offset == 0 {
        return if bit(base) { base as u32 } else { u32::MAX };
    }
    let (mut place, mut count) = (base, offset.unsigned_abs() - 1);
    while (0..32).contains(&place) {
        if bit(place) {
            if count == 0 {
                return place as u32;
            }
            count -= 1;
        }
        place += offset.signum();
    }
    u32::MAX
}

/// The bytes of `x` from the lowest, widened.
fn bytes(x: u32, signed: bool) -> [i64; 4] {
    x.to_le_bytes().map(|b| if signed { i64::from(b as i8) } else { i64::from(b) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bit_fields_are_those_of_the_isa(a in word(), b in word(), pos in count(), len in count()) {
        let (a32, b32) = (a as u32, b as u32);
        prop_assert_eq!(u64::from(bitfield::bfe_u32(a32, pos, len)), bfe(a32.into(), pos, len, 32, false));
        prop_assert_eq!(u64::from(bitfield::bfe_s32(a32 as i32, pos, len) as u32), bfe(a32.into(), pos, len, 32, true));
        prop_assert_eq!(bitfield::bfe_u64(a, pos, len), bfe(a, pos, len, 64, false));
        prop_assert_eq!(bitfield::bfe_s64(a as i64, pos, len) as u64, bfe(a, pos, len, 64, true));
        prop_assert_eq!(u64::from(bitfield::bfi_b32(a32, b32, pos, len)), bfi(a32.into(), b32.into(), pos, len, 32));
        prop_assert_eq!(bitfield::bfi_b64(a, b, pos, len), bfi(a, b, pos, len, 64));
    }

    #[test]
    fn shifts_clamp_their_counts(a in word(), b in word(), n in count()) {
        let count = u128::from(n.min(128));
        let wide = |x: u64| if count < 128 { (u128::from(x) << count) as u64 } else { 0 };
        let narrow = |x: u64| if count < 128 { (u128::from(x) >> count) as u64 } else { 0 };
        let sign = |x: i64| i128::from(x) >> count.min(127);
        prop_assert_eq!(bitfield::shl_b64(a, n), wide(a));
        prop_assert_eq!(bitfield::shl_b32(a as u32, n), wide(u64::from(a as u32)) as u32);
        prop_assert_eq!(bitfield::shl_b16(a as u16, n), wide(u64::from(a as u16)) as u16);
        prop_assert_eq!(bitfield::shr_u64(a, n), narrow(a));
        prop_assert_eq!(bitfield::shr_u32(a as u32, n), narrow(u64::from(a as u32)) as u32);
        prop_assert_eq!(bitfield::shr_u16(a as u16, n), narrow(u64::from(a as u16)) as u16);
        prop_assert_eq!(bitfield::shr_s64(a as i64, n), sign(a as i64) as i64);
        prop_assert_eq!(bitfield::shr_s32(a as i32, n), sign(i64::from(a as i32)) as i32);
        prop_assert_eq!(bitfield::shr_s16(a as i16, n), sign(i64::from(a as i16)) as i16);
        let (a, b) = (a as u32, b as u32);
        for (wrap, n) in [(true, n % 32), (false, n.min(32))] {
            let (left, right) = match n {
                0 => (b, a),
                32 => (a, b),
                n => (b << n | a >> (32 - n), b << (32 - n) | a >> n),
            };
            prop_assert_eq!(bitfield::shf_l(a, b, if wrap { n + 32 } else { n }, wrap), left);
            prop_assert_eq!(bitfield::shf_r(a, b, if wrap { n + 32 } else { n }, wrap), right);
        }
        prop_assert_eq!(bitfield::shf_l(a, b, n.max(32), false), a);
    }

    #[test]
    fn lop3_looks_each_bit_up(a: u32, b: u32, c: u32, table: u8) {
        let bit = |x: u32, i: u32| x >> i & 1;
        let expected: u32 =
            (0..32).map(|i| (u32::from(table) >> (bit(a, i) << 2 | bit(b, i) << 1 | bit(c, i)) & 1) << i).sum();
        prop_assert_eq!(bitfield::lop3(a, b, c, table), expected);
        prop_assert_eq!(bitfield::lop3(a, b, c, 0xf0 & 0xcc | 0xaa), a & b | c);
    }

    #[test]
    fn the_topmost_bit_is_found(a in word()) {
        let find = |x: u64, width: u32| (0..width).rev().find(|&i| x >> i & 1 == 1);
        let flip = |x: i64| (if x < 0 { !x } else { x }) as u64;
        let cases = [
            (find(a, 64), 64, bitfield::bfind_u64(a, false), bitfield::bfind_u64(a, true)),
            (find(a, 32), 32, bitfield::bfind_u32(a as u32, false), bitfield::bfind_u32(a as u32, true)),
            (find(flip(a as i64), 64), 64, bitfield::bfind_s64(a as i64, false), bitfield::bfind_s64(a as i64, true)),
            (find(flip(i64::from(a as i32)), 32), 32, bitfield::bfind_s32(a as i32, false), bitfield::bfind_s32(a as i32, true)),
        ];
        for (place, width, found, distance) in cases {
            prop_assert_eq!(found, place.unwrap_or(u32::MAX));
            prop_assert_eq!(distance, place.map_or(u32::MAX, |p| width - 1 - p));
        }
    }

    #[test]
    fn the_nth_one_is_found_from_a_base(mask: u32, base in 0..32i32, offset in prop_oneof![-33..34i32, any::<i32>()]) {
        prop_assert_eq!(bitfield::fns(mask, base as u32, offset), fns(mask, base, offset));
        prop_assert_eq!(bitfield::fns(mask, base as u32 + 32, offset), u32::MAX);
    }

    #[test]
    fn extensions_and_masks_are_those_of_the_isa(a: u32, n in 0..32u32, width in 0..32u32) {
        let low = if n == 0 { 0 } else { a << (32 - n) };
        let (signed, unsigned) = if n == 0 { (0, 0) } else { ((low as i32 >> (32 - n)) as u32, low >> (32 - n)) };
        for (bits, wrap) in [(n, true), (n, false), (n + 32, true)] {
            prop_assert_eq!(bitfield::szext(a, bits, true, wrap), signed);
            prop_assert_eq!(bitfield::szext(a, bits, false, wrap), unsigned);
        }
        prop_assert_eq!(bitfield::szext(a, n + 32, true, false), a);
        let mask: u32 = (0..32).filter(|&i| i >= n && i < n + width).map(|i| 1u32 << i).sum();
        prop_assert_eq!(bitfield::bmsk(n, width, false), mask);
        prop_assert_eq!(bitfield::bmsk(n + 32, width + 64, true), mask);
        prop_assert_eq!(bitfield::bmsk(n + 32, width, false), 0);
        prop_assert_eq!(bitfield::bmsk(n, width + 32, false), u32::MAX << n);
    }

    #[test]
    fn products_and_differences_are_those_of_wider_integers(a in word(), b in word(), c in word()) {
        let (u, v) = (u128::from(a), u128::from(b));
        let (x, y) = (i128::from(a as i64), i128::from(b as i64));
        prop_assert_eq!(integer::mul_hi_u64(a, b), ((u * v) >> 64) as u64);
        prop_assert_eq!(integer::mul_hi_s64(a as i64, b as i64), ((x * y) >> 64) as i64);
        let (a32, b32, c32) = (a as i32, b as i32, c as i32);
        let product = i128::from(a32) * i128::from(b32);
        prop_assert_eq!(integer::mul_hi_s32(a32, b32), (product >> 32) as i32);
        prop_assert_eq!(integer::mul_hi_u32(a as u32, b as u32), (((u & 0xffff_ffff) * (v & 0xffff_ffff)) >> 32) as u32);
        prop_assert_eq!(integer::mul_hi_s16(a as i16, b as i16), ((i64::from(a as i16) * i64::from(b as i16)) >> 16) as i16);
        prop_assert_eq!(integer::mul_hi_u16(a as u16, b as u16), (((u & 0xffff) * (v & 0xffff)) >> 16) as u16);
        let sum = (product >> 32) + i128::from(c32);
        prop_assert_eq!(i128::from(integer::mad_hi_sat_s32(a32, b32, c32)), sum.clamp(i32::MIN.into(), i32::MAX.into()));
        prop_assert_eq!(integer::sad_s32(a32, b32, c32), ((i64::from(a32) - i64::from(b32)).abs() + i64::from(c32)) as i32);
        prop_assert_eq!(integer::sad_u64(a, b, c), ((u.max(v) - u.min(v)) as u64).wrapping_add(c));
        prop_assert_eq!(integer::sad_s64(a as i64, b as i64, c as i64), ((x - y).abs() + i128::from(c as i64)) as i64);
        let (p, q) = ((u & 0xff_ffff) * (v & 0xff_ffff), sign24(a) * sign24(b));
        prop_assert_eq!(integer::mul24_lo_u32(a as u32, b as u32), p as u32);
        prop_assert_eq!(integer::mul24_hi_u32(a as u32, b as u32), (p >> 16) as u32);
        prop_assert_eq!(integer::mul24_lo_s32(a32, b32), q as i32);
        prop_assert_eq!(integer::mul24_hi_s32(a32, b32), (q >> 16) as i32);
    }

    #[test]
    fn quotients_and_rests_satisfy_the_equation_of_division(a in word(), b in word()) {
        let (q, r) = (integer::div_s64(a as i64, b as i64), integer::rem_s64(a as i64, b as i64));
        if b == 0 {
            prop_assert_eq!((q, r), (-1, a as i64));
            prop_assert_eq!((integer::div_u64(a, b), integer::rem_u64(a, b)), (u64::MAX, a));
        } else {
            prop_assert_eq!(q.wrapping_mul(b as i64).wrapping_add(r), a as i64);
            prop_assert!(r.unsigned_abs() < (b as i64).unsigned_abs() && (r == 0 || (r < 0) == ((a as i64) < 0)));
            prop_assert_eq!(integer::div_u64(a, b) * b + integer::rem_u64(a, b), a);
        }
    }

    #[test]
    fn dot_products_sum_widened_terms(a: u32, b: u32, c: u32) {
        for (sa, sb) in [(false, false), (false, true), (true, false), (true, true)] {
            let (x, y) = (bytes(a, sa), bytes(b, sb));
            let four: i64 = (0..4).map(|i| x[i] * y[i]).sum();
            prop_assert_eq!(integer::dp4a(a, b, c, sa, sb), (i64::from(c) + four) as u32);
            let half = |x: u32| if sa { i64::from(x as u16 as i16) } else { i64::from(x as u16) };
            let halves = [half(a), half(a >> 16)];
            for (hi, first) in [(false, 0), (true, 2)] {
                let two = halves[0] * y[first] + halves[1] * y[first + 1];
                prop_assert_eq!(integer::dp2a(a, b, c, sa, sb, hi), (i64::from(c) + two) as u32);
            }
        }
    }

    #[test]
    fn bytes_are_added_and_subtracted_apart(a: u32, b: u32, c: u32, mask in 0..16u32, flags in 0..16u32) {
        let [signed_a, signed_b, signed_d, sat] = [1, 2, 4, 8].map(|bit| flags & bit != 0);
        let kind = Bytes { signed_a, signed_b, signed_d, sat };
        let (x, y) = (bytes(a, signed_a), bytes(b, signed_b));
        let limits = if signed_d { (-128, 127) } else { (0, 255) };
        let pack = |f: &dyn Fn(i64, i64) -> i64| {
            let one = |i: usize| if sat { f(x[i], y[i]).clamp(limits.0, limits.1) } else { f(x[i], y[i]) };
            u32::from_le_bytes([0, 1, 2, 3].map(|i| one(i) as u8))
        };
        let differences = pack(&|x, y| (x - y).abs());
        prop_assert_eq!(simd::vabsdiff4(a, b, kind), differences);
        prop_assert_eq!(simd::vadd4(a, b, kind), pack(&|x, y| x + y));
        let chosen = (0..4).filter(|i| mask >> i & 1 == 1);
        let sum: i64 = chosen.map(|i| (x[i] - y[i]).abs()).sum();
        prop_assert_eq!(simd::vabsdiff4_add(a, b, c, kind, mask), (i64::from(c) + sum) as u32);
        let merged = [0, 1, 2, 3].map(|i| if mask >> i & 1 == 1 { differences.to_le_bytes()[i] } else { c.to_le_bytes()[i] });
        prop_assert_eq!(simd::masked(differences, c, mask), u32::from_le_bytes(merged));
    }
}

fn sign24(x: u64) -> i128 {
    let low = i128::from(x & 0xff_ffff);
    if low >= 1 << 23 { low - (1 << 24) } else { low }
}

#[test]
fn division_without_a_quotient_follows_the_stated_rules() {
    assert_eq!((integer::div_s32(i32::MIN, -1), integer::rem_s32(i32::MIN, -1)), (i32::MIN, 0));
    assert_eq!((integer::div_s16(i16::MIN, -1), integer::rem_s16(i16::MIN, -1)), (i16::MIN, 0));
    assert_eq!((integer::div_u32(7, 0), integer::rem_u32(7, 0)), (u32::MAX, 7));
    assert_eq!((integer::div_s32(-7, 0), integer::rem_s32(-7, 0)), (-1, -7));
    assert_eq!((integer::div_u16(7, 0), integer::rem_u16(7, 0)), (0xffff, 7));
    assert_eq!((integer::div_s32(-7, 2), integer::rem_s32(-7, 2)), (-3, -1));
}

#[test]
fn prmt_modes_pick_the_bytes_of_the_isa_tables() {
    let (a, b) = (0x3322_1100, 0x7766_5544);
    // Byte i of the pair holds 0x11 * i, so the tables read off: d's bytes from the highest, for c = 0, 1, 2, 3.
    let tables = [
        (Prmt::F4e, [0x3322_1100, 0x4433_2211, 0x5544_3322, 0x6655_4433]),
        (Prmt::B4e, [0x5566_7700, 0x6677_0011, 0x7700_1122, 0x0011_2233]),
        (Prmt::Rc8, [0x0000_0000, 0x1111_1111, 0x2222_2222, 0x3333_3333]),
        (Prmt::Ecl, [0x3322_1100, 0x3322_1111, 0x3322_2222, 0x3333_3333]),
        (Prmt::Ecr, [0x0000_0000, 0x1111_1100, 0x2222_1100, 0x3322_1100]),
        (Prmt::Rc16, [0x1100_1100, 0x3322_3322, 0x1100_1100, 0x3322_3322]),
    ];
    for (mode, rows) in tables {
        for (c, row) in rows.into_iter().enumerate() {
            assert_eq!(bitfield::prmt(a, b, c as u32 | 0xabc0, mode), row, "{mode:?} {c}");
        }
    }
    assert_eq!(bitfield::prmt(a, b, 0x7531, Prmt::Index), 0x7755_3311);
    // Bit 3 of a nibble spreads the byte's sign.
    assert_eq!(bitfield::prmt(0x0000_807f, 0xff00_0000, 0xf98c, Prmt::Index), 0xffff_0000);
    assert_eq!(bitfield::prmt(0x0000_807f, 0, 0x0198, Prmt::Index), 0x7f80_ff00);
}
