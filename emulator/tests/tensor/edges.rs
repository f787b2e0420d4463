//! Sums at the edges of what each way of summing can hold: cancelled numbers leave what a lost bit would spoil.

use crate::mma::multiply;
use cuda_emulator::numeric::{Round, bf16, half};
use cuda_emulator::tensor::{Accumulator, Element, Product, Sums};

/// The bits of a number that the type holds exactly.
fn bits(element: Element, x: f64) -> u32 {
    match element {
        Element::F16 => u32::from(half::from_f64(x, Round::Rn)),
        Element::Bf16 => u32::from(bf16::from_f64(x, Round::Rn)),
        _ => (x as f32).to_bits(),
    }
}

/// `c + sum of a[k] * b[k]`, each factor a number that the type holds exactly.
fn sum(element: Element, factors: &[(f64, f64)], c: f32) -> f32 {
    let k = if element == Element::Tf32 { 8 } else { 16 };
    let (shape, types) = ((16, 8, k), (element, element, Accumulator::F32));
    let product = Product::mma(shape, element, element, Accumulator::F32, false).expect("known");
    let at = |i: usize| factors.get(i).copied().unwrap_or((0.0, 0.0));
    let a = vec![(0..k).map(|i| bits(element, at(i).0)).collect::<Vec<_>>(); 16];
    let b: Vec<Vec<u32>> = (0..k).map(|i| vec![bits(element, at(i).1); 8]).collect();
    let d = multiply(product, shape, types, &a, &b, &vec![vec![c.to_bits(); 8]; 16], Sums::Exact);
    f32::from_bits(d[7][3])
}

/// `2^exponent` times the number just below 2, or just above 1, that has all the bits of the type.
fn dense(element: Element, exponent: i32, below_two: bool) -> f64 {
    let step = if element == Element::Bf16 { 2f64.powi(-7) } else { 2f64.powi(-10) };
    2f64.powi(exponent) * if below_two { 2.0 - step } else { 1.0 + step }
}

#[test]
fn large_products_that_cancel_leave_the_small_one_whole() {
    for (element, n, exponents) in
        [(Element::F16, 7, 0..28), (Element::Bf16, 7, 0..100), (Element::Tf32, 3, 0..100)]
    {
        for gap in exponents {
            let (upper, lower) = (gap / 2, gap / 2 - gap);
            let (big, tiny) = (
                dense(element, upper, true),
                dense(element, lower.max(-14 - 100 * i32::from(element != Element::F16)), false),
            );
            let mut factors = vec![(big, big); n];
            factors.push((tiny, tiny));
            factors.extend(vec![(-big, big); n]);
            let want = (tiny * tiny) as f32;
            assert_eq!(sum(element, &factors, 0.0), want, "{element:?}, factors {gap} powers of two apart");
        }
    }
}

/// Products of three sizes: the middle ones are cut in two where a sum of two parts is used.
#[test]
fn products_of_middle_size_that_cancel_leave_the_small_one_whole() {
    for element in [Element::F16, Element::Bf16] {
        let lowest = if element == Element::F16 { -14 } else { -55 };
        for (middle, small) in (lowest..6).flat_map(|m| (lowest..m).map(move |s| (m, s))) {
            let big = 2f64.powi(14);
            let (middle, small) = (dense(element, middle, true), dense(element, small, false));
            let mut factors = vec![(big, big), (-big, big)];
            factors.extend(vec![(middle, middle); 6]);
            factors.push((small, small));
            factors.extend(vec![(-middle, middle); 6]);
            assert_eq!(
                sum(element, &factors, 0.0),
                (small * small) as f32,
                "{element:?} {middle:e} {small:e}"
            );
        }
    }
}

/// 1 + 2^-24 is half-way between two f32; however small, a product beside it decides.
#[test]
fn the_smallest_product_decides_a_tie() {
    for (element, powers) in [(Element::F16, 13..24), (Element::Bf16, 13..130), (Element::Tf32, 13..130)] {
        for (power, big) in powers.flat_map(|p| [0.0, 1.0, 2f64.powi(15)].map(move |big| (p, big))) {
            let (half_way, tiny) = ((2f64.powi(-12), 2f64.powi(-12)), 2f64.powi(-power));
            let run = |x: f64| sum(element, &[(big, big), half_way, (-big, big), (x, tiny)], 1.0);
            let found = [run(tiny), run(0.0), run(-tiny)];
            assert_eq!(found, [1.0 + f32::EPSILON, 1.0, 1.0], "{element:?} 2^-{power} beside {big}");
            let odd =
                |x: f64| sum(element, &[(big, big), half_way, (-big, big), (x, tiny)], 1.0 + f32::EPSILON);
            let two = 1.0 + 2.0 * f32::EPSILON;
            assert_eq!(
                [odd(tiny), odd(0.0), odd(-tiny)],
                [two, two, 1.0 + f32::EPSILON],
                "{element:?} 2^-{power}"
            );
        }
    }
}
