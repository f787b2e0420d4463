//! [`Simd`] with AVX-512 (one register of sixteen lanes) and with AVX2, FMA and F16C (two of eight).
//!
//! The SAFETY of every intrinsic here is the same: a value of [`Avx512`] or [`Avx2`] comes from `detect` alone, which
//! returns one only where the CPU and the operating system have the features that the intrinsics of its methods need. Those
//! that take a pointer get one from a reference to an array of exactly the bytes that they access.

use super::{Kernel, LANES, Simd};
use half::{bf16, f16};
use std::{arch::x86_64::*, is_x86_feature_detected as has};

/// AVX-512 F, BW, DQ and VL, with all that AVX2 needs.
#[derive(Clone, Copy)]
pub struct Avx512(());

/// AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx512 {
    /// Where this machine has it.
    pub fn detect() -> Option<Self> {
        let found = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        (found && Avx2::detect().is_some()).then_some(Self(()))
    }

    /// Runs `kernel` with these instructions.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn enter<K: Kernel>(s: Avx512, kernel: K) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` proves the features.
        unsafe { enter(self, kernel) }
    }
}

impl Avx2 {
    /// Where this machine has it.
    pub fn detect() -> Option<Self> {
        (has!("avx2") && has!("fma") && has!("f16c")).then_some(Self(()))
    }

    /// Runs `kernel` with these instructions.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn enter<K: Kernel>(s: Avx2, kernel: K) -> K::Output {
            kernel.run(s)
        }
        // SAFETY: `self` proves the features.
        unsafe { enter(self, kernel) }
    }
}

/// Methods whose body is one expression of intrinsics.
macro_rules! intrinsics {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            // SAFETY: see the module: `self` proves the features, references the pointers.
            unsafe { $body }
        })*
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const TILE: (usize, usize) = (12, 2);
    const QUERIES: usize = 8;
    const DOTS: (usize, usize) = (8, 3);

    intrinsics! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn load(from: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(from.as_ptr());
        fn load_f16(from: &[f16; LANES]) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()));
        fn load_bf16(from: &[bf16; LANES]) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast())),
        ));
        fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] = transpose16(rows);
        fn store(v: __m512, to: &mut [f32; LANES]) -> () = _mm512_storeu_ps(to.as_mut_ptr(), v);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn where_negative(x: __m512, a: __m512, b: __m512) -> __m512 =
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps()), b, a);
        fn first(v: __m512, n: usize, rest: __m512) -> __m512 =
            _mm512_mask_blend_ps(((1_u32 << n.min(LANES)) - 1) as __mmask16, rest, v);
        fn exp2_whole(n: __m512) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
            _mm512_cvtps_epi32(n),
            _mm512_set1_epi32(127),
        )));
    }

    #[inline(always)]
    fn prefetch<T>(self, at: &T) {
        // SAFETY: prefetching has no effect but on the caches.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(at).cast()) }
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: see the module.
        unsafe { sum8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v))) }
    }
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    const TILE: (usize, usize) = (6, 1);
    const QUERIES: usize = 2;
    const DOTS: (usize, usize) = (2, 2);

    intrinsics! {
        fn splat(x: f32) -> Self::V = [_mm256_set1_ps(x); 2];
        fn load(from: &[f32; LANES]) -> Self::V =
            [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))];
        fn load_f16(from: &[f16; LANES]) -> Self::V = [
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8).cast())),
        ];
        fn load_bf16(from: &[bf16; LANES]) -> Self::V = [
            widen8(_mm_loadu_si128(from.as_ptr().cast())),
            widen8(_mm_loadu_si128(from.as_ptr().add(8).cast())),
        ];
        fn transpose(rows: [Self::V; LANES]) -> [Self::V; LANES] = transpose8x4(rows);
        fn add(a: Self::V, b: Self::V) -> Self::V = [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])];
        fn sub(a: Self::V, b: Self::V) -> Self::V = [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])];
        fn mul(a: Self::V, b: Self::V) -> Self::V = [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
        fn div(a: Self::V, b: Self::V) -> Self::V = [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])];
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V =
            [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])];
        fn max(a: Self::V, b: Self::V) -> Self::V = [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])];
        fn min(a: Self::V, b: Self::V) -> Self::V = [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])];
        fn where_negative(x: Self::V, a: Self::V, b: Self::V) -> Self::V = [
            _mm256_blendv_ps(b[0], a[0], _mm256_cmp_ps::<_CMP_LT_OQ>(x[0], _mm256_setzero_ps())),
            _mm256_blendv_ps(b[1], a[1], _mm256_cmp_ps::<_CMP_LT_OQ>(x[1], _mm256_setzero_ps())),
        ];
        fn first(v: Self::V, n: usize, rest: Self::V) -> Self::V =
            [first8(v[0], n, rest[0]), first8(v[1], n.saturating_sub(8), rest[1])];
        fn exp2_whole(n: Self::V) -> Self::V = [exp2_whole8(n[0]), exp2_whole8(n[1])];
        fn sum(v: Self::V) -> f32 = sum8(_mm256_add_ps(v[0], v[1]));
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [f32; LANES]) {
        // SAFETY: see the module.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), v[1]);
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: &T) {
        // SAFETY: prefetching has no effect but on the caches.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(at).cast()) }
    }
}

/// 4 + 4, 2 + 2, 1 + 1.
#[inline]
#[target_feature(enable = "avx2")]
fn sum8(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn first8(v: __m256, n: usize, rest: __m256) -> __m256 {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(8) as i32), lane);
    _mm256_blendv_ps(rest, v, _mm256_castsi256_ps(inside))
}

#[inline]
#[target_feature(enable = "avx2")]
fn exp2_whole8(n: __m256) -> __m256 {
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
}

/// bf16 to fp32.
#[inline]
#[target_feature(enable = "avx2")]
fn widen8(v: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(v)))
}

/// Within each quarter of a register the 4x4 blocks are transposed, then the quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose16(rows: [__m512; LANES]) -> [__m512; LANES] {
    let mut by_four = [_mm512_setzero_ps(); LANES];
    for (rows, columns) in rows.as_chunks::<4>().0.iter().zip(by_four.as_chunks_mut::<4>().0) {
        let (ab, cd) = (_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3]));
        let (ab_high, cd_high) = (_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3]));
        columns[0] = low_halves(ab, cd);
        columns[1] = high_halves(ab, cd);
        columns[2] = low_halves(ab_high, cd_high);
        columns[3] = high_halves(ab_high, cd_high);
    }
    let mut columns = [_mm512_setzero_ps(); LANES];
    for i in 0..4 {
        let (a, b, c, d) = (by_four[i], by_four[4 + i], by_four[8 + i], by_four[12 + i]);
        let (even_ab, odd_ab) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even_cd, odd_cd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        columns[i] = _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd);
        columns[4 + i] = _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd);
        columns[8 + i] = _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd);
        columns[12 + i] = _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f")]
fn low_halves(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn high_halves(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

/// Four blocks of 8x8, of which two change places.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose8x4(rows: [[__m256; 2]; LANES]) -> [[__m256; 2]; LANES] {
    let mut columns = [[_mm256_setzero_ps(); 2]; LANES];
    for half in 0..2 {
        for other in 0..2 {
            let mut block = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                block[i] = rows[8 * half + i][other];
            }
            let block = transpose8(block);
            for i in 0..8 {
                columns[8 * other + i][half] = block[i];
            }
        }
    }
    columns
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose8(rows: [__m256; 8]) -> [__m256; 8] {
    let mut by_four = [_mm256_setzero_ps(); 8];
    for (rows, columns) in rows.as_chunks::<4>().0.iter().zip(by_four.as_chunks_mut::<4>().0) {
        let (ab, cd) = (_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3]));
        let (ab_high, cd_high) = (_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3]));
        columns[0] = _mm256_shuffle_ps::<0x44>(ab, cd);
        columns[1] = _mm256_shuffle_ps::<0xee>(ab, cd);
        columns[2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
        columns[3] = _mm256_shuffle_ps::<0xee>(ab_high, cd_high);
    }
    let mut columns = [_mm256_setzero_ps(); 8];
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(by_four[i], by_four[4 + i]);
        columns[4 + i] = _mm256_permute2f128_ps::<0x31>(by_four[i], by_four[4 + i]);
    }
    columns
}
