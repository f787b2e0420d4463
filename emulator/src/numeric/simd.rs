//! Byte-wise video instructions: `vabsdiff4` and `vadd4`.
//!
//! Tests: `tests/numeric_integer.rs`.

/// How the bytes of the operands and the result are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// `a` is `.s32`: its bytes are signed.
    pub signed_a: bool,
    /// `b` is `.s32`.
    pub signed_b: bool,
    /// The destination is `.s32`: what `.sat` clamps to.
    pub signed_d: bool,
    /// `.sat`: results are clamped to the destination's bytes rather than cut.
    pub sat: bool,
}

/// `vabsdiff4`: `|a - b|` of each byte.
#[inline(always)]
pub fn vabsdiff4(a: u32, b: u32, bytes: Bytes) -> u32 {
    each(a, b, bytes, |a, b| (a - b).abs())
}

/// `vadd4`: `a + b` of each byte.
#[inline(always)]
pub fn vadd4(a: u32, b: u32, bytes: Bytes) -> u32 {
    each(a, b, bytes, |a, b| a + b)
}

/// The bytes of `d` that the mask names (bit i for byte i), the others of `c`.
#[inline(always)]
pub fn masked(d: u32, c: u32, mask: u32) -> u32 {
    let keep = |i: u32| if mask >> i & 1 == 1 { 0xff << (8 * i) } else { 0 };
    let bytes = keep(0) | keep(1) | keep(2) | keep(3);
    d & bytes | c & !bytes
}

/// `vabsdiff4.add`: the differences of the bytes that the mask names, summed and added to `c`, wrapping.
#[inline(always)]
pub fn vabsdiff4_add(a: u32, b: u32, c: u32, bytes: Bytes, mask: u32) -> u32 {
    let term = |i: u32| {
        let difference = (byte(a, i, bytes.signed_a) - byte(b, i, bytes.signed_b)).unsigned_abs();
        if mask >> i & 1 == 1 { difference } else { 0 }
    };
    c.wrapping_add(term(0) + term(1) + term(2) + term(3))
}

#[inline(always)]
fn each(a: u32, b: u32, bytes: Bytes, f: impl Fn(i32, i32) -> i32) -> u32 {
    let (low, high) = if bytes.signed_d { (-128, 127) } else { (0, 255) };
    let one = |i: u32| {
        let exact = f(byte(a, i, bytes.signed_a), byte(b, i, bytes.signed_b));
        let kept = if bytes.sat { exact.clamp(low, high) } else { exact };
        (kept as u32 & 0xff) << (8 * i)
    };
    one(0) | one(1) | one(2) | one(3)
}

#[inline(always)]
fn byte(x: u32, i: u32, signed: bool) -> i32 {
    let byte = (x >> (8 * i)) as u8;
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}
