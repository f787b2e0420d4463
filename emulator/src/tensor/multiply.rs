//! The loops of a product, for one panel of eight columns at a time: decode, sum, encode.

use super::decode::{self, Panel, Real};
use super::exact::{Range, Way, dots};
use super::layout::TILE;
use super::product::Product;
use super::truncating::Truncating;
use super::{Accumulator, Lanes, Sums};
use crate::numeric::{bf16, half, single};

/// A product of `M` rows, `K` products to a sum and eight columns.
pub(crate) trait Kind: 'static {
    /// Computes D. Compiled into its caller, for the caller's instruction set.
    fn run(product: &Product, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums);
}

/// A product of floats.
pub(crate) struct Floats<const M: usize, const K: usize>;
/// A product of integers.
pub(crate) struct Integers<const M: usize, const K: usize>;

/// Expands `$then!(kind)` for the [`Kind`] of a product of eight columns.
macro_rules! by_kind {
    ($product:expr, $then:ident) => {{
        let product: &crate::tensor::Product = $product;
        match product.size() {
            (16, 4, false) => $then!(crate::tensor::multiply::Floats<16, 4>),
            (16, 8, false) => $then!(crate::tensor::multiply::Floats<16, 8>),
            (16, 16, false) => $then!(crate::tensor::multiply::Floats<16, 16>),
            (16, 32, false) => $then!(crate::tensor::multiply::Floats<16, 32>),
            (8, 16, false) => $then!(crate::tensor::multiply::Floats<8, 16>),
            (16, 16, true) => $then!(crate::tensor::multiply::Integers<16, 16>),
            (16, 32, true) => $then!(crate::tensor::multiply::Integers<16, 32>),
            (16, 64, true) => $then!(crate::tensor::multiply::Integers<16, 64>),
            (8, 16, true) => $then!(crate::tensor::multiply::Integers<8, 16>),
            (8, 32, true) => $then!(crate::tensor::multiply::Integers<8, 32>),
            size => unreachable!("no product of (m, k, integers) {size:?}"),
        }
    }};
}
pub(crate) use by_kind;

impl Product {
    /// Computes D. Each slice has as many registers as [`Product::a`], [`Product::b`] and [`Product::sums`] say.
    pub fn run(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums) {
        for part in self.parts() {
            let pick =
                |from: &[Lanes], of: Vec<usize>| -> Vec<Lanes> { of.into_iter().map(|r| from[r]).collect() };
            let (a, b, c) = (pick(a, part.a()), pick(b, part.b()), pick(c, part.sums()));
            let mut out = c.clone();
            part.product().run_part(&a, &b, &c, &mut out, sums);
            part.sums().into_iter().zip(out).for_each(|(r, lanes)| d[r] = lanes);
        }
    }

    fn run_part(&self, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums) {
        macro_rules! run {
            ($kind:ty) => {
                <$kind>::run(self, a, b, c, d, sums)
            };
        }
        by_kind!(self, run)
    }
}

impl<const M: usize, const K: usize> Kind for Floats<M, K> {
    #[inline(always)]
    fn run(product: &Product, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], sums: Sums) {
        let (left, right, sum) = product.types();
        let before: Panel<f64, M> = match sum {
            Accumulator::F16 => decode::half_words(c),
            _ => decode::words(c, |x| f64::from(f32::from_bits(x))),
        };
        let rows = f64::rows::<M, K>(left, a);
        let columns = f64::columns::<K>(right, b);
        let mut after = [[0.0; TILE]; M];
        match sums {
            Sums::Exact => {
                let way = Way::choose(Range::of(left, a), Range::of(right, b), K);
                way.sums(&rows, &columns, &before, &mut after);
            }
            Sums::Truncating(adder) => {
                Truncating::new(adder, left, right, sum).sums(&rows, &columns, &before, &mut after);
            }
        }
        match sum {
            Accumulator::F16 => {
                decode::put_half_words(d, &after, |x| half::from_f32(bf16::narrow_to_odd(x)));
            }
            _ => decode::put_words(d, &after, |x| single::canonical(x as f32).to_bits()),
        }
    }
}

impl<const M: usize, const K: usize> Kind for Integers<M, K> {
    /// In f32: the products have 16 bits, their sums at most 21.
    #[inline(always)]
    fn run(product: &Product, a: &[Lanes], b: &[Lanes], c: &[Lanes], d: &mut [Lanes], _: Sums) {
        let (left, right, _) = product.types();
        let mut products = [[0.0; TILE]; M];
        dots(&f32::rows::<M, K>(left, a), &f32::columns::<K>(right, b), &mut products);
        let mut sums = decode::words::<i32, M>(c, |x| x as i32);
        for (sum, product_sum) in sums.as_flattened_mut().iter_mut().zip(products.as_flattened()) {
            let product_sum = *product_sum as i32;
            let (wrapped, clamped) = (sum.wrapping_add(product_sum), sum.saturating_add(product_sum));
            *sum = if product.saturates() { clamped } else { wrapped };
        }
        decode::put_words(d, &sums, |x| x as u32);
    }
}
