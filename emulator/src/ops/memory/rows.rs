//! Between memory, where the words of a lane follow one another, and registers, where the same word of all lanes does.

use super::{Shape, Words};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// `N` words of each lane, as they stand in memory.
pub type Rows<const N: usize> = [[u32; N]; 32];

/// The columns of rows: each word, all lanes.
#[inline(always)]
pub fn turn<const N: usize>(rows: &Rows<N>) -> [[u32; 32]; N] {
    let mut columns = [[0; 32]; N];
    for l in 0..32 {
        for w in 0..N {
            columns[w][l] = rows[l][w];
        }
    }
    columns
}

/// The rows that elements make.
#[inline(always)]
pub fn of<S: Shape, const N: usize>(elements: &[Words]) -> Rows<N> {
    let mut rows = [[0; N]; 32];
    for l in 0..32 {
        for w in 0..N {
            rows[l][w] = match S::E {
                8 if w % 2 == 1 => elements[w / 2].1[l],
                8 => elements[w / 2].0[l],
                _ => elements[w].0[l],
            };
        }
    }
    rows
}

/// Rows that follow one another from the first of `from` on: each word as a relaxed load reads it.
#[inline(always)]
pub fn read<const N: usize>(from: &[AtomicU32]) -> Rows<N> {
    let mut rows = [[0; N]; 32];
    let (to, from) = (rows.as_flattened_mut(), &from[..32 * N]);
    // 32 rows are a multiple of four words.
    if !read_fours(to.as_chunks_mut::<4>().0, from.as_chunks::<4>().0) {
        for i in 0..32 * N {
            to[i] = from[i].load(Relaxed);
        }
    }
    rows
}

/// Reads four words at a time, which compilers do not make of atomic loads; `false` if the CPU or the addresses do not allow it.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn read_fours(to: &mut [[u32; 4]], from: &[[AtomicU32; 4]]) -> bool {
    if !from.as_ptr().addr().is_multiple_of(16) || !std::arch::is_x86_feature_detected!("avx") {
        return false;
    }
    for (to, from) in to.iter_mut().zip(from) {
        let four: std::arch::x86_64::__m128i;
        // SAFETY: `from` is a reference to 16 bytes. The CPU knows the instruction and the address is a multiple of 16: both were checked
        // above. Intel's and AMD's manuals state that this load is atomic on CPUs with AVX. So it is one of the things that four relaxed
        // loads may do, and other threads may store to the words meanwhile.
        unsafe {
            std::arch::asm!(
                "vmovdqa {four}, xmmword ptr [{from}]",
                four = out(xmm_reg) four,
                from = in(reg) from.as_ptr(),
                options(nostack, readonly, preserves_flags)
            );
        }
        *to = bytemuck::cast(four);
    }
    true
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn read_fours(_: &mut [[u32; 4]], _: &[[AtomicU32; 4]]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_words_in_order_wherever_they_begin() {
        let words: Vec<AtomicU32> =
            (0..200u32).map(|i| AtomicU32::new(i.wrapping_mul(0x9E37_79B9))).collect();
        for first in 0..8 {
            let rows = read::<4>(&words[first..]);
            let columns = turn(&rows);
            for i in 0..128 {
                let word = words[first + i].load(Relaxed);
                assert_eq!(
                    (rows[i / 4][i % 4], columns[i % 4][i / 4]),
                    (word, word),
                    "word {i} from {first}"
                );
            }
        }
    }
}
