//! From registers to matrices of numbers, and from sums back to registers.

use super::layout::{Fragment, TILE};
use super::{Element, Lanes};
use crate::numeric::{fp8, half};

/// Eight columns of a matrix with `M` rows.
pub(super) type Panel<T, const M: usize> = [[T; TILE]; M];

/// What a matrix is decoded to: f64 for floats, f32 for integers. Both hold every element exactly.
pub(super) trait Real: Copy + Default {
    /// Gives every element of a register to `put`, with its index in the row-major tile.
    fn each(element: Element, words: &Lanes, put: impl FnMut(usize, Self));
}

impl Real for f64 {
    #[inline(always)]
    fn each(element: Element, words: &Lanes, mut put: impl FnMut(usize, Self)) {
        match element {
            Element::F16 => halves(words, |i, x| put(i, f64::from(half::to_f32(x)))),
            Element::Bf16 => halves(words, |i, x| put(i, f64::from(f32::from_bits(u32::from(x) << 16)))),
            Element::Tf32 => {
                for (i, x) in words.iter().enumerate() {
                    put(i, f64::from(f32::from_bits(x & !0x1fff)));
                }
            }
            Element::E4m3 => bytes(words, |i, x| put(i, f64::from(half::to_f32(fp8::e4m3_to_f16(x))))),
            Element::E5m2 => bytes(words, |i, x| put(i, f64::from(half::to_f32(fp8::e5m2_to_f16(x))))),
            integer => f32::each(integer, words, |i, x| put(i, f64::from(x))),
        }
    }
}

impl Real for f32 {
    /// Integers alone; a float of a wider range would not fit.
    #[inline(always)]
    fn each(element: Element, words: &Lanes, mut put: impl FnMut(usize, Self)) {
        match element {
            Element::S8 => bytes(words, |i, x| put(i, f32::from(x as i8))),
            Element::U8 => bytes(words, |i, x| put(i, f32::from(x))),
            Element::S4 => nibbles(words, |i, x| put(i, f32::from((x << 4) as i8 >> 4))),
            Element::U4 => nibbles(words, |i, x| put(i, f32::from(x))),
            float => unreachable!("{float:?} is summed in f64"),
        }
    }
}

#[inline(always)]
fn halves(words: &Lanes, mut put: impl FnMut(usize, u16)) {
    for (i, x) in words.iter().enumerate() {
        put(2 * i, *x as u16);
        put(2 * i + 1, (x >> 16) as u16);
    }
}

#[inline(always)]
fn bytes(words: &Lanes, mut put: impl FnMut(usize, u8)) {
    for (i, x) in words.iter().enumerate() {
        for (j, byte) in x.to_le_bytes().into_iter().enumerate() {
            put(4 * i + j, byte);
        }
    }
}

#[inline(always)]
fn nibbles(words: &Lanes, mut put: impl FnMut(usize, u8)) {
    bytes(words, |i, x| {
        put(2 * i, x & 15);
        put(2 * i + 1, x >> 4);
    });
}

/// Decodes a fragment of `M` rows and `K` columns.
#[inline(always)]
pub(super) fn rows<T: Real, const M: usize, const K: usize>(
    element: Element,
    registers: &[Lanes],
) -> [[T; K]; M] {
    let fragment = Fragment::of(M, K, element);
    let width = 4 * fragment.per_word;
    let mut out = [[T::default(); K]; M];
    for (r, words) in registers.iter().enumerate().take(fragment.registers()) {
        let (row, column) = fragment.tile(r);
        T::each(element, words, |i, x| out[row + i / width][column + i % width] = x);
    }
    out
}

/// Decodes the columns `8 * panel ..` of a `B` with `n` columns, held as its transpose.
#[inline(always)]
pub(super) fn columns<T: Real, const K: usize>(
    element: Element,
    registers: &[Lanes],
    n: usize,
    panel: usize,
) -> Panel<T, K> {
    let fragment = Fragment::of(n, K, element);
    let width = 4 * fragment.per_word;
    let mut out = [[T::default(); TILE]; K];
    let tiles = (panel..fragment.registers()).step_by(n / TILE);
    for (tile, words) in tiles.zip(registers.iter().skip(panel).step_by(n / TILE)) {
        let (_, first) = fragment.tile(tile);
        T::each(element, words, |i, x| out[first + i % width][i / width] = x);
    }
    out
}

/// Decodes the columns `8 * panel ..` of a matrix of sums of 32 bits.
#[inline(always)]
pub(super) fn words<T: Copy + Default, const M: usize>(
    registers: &[Lanes],
    panel: usize,
    of: impl Fn(u32) -> T,
) -> Panel<T, M> {
    let mut out = [[T::default(); TILE]; M];
    for (tile, pair) in registers.chunks_exact(2).skip(panel * M / TILE).take(M / TILE).enumerate() {
        for lane in 0..32 {
            let row = &mut out[tile * TILE + lane / 4];
            row[lane % 4 * 2] = of(pair[0][lane]);
            row[lane % 4 * 2 + 1] = of(pair[1][lane]);
        }
    }
    out
}

/// The inverse of [`words`].
#[inline(always)]
pub(super) fn put_words<T: Copy, const M: usize>(
    registers: &mut [Lanes],
    panel: usize,
    sums: &Panel<T, M>,
    to: impl Fn(T) -> u32,
) {
    for (tile, pair) in registers.chunks_exact_mut(2).skip(panel * M / TILE).take(M / TILE).enumerate() {
        for lane in 0..32 {
            let row = &sums[tile * TILE + lane / 4];
            pair[0][lane] = to(row[lane % 4 * 2]);
            pair[1][lane] = to(row[lane % 4 * 2 + 1]);
        }
    }
}

/// Decodes the columns `8 * panel ..` of a matrix of sums in f16.
#[inline(always)]
pub(super) fn half_words<const M: usize>(registers: &[Lanes], panel: usize) -> Panel<f64, M> {
    let mut out = [[0.0; TILE]; M];
    for (tile, register) in registers.iter().skip(panel * M / TILE).take(M / TILE).enumerate() {
        halves(register, |i, x| out[tile * TILE + i / TILE][i % TILE] = f64::from(half::to_f32(x)));
    }
    out
}

/// The inverse of [`half_words`].
#[inline(always)]
pub(super) fn put_half_words<T: Copy, const M: usize>(
    registers: &mut [Lanes],
    panel: usize,
    sums: &Panel<T, M>,
    to: impl Fn(T) -> u16,
) {
    for (tile, register) in registers.iter_mut().skip(panel * M / TILE).take(M / TILE).enumerate() {
        for lane in 0..32 {
            let row = &sums[tile * TILE + lane / 4];
            register[lane] = u32::from(to(row[lane % 4 * 2])) | u32::from(to(row[lane % 4 * 2 + 1])) << 16;
        }
    }
}
