//! Comparisons of floats for `setp` and `set`, and the classes of `testp`; `copysign`.
//!
//! Compare `.f16` and `.bf16` by their values in f32 ([`half::to_f32`](super::half::to_f32)): the conversion is exact.
//! Tests: `tests/numeric_select.rs`.

/// A comparison operator of `setp` on floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `.eq`: equal; false if either is NaN, like all up to `Ge`.
    Eq,
    /// `.ne`: not equal, and no NaN.
    Ne,
    /// `.lt`.
    Lt,
    /// `.le`.
    Le,
    /// `.gt`.
    Gt,
    /// `.ge`.
    Ge,
    /// `.equ`: equal, or either is NaN, like all up to `Geu`.
    Equ,
    /// `.neu`: not equal or NaN.
    Neu,
    /// `.ltu`.
    Ltu,
    /// `.leu`.
    Leu,
    /// `.gtu`.
    Gtu,
    /// `.geu`.
    Geu,
    /// `.num`: both are numbers.
    Num,
    /// `.nan`: either is NaN.
    Nan,
}

/// A class of `testp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `.finite`: neither infinite nor NaN.
    Finite,
    /// `.infinite`.
    Infinite,
    /// `.number`: not NaN.
    Number,
    /// `.notanumber`: NaN.
    NotANumber,
    /// `.normal`: neither subnormal, infinite nor NaN; the ISA counts zeros as normal.
    Normal,
    /// `.subnormal`: zero is not one.
    Subnormal,
}

macro_rules! comparisons {
    ($float:ident, $bits:ident, $compare:ident, $test:ident, $copysign:ident) => {
        /// Whether `a op b` holds.
        #[inline(always)]
        pub fn $compare(op: Compare, a: $float, b: $float) -> bool {
            let unordered = a.is_nan() | b.is_nan();
            match op {
                Compare::Eq => a == b,
                Compare::Ne => (a != b) & !unordered,
                Compare::Lt => a < b,
                Compare::Le => a <= b,
                Compare::Gt => a > b,
                Compare::Ge => a >= b,
                Compare::Equ => (a == b) | unordered,
                Compare::Neu => a != b,
                Compare::Ltu => (a < b) | unordered,
                Compare::Leu => (a <= b) | unordered,
                Compare::Gtu => (a > b) | unordered,
                Compare::Geu => (a >= b) | unordered,
                Compare::Num => !unordered,
                Compare::Nan => unordered,
            }
        }

        /// `testp`: whether `x` is of the class.
        #[inline(always)]
        pub fn $test(class: Class, x: $float) -> bool {
            match class {
                Class::Finite => x.is_finite(),
                Class::Infinite => x.is_infinite(),
                Class::Number => !x.is_nan(),
                Class::NotANumber => x.is_nan(),
                Class::Normal => x.is_normal() | (x == 0.0),
                Class::Subnormal => x.is_subnormal(),
            }
        }

        /// `copysign`: `magnitude` with the sign bit of `sign`, which is the first operand in PTX.
        #[inline(always)]
        pub fn $copysign(sign: $float, magnitude: $float) -> $float {
            let mask = 1 << ($bits::BITS - 1);
            $float::from_bits(sign.to_bits() & mask | magnitude.to_bits() & !mask)
        }
    };
}

comparisons!(f32, u32, compare32, testp32, copysign32);
comparisons!(f64, u64, compare64, testp64, copysign64);
