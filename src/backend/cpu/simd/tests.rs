use super::{math, *};
use crate::{backend::naive, config::Activation};

/// Runs `f` over `x`, in place, for each instruction set.
struct Map<'a, F>(&'a mut [f32], F);

trait Function {
    fn apply<S: Simd>(&self, s: S, v: S::V) -> S::V;
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for x in self.0.chunks_mut(LANES) {
            let v = self.1.apply(s, s.load_part(&*x));
            s.store_part(v, x);
        }
    }
}

struct Exp;
impl Function for Exp {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::V) -> S::V {
        math::exp(s, v)
    }
}

impl Function for Activation {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, v: S::V) -> S::V {
        math::activation(s, v, *self)
    }
}

/// From `from` to `to` in 200,003 steps: no multiple of the lanes.
fn grid(from: f32, to: f32) -> Vec<f32> {
    (0..200_003).map(|i| from + (to - from) * (i as f32 / 200_002.0)).collect()
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    for isa in Isa::available() {
        let x = grid(-87.0, 88.0);
        let mut y = x.clone();
        isa.run(Map(&mut y, Exp));
        for (x, y) in x.iter().zip(&y) {
            let exact = (*x as f64).exp();
            let ulps = (*y as f64 - exact).abs() / (exact * f32::EPSILON as f64);
            assert!(ulps <= 2.0, "{isa}: exp({x}) = {y}, off by {ulps} units");
        }
    }
}

#[test]
fn activations_are_within_their_stated_error() {
    for isa in Isa::available() {
        for kind in [Activation::GeluTanh, Activation::GeluErf, Activation::Relu] {
            for x in [grid(-12.0, 12.0), grid(-1e-3, 1e-3), grid(-1e4, 1e4)] {
                let mut y = x.clone();
                isa.run(Map(&mut y, kind));
                for (x, y) in x.iter().zip(&y) {
                    let error = (*y as f64 - naive::activation(*x as f64, kind)).abs();
                    assert!(
                        error <= 4e-7 * x.abs().max(1.0) as f64,
                        "{isa}: {kind:?}({x}) = {y}, off by {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_nan_stays_a_nan() {
    for isa in Isa::available() {
        let mut y = [f32::NAN];
        isa.run(Map(&mut y, Exp));
        assert!(y[0].is_nan(), "{isa}: exp");
        for kind in [Activation::GeluTanh, Activation::GeluErf, Activation::Relu] {
            let mut y = [f32::NAN];
            isa.run(Map(&mut y, kind));
            assert!(y[0].is_nan(), "{isa}: {kind:?}");
        }
    }
}

/// Widens all that it is given.
struct Widen<'a>(&'a [f16], &'a mut [f32]);

impl Kernel for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (from, to) in self.0.chunks(LANES).zip(self.1.chunks_mut(LANES)) {
            s.store_part(s.load_part(from), to);
        }
    }
}

#[test]
fn every_fp16_is_widened_exactly() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for isa in Isa::available() {
        let mut wide = vec![0.0; all.len()];
        isa.run(Widen(&all, &mut wide));
        for (from, to) in all.iter().zip(&wide) {
            let same = if from.is_nan() { to.is_nan() } else { to.to_bits() == from.to_f32().to_bits() };
            assert!(same, "{isa}: {:#06x} became {to:e}", from.to_bits());
        }
    }
}
