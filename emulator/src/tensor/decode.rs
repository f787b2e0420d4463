//! From registers to matrices of numbers, and from sums back to registers.

use super::layout::{Fragment, TILE};
use super::{Element, Lanes};
use crate::numeric::{fp8, half};
use std::ops::{Add, Mul, Neg};

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
    F16: f64, 2, |word| [f64::from(f16(word)), f64::from(f16(word >> 16))];
    Bf16: f64, 2, |word| [word << 16, word & 0xffff_0000].map(|x| f64::from(f32::from_bits(x)));
    Tf32: f64, 1, |word| [f64::from(f32::from_bits(word & !0x1fff))];
    E4m3: f64, 4, |word| word.to_le_bytes().map(|x| f64::from(half::to_f32(fp8::e4m3_to_f16(x))));
    E5m2: f64, 4, |word| word.to_le_bytes().map(|x| f64::from(half::to_f32(fp8::e5m2_to_f16(x))));
    S8: f32, 4, |word| word.to_le_bytes().map(|x| f32::from(x as i8));
    U8: f32, 4, |word| word.to_le_bytes().map(f32::from);
    S4: f32, 8, |word| std::array::from_fn(|i| ((word << (28 - 4 * i)) as i32 >> 28) as f32);
    U4: f32, 8, |word| std::array::from_fn(|i| (word >> (4 * i) & 15) as f32);
}

/// The f16 in the low half of a word, as [`half::to_f32`] but in fewer steps: a NaN stays any NaN.
#[inline(always)]
fn f16(word: u32) -> f32 {
    let wide = (word & 0x7fff) << 13;
    let exponent = wide & 0x1f << 23;
    // The bias grows by 112; infinities and NaN go to the top of the new range.
    let normal = wide + if exponent == 0x1f << 23 { 224 << 23 } else { 112 << 23 };
    let subnormal = f32::from_bits(wide + (113 << 23)) - f32::from_bits(113 << 23);
    let magnitude = if exponent == 0 { subnormal.to_bits() } else { normal };
    f32::from_bits(magnitude | (word & 0x8000) << 16)
}

/// What a matrix is decoded to: f64 for floats, f32 for integers. Both hold every element exactly.
pub(super) trait Real:
    Copy + Default + Add<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    /// Decodes a fragment of `M` rows and `K` columns.
    fn rows<const M: usize, const K: usize>(element: Element, registers: &[Lanes]) -> [[Self; K]; M];

    /// Decodes eight columns of B, held as their transpose.
    fn columns<const K: usize>(element: Element, registers: &[Lanes]) -> Panel<Self, K>;
}

/// Implements [`Real`] by the formats that a type holds, and how many elements of each make a word.
macro_rules! real {
    ($t:ty: $($name:ident $w:literal),*) => {
        impl Real for $t {
            #[inline(always)]
            fn rows<const M: usize, const K: usize>(element: Element, registers: &[Lanes]) -> [[Self; K]; M] {
                match element {
                    $(Element::$name => rows::<_, $w, $name, M, K>(registers),)*
                    other => unreachable!("{other:?} is of another kind"),
                }
            }

            #[inline(always)]
            fn columns<const K: usize>(element: Element, registers: &[Lanes]) -> Panel<Self, K> {
                match element {
                    $(Element::$name => columns::<_, $w, $name, K>(registers),)*
                    other => unreachable!("{other:?} is of another kind"),
                }
            }
        }
    };
}

real!(f64: F16 2, Bf16 2, Tf32 1, E4m3 4, E5m2 4);
real!(f32: S8 4, U8 4, S4 8, U4 8);

/// The numbers of a register: one row of its tile after another, four words to a row.
#[inline(always)]
fn tile<T: Copy + Default, const W: usize, F: Format<T, W>>(register: &Lanes) -> [[T; W]; 32] {
    let mut numbers = [[T::default(); W]; 32];
    for lane in 0..32 {
        numbers[lane] = F::decode(register[lane]);
    }
    numbers
}

#[inline(always)]
fn rows<T: Real, const W: usize, F: Format<T, W>, const M: usize, const K: usize>(
    registers: &[Lanes],
) -> [[T; K]; M] {
    let mut out = [[T::default(); K]; M];
    for (r, register) in registers.iter().enumerate() {
        let numbers = tile::<T, W, F>(register);
        let (row, column) = Fragment { rows: M, columns: K, per_word: W }.tile(r);
        for (out, words) in out[row..row + TILE].iter_mut().zip(numbers.as_chunks::<4>().0) {
            out[column..column + 4 * W].copy_from_slice(&words.as_flattened()[..4 * W]);
        }
    }
    out
}

#[inline(always)]
fn columns<T: Real, const W: usize, F: Format<T, W>, const K: usize>(registers: &[Lanes]) -> Panel<T, K> {
    let mut out = [[T::default(); TILE]; K];
    for (r, register) in registers.iter().enumerate() {
        let numbers = tile::<T, W, F>(register);
        let (_, first) = Fragment { rows: TILE, columns: K, per_word: W }.tile(r);
        for (t, i) in (0..4).flat_map(|t| (0..W).map(move |i| (t, i))) {
            for n in 0..TILE {
                out[first + W * t + i][n] = numbers[4 * n + t][i];
            }
        }
    }
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
