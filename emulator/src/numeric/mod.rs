//! The arithmetic of PTX on single values: exact rounding, flushing and saturation, with nothing of lanes or registers.
//!
//! Every function on values is pure and total: any input gives a value, none panics. Values of 16 bits and packed pairs pass as raw
//! bits, `.f32` and `.f64` as floats. Modifiers compose, as the ISA defines them: an instruction with `.ftz` is
//! `ftz(op(ftz(a), ftz(b)))`, one with `.sat` is `sat(op(a, b))`, `.ftz.sat` saturates what `.ftz` left.
//!
//! | module | holds |
//! |---|---|
//! | [`single`], [`double`] | `.f32` and `.f64` in four rounding modes |
//! | [`half`], [`bf16`] | `.f16`, `.bf16`, and in [`sixteen`] what they share; [`pair`] lifts them to `.f16x2`, `.bf16x2` |
//! | [`minmax`], [`compare`] | `min`, `max`, `setp`, `set`, `testp`, `copysign` |
//! | [`cvt`], [`fp8`], [`tf32`] | `cvt` between integers and floats of every width |
//! | [`approx`] | `ex2`, `lg2`, `sin`, `cos`, `tanh`, `rcp`, `rsqrt`, `sqrt`, `div` as approximations |
//! | [`integer`], [`bitfield`], [`simd`] | integer instructions that Rust has no operator for |
//! | [`soft`] | rounding of exact values to any binary format; the slow way of everything above |
//!
//! NaN: an operation that gives NaN gives the canonical one, whatever NaN came in: 0x7fffffff for `.f32`, 0x7fff for `.f16` and
//! `.bf16`. For `.f64` no pattern is documented; we give 0xfff8000000000000, the value of CUDA's own `CUDART_NAN`.
//! Tests: `tests/numeric*.rs`, against exact integer arithmetic.

pub mod approx;
pub mod bf16;
pub mod bitfield;
pub mod compare;
pub mod cvt;
pub mod double;
pub mod fp8;
pub mod half;
pub mod integer;
pub mod minmax;
pub mod pair;
pub mod simd;
pub mod single;
mod sixteen;
pub mod soft;
pub mod tf32;

/// Where a floating-point result between two neighbours of its format goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// `.rn`: to the nearer, of two equally near the one with the even significand.
    Rn,
    /// `.rz`: towards zero.
    Rz,
    /// `.rm`: towards minus infinity.
    Rm,
    /// `.rp`: towards plus infinity.
    Rp,
}

/// Where a value between two integers goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntRound {
    /// `.rni`: to the nearer, of two equally near the even one.
    Rni,
    /// `.rzi`: towards zero.
    Rzi,
    /// `.rmi`: towards minus infinity.
    Rmi,
    /// `.rpi`: towards plus infinity.
    Rpi,
}

/// Which of the results that an approximation's error bound allows is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approx {
    /// The value nearest to the exact one, computed in f64 and rounded once.
    Nearest,
    /// One within the documented bound, drawn by a hash of this seed, the function and its inputs: the same every time.
    Jitter(u64),
}
