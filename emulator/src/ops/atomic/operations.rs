//! What atomics do to a value.

use crate::{
    numeric::{
        Round, bf16, double, half,
        minmax::{Mode, max16, min16},
        pair, single,
    },
    ptx::ast::{Space, Type},
};

/// From the old value and the operands `b` and `c` to the new value; values narrower than the word stand in its low bits.
#[derive(Clone, Copy)]
pub enum Apply {
    /// 16 bits.
    Half(fn(u16, u16, u16) -> u16),
    /// 32 bits.
    Word(fn(u32, u32, u32) -> u32),
    /// 64 bits.
    Double(fn(u64, u64, u64) -> u64),
}

/// An operation on a type.
pub struct Operation {
    /// `add`, with `.noftz` where the type demands it.
    pub name: &'static str,
    /// The type.
    pub ty: Type,
    /// What it does.
    pub apply: Apply,
    /// Which forms exist.
    pub forms: Forms,
}

/// Which forms of an operation exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    /// `atom` and `red` of one value.
    Scalar,
    /// `atom` of one value.
    Returning,
    /// `atom` and `red` of one value and of vectors.
    All,
    /// `atom` and `red` of vectors.
    Vector,
}

macro_rules! operations {
    ($($forms:ident $name:literal $ty:ident $width:ident $apply:expr;)*) => {
        &[$(Operation { name: $name, ty: Type::$ty, apply: Apply::$width($apply), forms: Forms::$forms }),*]
    };
}

fn add_f32(a: u32, b: u32) -> u32 {
    single::add(f32::from_bits(a), f32::from_bits(b), Round::Rn).to_bits()
}

fn add_f64(a: u64, b: u64) -> u64 {
    double::add(f64::from_bits(a), f64::from_bits(b), Round::Rn).to_bits()
}

fn min_f16(a: u16, b: u16) -> u16 {
    min16::<{ half::INF }>(a, b, Mode::default())
}

fn max_f16(a: u16, b: u16) -> u16 {
    max16::<{ half::INF }>(a, b, Mode::default())
}

fn min_bf16(a: u16, b: u16) -> u16 {
    min16::<{ bf16::INF }>(a, b, Mode::default())
}

fn max_bf16(a: u16, b: u16) -> u16 {
    max16::<{ bf16::INF }>(a, b, Mode::default())
}

/// All operations.
pub const OPERATIONS: &[Operation] = operations![
    Scalar "add" U32 Word |r, b, _| r.wrapping_add(b);
    Scalar "add" S32 Word |r, b, _| r.wrapping_add(b);
    Scalar "add" U64 Double |r, b, _| r.wrapping_add(b);
    Scalar "add" S64 Double |r, b, _| r.wrapping_add(b);
    Scalar "min" U32 Word |r, b, _| r.min(b);
    Scalar "max" U32 Word |r, b, _| r.max(b);
    Scalar "min" S32 Word |r, b, _| (r as i32).min(b as i32) as u32;
    Scalar "max" S32 Word |r, b, _| (r as i32).max(b as i32) as u32;
    Scalar "min" U64 Double |r, b, _| r.min(b);
    Scalar "max" U64 Double |r, b, _| r.max(b);
    Scalar "min" S64 Double |r, b, _| (r as i64).min(b as i64) as u64;
    Scalar "max" S64 Double |r, b, _| (r as i64).max(b as i64) as u64;
    Scalar "and" B32 Word |r, b, _| r & b;
    Scalar "or" B32 Word |r, b, _| r | b;
    Scalar "xor" B32 Word |r, b, _| r ^ b;
    Scalar "and" B64 Double |r, b, _| r & b;
    Scalar "or" B64 Double |r, b, _| r | b;
    Scalar "xor" B64 Double |r, b, _| r ^ b;
    Scalar "inc" U32 Word |r, b, _| if r >= b { 0 } else { r + 1 };
    Scalar "dec" U32 Word |r, b, _| if r == 0 || r > b { b } else { r - 1 };
    Returning "exch" B32 Word |_, b, _| b;
    Returning "exch" B64 Double |_, b, _| b;
    Returning "cas" B16 Half |r, b, c| if r == b { c } else { r };
    Returning "cas" B32 Word |r, b, c| if r == b { c } else { r };
    Returning "cas" B64 Double |r, b, c| if r == b { c } else { r };
    All "add" F32 Word |r, b, _| add_f32(r, b);
    Scalar "add" F64 Double |r, b, _| add_f64(r, b);
    All "add.noftz" F16 Half |r, b, _| half::add(r, b);
    All "add.noftz" Bf16 Half |r, b, _| bf16::add(r, b);
    All "add.noftz" F16x2 Word |r, b, _| pair::map2(r, b, half::add);
    All "add.noftz" Bf16x2 Word |r, b, _| pair::map2(r, b, bf16::add);
    Vector "min.noftz" F16 Half |r, b, _| min_f16(r, b);
    Vector "max.noftz" F16 Half |r, b, _| max_f16(r, b);
    Vector "min.noftz" Bf16 Half |r, b, _| min_bf16(r, b);
    Vector "max.noftz" Bf16 Half |r, b, _| max_bf16(r, b);
    Vector "min.noftz" F16x2 Word |r, b, _| pair::map2(r, b, min_f16);
    Vector "max.noftz" F16x2 Word |r, b, _| pair::map2(r, b, max_f16);
    Vector "min.noftz" Bf16x2 Word |r, b, _| pair::map2(r, b, min_bf16);
    Vector "max.noftz" Bf16x2 Word |r, b, _| pair::map2(r, b, max_bf16);
];

impl Operation {
    /// The function on values in this space: `add.f32` flushes subnormals in global memory and keeps them in shared, as the ISA
    /// says.
    pub fn apply_in(&self, space: Space) -> Apply {
        if self.ty == Type::F32 && space == Space::Global {
            return Apply::Word(|r, b, _| {
                let flushed = |x: u32| single::ftz(f32::from_bits(x)).to_bits();
                flushed(add_f32(flushed(r), flushed(b)))
            });
        }
        self.apply
    }
}
