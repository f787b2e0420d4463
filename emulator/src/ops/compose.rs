//! Functions on single values made of others: modifiers such as `.ftz` and `.sat`, and packed pairs.

use super::lanes::{Binary, Ternary, Unary, Value, op};
use crate::numeric::{pair, single};
use std::marker::PhantomData;

/// `G` of what `F` gives.
pub struct Then<F, G>(PhantomData<(F, G)>);

/// `F` of what `G` gives for each source.
pub struct Each<G, F>(PhantomData<(G, F)>);

/// `F` of each half of 32-bit registers.
pub struct Pair<F>(PhantomData<F>);

impl<F: Unary, G: Unary<A = F::D>> Unary for Then<F, G> {
    type A = F::A;
    type D = G::D;
    #[inline(always)]
    fn apply(a: F::A, imm: i64) -> G::D {
        G::apply(F::apply(a, imm), imm)
    }
}

impl<F: Binary, G: Unary<A = F::D>> Binary for Then<F, G> {
    type A = F::A;
    type B = F::B;
    type D = G::D;
    #[inline(always)]
    fn apply(a: F::A, b: F::B, imm: i64) -> G::D {
        G::apply(F::apply(a, b, imm), imm)
    }
}

impl<F: Ternary, G: Unary<A = F::D>> Ternary for Then<F, G> {
    type A = F::A;
    type B = F::B;
    type C = F::C;
    type D = G::D;
    #[inline(always)]
    fn apply(a: F::A, b: F::B, c: F::C, imm: i64) -> G::D {
        G::apply(F::apply(a, b, c, imm), imm)
    }
}

impl<T: Value, G: Unary<A = T, D = T>, F: Unary<A = T>> Unary for Each<G, F> {
    type A = T;
    type D = F::D;
    #[inline(always)]
    fn apply(a: T, imm: i64) -> F::D {
        F::apply(G::apply(a, imm), imm)
    }
}

impl<T: Value, G: Unary<A = T, D = T>, F: Binary<A = T, B = T>> Binary for Each<G, F> {
    type A = T;
    type B = T;
    type D = F::D;
    #[inline(always)]
    fn apply(a: T, b: T, imm: i64) -> F::D {
        F::apply(G::apply(a, imm), G::apply(b, imm), imm)
    }
}

impl<T: Value, G: Unary<A = T, D = T>, F: Ternary<A = T, B = T, C = T>> Ternary for Each<G, F> {
    type A = T;
    type B = T;
    type C = T;
    type D = F::D;
    #[inline(always)]
    fn apply(a: T, b: T, c: T, imm: i64) -> F::D {
        F::apply(G::apply(a, imm), G::apply(b, imm), G::apply(c, imm), imm)
    }
}

impl<F: Unary<A = u16, D = u16>> Unary for Pair<F> {
    type A = u32;
    type D = u32;
    #[inline(always)]
    fn apply(a: u32, imm: i64) -> u32 {
        pair::map1(a, |a| F::apply(a, imm))
    }
}

impl<F: Binary<A = u16, B = u16, D = u16>> Binary for Pair<F> {
    type A = u32;
    type B = u32;
    type D = u32;
    #[inline(always)]
    fn apply(a: u32, b: u32, imm: i64) -> u32 {
        pair::map2(a, b, |a, b| F::apply(a, b, imm))
    }
}

impl<F: Ternary<A = u16, B = u16, C = u16, D = u16>> Ternary for Pair<F> {
    type A = u32;
    type B = u32;
    type C = u32;
    type D = u32;
    #[inline(always)]
    fn apply(a: u32, b: u32, c: u32, imm: i64) -> u32 {
        pair::map3(a, b, c, |a, b, c| F::apply(a, b, c, imm))
    }
}

op!(Ftz32: (f32) -> f32 = |x| single::ftz(x));

/// `.ftz` of f32: sources and result.
pub type Flushed<F> = Then<Each<Ftz32, F>, Ftz32>;
