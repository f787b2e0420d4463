//! [`Simd`] in plain Rust, for the compiler to vectorise with what the target always has: SSE2 on x86-64, NEON on
//! aarch64.

use super::{LANES, Simd};
use half::{bf16, f16};

/// One expression for every lane. A loop, because the compiler makes vector instructions of it, where it leaves
/// `array::from_fn` a function call a lane.
macro_rules! lanes {
    ($i:ident => $lane:expr) => {{
        let mut lanes = [0.0; LANES];
        for $i in 0..LANES {
            lanes[$i] = $lane;
        }
        lanes
    }};
}

/// Always there.
#[derive(Clone, Copy)]
pub struct Portable;

/// Whether the target always has a fused multiply-add: elsewhere `f32::mul_add` is a function call.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

impl Simd for Portable {
    type V = [f32; LANES];
    const TILE: (usize, usize) = if cfg!(target_arch = "aarch64") { (6, 1) } else { (2, 1) };
    const QUERIES: usize = 1;
    const DOTS: (usize, usize) = (2, 2);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Self::V {
        lanes!(i => widen(from[i].to_bits()))
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V {
        lanes!(i => f32::from_bits((from[i].to_bits() as u32) << 16))
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [f32; LANES]) {
        *to = v;
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] / b[i])
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        if FUSED { lanes!(i => a[i].mul_add(b[i], c[i])) } else { lanes!(i => a[i] * b[i] + c[i]) }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn where_negative(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if x[i] < 0.0 { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn first(self, v: Self::V, n: usize, rest: Self::V) -> Self::V {
        lanes!(i => if i < n { v[i] } else { rest[i] })
    }

    #[inline(always)]
    fn exp2_whole(self, n: Self::V) -> Self::V {
        // Adding 1.5 · 2^23 leaves n + 0x4b40_0000 in the bits; the shift keeps n, to which the exponent's bias is added.
        lanes!(i => f32::from_bits((n[i] + 12_582_912.0).to_bits().wrapping_add(127) << 23))
    }

    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut columns = [[0.0; LANES]; LANES];
        for i in 0..LANES {
            for j in 0..LANES {
                columns[j][i] = rows[i][j];
            }
        }
        columns
    }

    #[inline(always)]
    fn prefetch<T>(self, _: &T) {}
}

/// fp16 to fp32 without a branch. Shifted into place, an fp16 is an fp32 whose exponent is 112 too small, and a
/// multiplication by 2^112 mends that exactly, subnormals included; infinities and NaNs get the largest exponent.
#[inline(always)]
fn widen(bits: u16) -> f32 {
    let (sign, rest) = ((bits as u32 & 0x8000) << 16, bits as u32 & 0x7fff);
    let value = (f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = if rest >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(sign | value | special)
}
