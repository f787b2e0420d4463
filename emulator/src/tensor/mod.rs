//! The matrix instructions of a warp as pure functions of whole registers: `mma`, `wmma`, `ldmatrix`, `stmatrix`, `movmatrix`.
//!
//! A 32-bit register of a warp is [`Lanes`], one word a lane. [`Product`] is one `mma.sync` or `wmma.mma`, checked once
//! when an instruction is decoded and run as often as wished; [`wmma`] says which element of a matrix a lane loads or stores;
//! [`matrix8x8`] moves the matrices of `ldmatrix` and its kin. Where elements sit in registers is in [`layout`] alone.
//!
//! Products are exact. How they are summed is the caller's choice of [`Sums`], because PTX leaves it open: the exact sum rounded
//! once, or the truncating adders of real tensor cores. A program whose results hold under both depends on neither.
//! Not here: `.b1` and `.m8n8k4` of `.f16`. Tests: `tests/tensor`, against loops with lane tables of their own.

mod decode;
mod double;
mod exact;
pub mod layout;
pub mod matrix8x8;
pub(crate) mod multiply;
mod product;
mod truncating;
mod wide;
pub mod wmma;

pub use double::{Doubles, multiply_f64};
pub(crate) use multiply::by_kind;
pub use product::{Part, Product, Shape};
pub use truncating::Adder;

/// A 32-bit register of a warp: the word of each lane.
pub type Lanes = [u32; 32];

/// What the multiplied matrices hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// `.f16`
    F16,
    /// `.bf16`
    Bf16,
    /// `.tf32`: an f32 whose low 13 bits are ignored.
    Tf32,
    /// `.e4m3`
    E4m3,
    /// `.e5m2`
    E5m2,
    /// `.s8`
    S8,
    /// `.u8`
    U8,
    /// `.s4`
    S4,
    /// `.u4`
    U4,
}

impl Element {
    /// How many of them a 32-bit register of one lane holds.
    pub const fn per_word(self) -> usize {
        match self {
            Self::Tf32 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::E4m3 | Self::E5m2 | Self::S8 | Self::U8 => 4,
            Self::S4 | Self::U4 => 8,
        }
    }

    /// Whether it is an integer, whose sums are `.s32`.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8 | Self::S4 | Self::U4)
    }
}

/// What the summed matrices C and D hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulator {
    /// `.f16`, two to a register.
    F16,
    /// `.f32`
    F32,
    /// `.s32`
    S32,
}

/// How `c + a[0] * b[0] + a[1] * b[1] + ...` of floats is summed, and where it is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sums {
    /// The exact sum, rounded once to nearest even. Infinities and NaN as IEEE 754 has them in any order; a sum of nothing
    /// but -0 is -0, any other zero is +0.
    #[default]
    Exact,
    /// As the tensor cores of a generation do it.
    Truncating(Adder),
}
