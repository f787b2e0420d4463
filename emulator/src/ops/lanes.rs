//! Handlers that do the same to every lane: a function on single values becomes a function on whole registers.
//!
//! [`op!`] names such a function; [`unary`], [`binary`] and [`ternary`] make its handler in the version for an instruction set. Results are
//! computed for all lanes and written to the active ones: arithmetic on registers cannot fail. Sources are `r[1]`, `r[2]`,
//! `r[3]`, the destination is `r[0]`; `imm` reaches the function as a constant.

use crate::{
    isa::{Isa, versions},
    machine::Registers,
    program::{Instr, LaneFn},
};

// Loops and not `map`: only what is inlined is compiled for the instruction set of the handler.

/// A type that registers hold.
pub trait Value: Copy + Default + 'static {
    /// A register, all lanes.
    fn read(registers: &Registers<'_>, register: u16) -> [Self; 32];
    /// Writes the lanes of `mask`.
    fn write(registers: &mut Registers<'_>, register: u16, mask: u32, values: &[Self; 32]);
}

macro_rules! value {
    ($t:ty, $read:ident, $write:ident, |$x:ident| $from:expr, |$y:ident| $to:expr) => {
        impl Value for $t {
            #[inline(always)]
            fn read(registers: &Registers<'_>, register: u16) -> [Self; 32] {
                let source = registers.$read(register);
                let mut values = [Self::default(); 32];
                for lane in 0..32 {
                    let $x = source[lane];
                    values[lane] = $from;
                }
                values
            }
            #[inline(always)]
            fn write(registers: &mut Registers<'_>, register: u16, mask: u32, values: &[Self; 32]) {
                let mut bits = [Default::default(); 32];
                for lane in 0..32 {
                    let $y = values[lane];
                    bits[lane] = $to;
                }
                registers.$write(register, mask, &bits)
            }
        }
    };
}

// Narrow values stand in the low bits of a register, with zeros above.
value!(u8, single, write_single, |x| x as u8, |y| u32::from(y));
value!(i8, single, write_single, |x| x as i8, |y| u32::from(y as u8));
value!(u16, single, write_single, |x| x as u16, |y| u32::from(y));
value!(i16, single, write_single, |x| x as i16, |y| u32::from(y as u16));
value!(u32, single, write_single, |x| x, |y| y);
value!(i32, single, write_single, |x| x as i32, |y| y as u32);
value!(f32, single, write_single, |x| f32::from_bits(x), |y| y.to_bits());
value!(u64, double, write_double, |x| x, |y| y);
value!(i64, double, write_double, |x| x as i64, |y| y as u64);
value!(f64, double, write_double, |x| f64::from_bits(x), |y| y.to_bits());

impl Value for bool {
    #[inline(always)]
    fn read(registers: &Registers<'_>, register: u16) -> [bool; 32] {
        let bits = registers.predicate(register);
        let mut values = [false; 32];
        for lane in 0..32 {
            values[lane] = bits >> lane & 1 == 1;
        }
        values
    }

    #[inline(always)]
    fn write(registers: &mut Registers<'_>, register: u16, mask: u32, values: &[bool; 32]) {
        let mut bits = 0;
        for lane in 0..32 {
            bits |= u32::from(values[lane]) << lane;
        }
        registers.write_predicate(register, mask, bits);
    }
}

/// A function of one value.
pub trait Unary: 'static {
    /// Its source.
    type A: Value;
    /// Its result.
    type D: Value;
    /// The function.
    fn apply(a: Self::A, imm: i64) -> Self::D;
}

/// A function of two values.
pub trait Binary: 'static {
    /// Its first source.
    type A: Value;
    /// Its second source.
    type B: Value;
    /// Its result.
    type D: Value;
    /// The function.
    fn apply(a: Self::A, b: Self::B, imm: i64) -> Self::D;
}

/// A function of three values.
pub trait Ternary: 'static {
    /// Its first source.
    type A: Value;
    /// Its second source.
    type B: Value;
    /// Its third source.
    type C: Value;
    /// Its result.
    type D: Value;
    /// The function.
    fn apply(a: Self::A, b: Self::B, c: Self::C, imm: i64) -> Self::D;
}

/// Names a function on single values: `op!(AddS32: (i32, i32) -> i32 = |a, b| a.wrapping_add(b));`, with a last parameter after a
/// semicolon for the immediate: `|a, b; imm|`. With a parameter, `op!(Add<T: Int>: (T, T) -> T = ...)`, one for each type.
macro_rules! op {
    ($name:ident $(<$g:ident: $bound:path>)?: ($a:ty) -> $d:ty = |$x:ident $(; $imm:ident)?| $body:expr) => {
        pub(super) struct $name $(<$g: $bound>(std::marker::PhantomData<$g>))?;
        impl $(<$g: $bound>)? crate::ops::lanes::Unary for $name $(<$g>)? {
            type A = $a;
            type D = $d;
            #[inline(always)]
            #[allow(unused_variables, reason = "few functions need the immediate")]
            fn apply($x: $a, imm: i64) -> $d {
                $(let $imm = imm;)?
                $body
            }
        }
    };
    ($name:ident $(<$g:ident: $bound:path>)?: ($a:ty, $b:ty) -> $d:ty = |$x:ident, $y:ident $(; $imm:ident)?| $body:expr) => {
        pub(super) struct $name $(<$g: $bound>(std::marker::PhantomData<$g>))?;
        impl $(<$g: $bound>)? crate::ops::lanes::Binary for $name $(<$g>)? {
            type A = $a;
            type B = $b;
            type D = $d;
            #[inline(always)]
            #[allow(unused_variables, reason = "few functions need the immediate")]
            fn apply($x: $a, $y: $b, imm: i64) -> $d {
                $(let $imm = imm;)?
                $body
            }
        }
    };
    ($name:ident $(<$g:ident: $bound:path>)?: ($a:ty, $b:ty, $c:ty) -> $d:ty = |$x:ident, $y:ident, $z:ident $(; $imm:ident)?| $body:expr) => {
        pub(super) struct $name $(<$g: $bound>(std::marker::PhantomData<$g>))?;
        impl $(<$g: $bound>)? crate::ops::lanes::Ternary for $name $(<$g>)? {
            type A = $a;
            type B = $b;
            type C = $c;
            type D = $d;
            #[inline(always)]
            #[allow(unused_variables, reason = "few functions need the immediate")]
            fn apply($x: $a, $y: $b, $z: $c, imm: i64) -> $d {
                $(let $imm = imm;)?
                $body
            }
        }
    };
}
pub(super) use op;

#[inline(always)]
fn unary_body<F: Unary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let a = F::A::read(registers, instr.r[1]);
    let mut d = [F::D::default(); 32];
    for lane in 0..32 {
        d[lane] = F::apply(a[lane], instr.imm);
    }
    F::D::write(registers, instr.r[0], mask, &d);
}

#[inline(always)]
fn binary_body<F: Binary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let (a, b) = (F::A::read(registers, instr.r[1]), F::B::read(registers, instr.r[2]));
    let mut d = [F::D::default(); 32];
    for lane in 0..32 {
        d[lane] = F::apply(a[lane], b[lane], instr.imm);
    }
    F::D::write(registers, instr.r[0], mask, &d);
}

#[inline(always)]
fn ternary_body<F: Ternary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let (a, b) = (F::A::read(registers, instr.r[1]), F::B::read(registers, instr.r[2]));
    let c = F::C::read(registers, instr.r[3]);
    let mut d = [F::D::default(); 32];
    for lane in 0..32 {
        d[lane] = F::apply(a[lane], b[lane], c[lane], instr.imm);
    }
    F::D::write(registers, instr.r[0], mask, &d);
}

versions! {
    /// The handler of a function of one value.
    pub fn unary<F: Unary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = unary_body
}
versions! {
    /// The handler of a function of two values.
    pub fn binary<F: Binary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = binary_body
}
versions! {
    /// The handler of a function of three values.
    pub fn ternary<F: Ternary>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = ternary_body
}

/// Handlers in one version for all instruction sets: for what is rare, or does not vectorise. Each version costs compile time.
pub mod plain {
    use super::{Binary, Isa, LaneFn, Ternary, Unary, Value, binary_body, ternary_body, unary_body};
    use crate::ops::memory::each_lane;

    /// The handler of a function of one value.
    pub fn unary<F: Unary>(_: Isa) -> LaneFn {
        unary_body::<F>
    }

    /// The handler of a function of one value that costs so much that it is computed for the active lanes only.
    pub fn costly<F: Unary>() -> LaneFn {
        |registers, mask, instr| {
            let a = F::A::read(registers, instr.r[1]);
            let mut d = [F::D::default(); 32];
            for lane in each_lane(mask) {
                d[lane] = F::apply(a[lane], instr.imm);
            }
            F::D::write(registers, instr.r[0], mask, &d);
        }
    }

    /// The handler of a function of two values.
    pub fn binary<F: Binary>(_: Isa) -> LaneFn {
        binary_body::<F>
    }

    /// The handler of a function of three values.
    pub fn ternary<F: Ternary>(_: Isa) -> LaneFn {
        ternary_body::<F>
    }
}
