//! How long a product takes. `cargo test --release --test tensor -- --ignored --nocapture speed`

use crate::exact::Inputs;
use crate::reference::{self, Kind};
use cuda_emulator::tensor::{Accumulator, Adder, Element, Lanes, Product, Sums};
use std::time::Instant;

#[test]
#[ignore = "prints times, checks nothing"]
fn speed_of_products() {
    let cases = [
        ((16, 8, 16), Element::F16, Accumulator::F32, Kind::Plain, Sums::Exact),
        ((16, 8, 16), Element::F16, Accumulator::F32, Kind::Finite, Sums::Exact),
        ((16, 8, 16), Element::F16, Accumulator::F16, Kind::Plain, Sums::Exact),
        ((16, 8, 8), Element::F16, Accumulator::F32, Kind::Plain, Sums::Exact),
        ((16, 8, 16), Element::Bf16, Accumulator::F32, Kind::Plain, Sums::Exact),
        ((16, 8, 16), Element::Bf16, Accumulator::F32, Kind::Finite, Sums::Exact),
        ((16, 8, 8), Element::Tf32, Accumulator::F32, Kind::Plain, Sums::Exact),
        ((16, 8, 32), Element::S8, Accumulator::S32, Kind::Plain, Sums::Exact),
        ((16, 8, 16), Element::F16, Accumulator::F32, Kind::Plain, Sums::Truncating(Adder::AMPERE)),
    ];
    for (shape, element, sum, kind, sums) in cases {
        let product = Product::mma(shape, element, element, sum, false).expect("known");
        let mut inputs = Inputs(4);
        let mut registers = |n: usize| -> Vec<Lanes> {
            let per_word = element.per_word();
            let word = |inputs: &mut Inputs| {
                (0..per_word).fold(0, |word, i| {
                    word | reference::element(inputs, element, kind) << (i * 32 / per_word)
                })
            };
            (0..n).map(|_| std::array::from_fn(|_| word(&mut inputs))).collect()
        };
        let (a, b) = (registers(product.a().registers()), registers(product.b().registers()));
        let c = vec![[0; 32]; product.sums().registers()];
        let mut d = c.clone();
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..2000 {
                product.run(std::hint::black_box(&a), &b, &c, &mut d, sums);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / 2000.0);
        }
        println!("{shape:?} {element:?} -> {sum:?} {kind:?} {sums:?}: {best:.0} ns");
    }
}
