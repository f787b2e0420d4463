//! Sixteen lanes of fp32 on every machine: an algorithm is written once over [`Simd`], and [`Isa::run`] compiles it
//! for each instruction set and picks one at run time.
//!
//! ```text
//! struct Sum<'a>(&'a [[f32; 16]]);
//! impl Kernel for Sum<'_> {
//!     type Output = f32;
//!     #[inline(always)]
//!     fn run<S: Simd>(self, s: S) -> f32 { s.sum(self.0.iter().fold(s.splat(0.0), |sum, v| s.add(sum, s.load(v)))) }
//! }
//! let sum = isa.run(Sum(&values));
//! ```
//!
//! AVX-512 holds the lanes in one register, AVX2 in two, and plain Rust in an array that the compiler vectorises. AVX2
//! and AVX-512 give the same bits, since lanes never mix but in [`Simd::sum`], whose order is fixed; plain Rust may
//! round a multiply-add twice. A value that implements [`Simd`] is the proof that its instructions are there, which is
//! what every `unsafe` in this folder rests on. Tested below, and through every kernel in `tests/kernels.rs`.

mod block;
pub mod math;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use block::Block;
use half::{bf16, f16};
use portable::Portable;
use std::fmt;

/// Lanes of a vector.
pub const LANES: usize = 16;

/// Operations on [`LANES`] lanes of fp32.
pub trait Simd: Copy {
    /// The lanes.
    type V: Copy;
    /// Tokens and vectors of the largest tile of accumulators that stays in registers beside its operands.
    const TILE: (usize, usize);
    /// Queries of the largest tile of two vectors that stays in registers.
    const QUERIES: usize;
    /// Rows of two matrices whose products, all with all, are summed in registers.
    const DOTS: (usize, usize);

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// Lane `i` is `from[i]`.
    fn load(self, from: &[f32; LANES]) -> Self::V;
    /// Lane `i` is `from[i]`, widened.
    fn load_f16(self, from: &[f16; LANES]) -> Self::V;
    /// Lane `i` is `from[i]`, widened.
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V;
    /// `to[i]` is lane `i`.
    fn store(self, v: Self::V, to: &mut [f32; LANES]);
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`, rounded once where the machine can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: so a NaN in `b` stays.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: so a NaN in `b` stays.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `x < 0`, else `b`.
    fn where_negative(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// `v` in the first `n` lanes, `rest` in the others.
    fn first(self, v: Self::V, n: usize, rest: Self::V) -> Self::V;
    /// `2^n` for whole `n` in -126..=127.
    fn exp2_whole(self, n: Self::V) -> Self::V;
    /// Lane `i` of vector `j` is lane `j` of vector `i`.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Asks for the cache line of `at` in the second-level cache, without waiting for it.
    fn prefetch<T>(self, at: &T);

    /// The sum of the lanes: halves onto each other, 8 + 8, 4 + 4, 2 + 2, 1 + 1.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        self.fold(v, |a, b| a + b)
    }

    /// The largest lane.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        self.fold(v, |a, b| if a > b { a } else { b })
    }

    /// Folds halves onto each other, in the order of [`sum`](Self::sum).
    #[inline(always)]
    fn fold(self, v: Self::V, f: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] = f(lanes[i], lanes[i + half]);
            }
        }
        lanes[0]
    }

    /// Loads up to [`LANES`] values; the lanes past the end of `from` are zero.
    #[inline(always)]
    fn load_part<E: Element>(self, from: &[E]) -> Self::V {
        let mut whole = [E::ZERO; LANES];
        whole[..from.len()].copy_from_slice(from);
        E::load(self, &whole)
    }

    /// Stores the first `to.len()` lanes.
    #[inline(always)]
    fn store_part(self, v: Self::V, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    }
}

/// What weights are made of.
pub trait Element: Copy + Send + Sync {
    /// Zero.
    const ZERO: Self;
    /// Loads and widens.
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::V;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        s.load(from)
    }
}

impl Element for f16 {
    const ZERO: Self = f16::ZERO;
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        s.load_f16(from)
    }
}

impl Element for bf16 {
    const ZERO: Self = bf16::ZERO;
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        s.load_bf16(from)
    }
}

/// An algorithm that [`Isa::run`] compiles for each instruction set.
///
/// `run` and all that it calls with `s` must be `#[inline(always)]`, for only code that is inlined into [`Isa::run`] gets
/// the instructions; in the rest each operation is a function call. Closures are not inlined for sure: no
/// `array::from_fn` or iterator adaptor around an operation.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Runs it.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy)]
pub struct Isa(Set);

#[derive(Clone, Copy)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    Portable(Portable),
}

impl Isa {
    /// Those that this machine has, the best first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(x86::Avx512::detect().map(|s| Self(Set::Avx512(s))));
            sets.extend(x86::Avx2::detect().map(|s| Self(Set::Avx2(s))));
        }
        sets.push(Self(Set::Portable(Portable)));
        sets
    }

    /// The best that this machine has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Runs `kernel` with these instructions.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(s) => s.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(s) => s.run(kernel),
            Set::Portable(s) => kernel.run(s),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2",
            Set::Portable(_) => "portable",
        })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests;
