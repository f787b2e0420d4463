//! From registers to matrices of numbers, and from sums back to registers.

use super::layout::{Fragment, TILE};
use super::{Element, Lanes};
use crate::numeric::{fp8, half};

/// Eight columns of a matrix with `M` rows.
pub(super) type Panel<T, const M: usize> = [[T; TILE]; M];

/// How a word becomes `W` numbers, lowest bits first.
trait Format<T, const W: usize> {
    fn decode(word: u32) -> [T; W];
}

/// Defines formats: `Name: element type, elements to a word, |word| numbers`.
macro_rules! formats {
    ($($name:ident: $t:ty, $w:literal, |$word:ident| $numbers:expr;)*) => {
        $(
            struct $name;
            impl Format<$t, $w> for $name {
                #[inline(always)]
                fn decode($word: u32) -> [$t; $w] {
                    $numbers
                }
            }
        )*
    };
}

formats! {
    F16: f64, 2, |word| halves(word).map(|x| f64::from(half::to_f32(x)));
    Bf16: f64, 2, |word| halves(word).map(|x| f64::from(f32::from_bits(u32::from(x) << 16)));
    Tf32: f64, 1, |word| [f64::from(f32::from_bits(word & !0x1fff))];
    E4m3: f64, 4, |word| word.to_le_bytes().map(|x| f64::from(half::to_f32(fp8::e4m3_to_f16(x))));
    E5m2: f64, 4, |word| word.to_le_bytes().map(|x| f64::from(half::to_f32(fp8::e5m2_to_f16(x))));
    S8: f32, 4, |word| word.to_le_bytes().map(|x| f32::from(x as i8));
    U8: f32, 4, |word| word.to_le_bytes().map(f32::from);
    S4: f32, 8, |word| std::array::from_fn(|i| ((word << (28 - 4 * i)) as i32 >> 28) as f32);
    U4: f32, 8, |word| std::array::from_fn(|i| (word >> (4 * i) & 15) as f32);
}

#[inline(always)]
fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

/// What a matrix is decoded to: f64 for floats, f32 for integers. Both hold every element exactly.
pub(super) trait Real: Copy + Default {
    /// Gives every tile of a fragment, one row of it after another, to `put` with its first row and column.
    fn tiles(
        element: Element,
        fragment: Fragment,
        registers: &[Lanes],
        put: impl FnMut(usize, usize, &[Self]),
    );
}

impl Real for f64 {
    #[inline(always)]
    fn tiles(
        element: Element,
        fragment: Fragment,
        registers: &[Lanes],
        put: impl FnMut(usize, usize, &[Self]),
    ) {
        match element {
            Element::F16 => tiles::<_, 2, F16>(fragment, registers, put),
            Element::Bf16 => tiles::<_, 2, Bf16>(fragment, registers, put),
            Element::Tf32 => tiles::<_, 1, Tf32>(fragment, registers, put),
            Element::E4m3 => tiles::<_, 4, E4m3>(fragment, registers, put),
            Element::E5m2 => tiles::<_, 4, E5m2>(fragment, registers, put),
            integer => unreachable!("{integer:?} is summed in f32"),
        }
    }
}

impl Real for f32 {
    #[inline(always)]
    fn tiles(
        element: Element,
        fragment: Fragment,
        registers: &[Lanes],
        put: impl FnMut(usize, usize, &[Self]),
    ) {
        match element {
            Element::S8 => tiles::<_, 4, S8>(fragment, registers, put),
            Element::U8 => tiles::<_, 4, U8>(fragment, registers, put),
            Element::S4 => tiles::<_, 8, S4>(fragment, registers, put),
            Element::U4 => tiles::<_, 8, U4>(fragment, registers, put),
            float => unreachable!("{float:?} is summed in f64"),
        }
    }
}

#[inline(always)]
fn tiles<T: Copy + Default, const W: usize, F: Format<T, W>>(
    fragment: Fragment,
    registers: &[Lanes],
    mut put: impl FnMut(usize, usize, &[T]),
) {
    for (r, words) in registers.iter().enumerate() {
        let mut numbers = [[T::default(); W]; 32];
        for lane in 0..32 {
            numbers[lane] = F::decode(words[lane]);
        }
        let (row, column) = fragment.tile(r);
        put(row, column, numbers.as_flattened());
    }
}

/// Decodes a fragment of `M` rows and `K` columns.
#[inline(always)]
pub(super) fn rows<T: Real, const M: usize, const K: usize>(
    element: Element,
    registers: &[Lanes],
) -> [[T; K]; M] {
    let mut out = [[T::default(); K]; M];
    T::tiles(element, Fragment::of(M, K, element), registers, |row, column, tile| {
        let width = tile.len() / TILE;
        for (out, tile) in out[row..row + TILE].iter_mut().zip(tile.chunks_exact(width)) {
            out[column..column + width].copy_from_slice(tile);
        }
    });
    out
}

/// Decodes eight columns of B, held as their transpose.
#[inline(always)]
pub(super) fn columns<T: Real, const K: usize>(element: Element, registers: &[Lanes]) -> Panel<T, K> {
    let mut out = [[T::default(); TILE]; K];
    T::tiles(element, Fragment::of(TILE, K, element), registers, |_, first, tile| {
        let width = tile.len() / TILE;
        for (i, out) in out[first..first + width].iter_mut().enumerate() {
            for n in 0..TILE {
                out[n] = tile[n * width + i];
            }
        }
    });
    out
}

/// Decodes eight columns of a matrix of sums of 32 bits.
#[inline(always)]
pub(super) fn words<T: Copy + Default, const M: usize>(
    registers: &[Lanes],
    of: impl Fn(u32) -> T,
) -> Panel<T, M> {
    let mut out = [[T::default(); TILE]; M];
    for (rows, pair) in out.chunks_exact_mut(TILE).zip(registers.chunks_exact(2)) {
        let flat = rows.as_flattened_mut();
        for lane in 0..32 {
            flat[2 * lane] = of(pair[0][lane]);
            flat[2 * lane + 1] = of(pair[1][lane]);
        }
    }
    out
}

/// The inverse of [`words`].
#[inline(always)]
pub(super) fn put_words<T: Copy, const M: usize>(
    registers: &mut [Lanes],
    sums: &Panel<T, M>,
    to: impl Fn(T) -> u32,
) {
    for (rows, pair) in sums.chunks_exact(TILE).zip(registers.chunks_exact_mut(2)) {
        let flat = rows.as_flattened();
        for lane in 0..32 {
            pair[0][lane] = to(flat[2 * lane]);
            pair[1][lane] = to(flat[2 * lane + 1]);
        }
    }
}

/// Decodes eight columns of a matrix of sums in f16.
#[inline(always)]
pub(super) fn half_words<const M: usize>(registers: &[Lanes]) -> Panel<f64, M> {
    let mut out = [[0.0; TILE]; M];
    for (rows, register) in out.chunks_exact_mut(TILE).zip(registers) {
        for (pair, word) in rows.as_flattened_mut().chunks_exact_mut(2).zip(register) {
            pair.copy_from_slice(&F16::decode(*word));
        }
    }
    out
}

/// The inverse of [`half_words`].
#[inline(always)]
pub(super) fn put_half_words<T: Copy, const M: usize>(
    registers: &mut [Lanes],
    sums: &Panel<T, M>,
    to: impl Fn(T) -> u16,
) {
    for (rows, register) in sums.chunks_exact(TILE).zip(registers) {
        for (pair, word) in rows.as_flattened().chunks_exact(2).zip(register) {
            *word = u32::from(to(pair[0])) | u32::from(to(pair[1])) << 16;
        }
    }
}
