//! The truncating adders, against integers aligned and cut by the rules that were published for them.

use crate::exact::Inputs;
use crate::mma::{column, multiply};
use crate::reference::{self, KINDS, Kind};
use cuda_emulator::numeric::Round;
use cuda_emulator::tensor::{Accumulator, Adder, Element, Product, Sums};

use crate::exact::Exact;
use Accumulator::{F16 as Sum16, F32 as Sum32};
use Element::{Bf16, E4m3, F16, Tf32};

/// What is known of an adder: products in a block (16-bit types, tf32, fp8) and the bits kept beyond 23.
struct Known {
    adder: Adder,
    blocks: [usize; 3],
    extra: i32,
}

const KNOWN: [Known; 3] = [
    Known { adder: Adder::TURING, blocks: [4, 2, 8], extra: 1 },
    Known { adder: Adder::AMPERE, blocks: [8, 4, 16], extra: 1 },
    Known { adder: Adder::HOPPER, blocks: [16, 8, 32], extra: 2 },
];

/// A finite number as an integer times a power of two: the integer has the bits of the format, the power is at least that of
/// its subnormal numbers.
fn parts(x: f64, fraction: i32, normal: i32) -> (i128, i32) {
    let exponent = if x == 0.0 { normal } else { (x.abs().log2().floor() as i32).max(normal) };
    // log2 rounds; an integer of one bit too many would show it.
    let integer = x * 2f64.powi(fraction - exponent);
    assert!(integer.fract() == 0.0 && integer.abs() < 2f64.powi(fraction + 1), "{x:e}");
    (integer as i128, exponent)
}

fn format(element: Element) -> (i32, i32) {
    match element {
        Element::F16 => (10, -14),
        Element::Bf16 => (7, -126),
        Element::Tf32 => (10, -126),
        Element::E4m3 => (3, -6),
        _ => (2, -14),
    }
}

/// One block: summands as (integer, its fraction bits, exponent), aligned to the largest exponent and cut to `kept` bits.
fn block(summands: &[(i128, i32, i32)], kept: i32, least: i32, cut: i32, sum: Accumulator) -> f64 {
    let largest = summands.iter().filter(|s| s.0 != 0).map(|s| s.2).fold(least, i32::max);
    let aligned = summands.iter().filter(|s| s.0 != 0).map(|&(x, fraction, exponent)| {
        let down = largest - exponent + fraction - kept;
        let size = if down <= 0 { x.abs() << -down } else { x.abs().checked_shr(down as u32).unwrap_or(0) };
        size * x.signum()
    });
    let total: i128 = aligned.sum();
    // To f16 by rounding, to f32 by cutting; the infinity replaces the largest number that directed rounding would stop at.
    let mut magnitude = total.unsigned_abs();
    if sum == Sum16 {
        let bits = Exact::new(total < 0, magnitude, largest - kept).round(16, 10, 15, Round::Rn);
        return reference::sum_value(Sum16, bits as u32);
    }
    let excess = (128 - magnitude.leading_zeros() as i32 - 1 - cut).max(0);
    magnitude = magnitude >> excess << excess;
    let bits = Exact::new(total < 0, magnitude, largest - kept).round(32, 23, 127, Round::Rz) as u32;
    let found = f64::from(f32::from_bits(bits));
    let beyond = total != 0 && 127 - magnitude.leading_zeros() as i32 + largest - kept >= 128;
    if beyond { f64::INFINITY.copysign(found) } else { found }
}

fn expected(known: &Known, element: Element, a: &[f64], b: &[f64], c: f64, sum: Accumulator) -> u32 {
    let ieee = a.iter().zip(b).map(|(a, b)| a * b).fold(c, |sum, x| sum + x);
    let (size, extra) = match element {
        Element::Tf32 => (known.blocks[1], known.extra),
        Element::E4m3 | Element::E5m2 => (known.blocks[2], -10),
        _ => (known.blocks[0], known.extra),
    };
    let least = if sum == Sum16 { -19 } else { -131 } - extra;
    let (fraction, normal) = format(element);
    let mut total = c;
    for (a, b) in a.chunks(size).zip(b.chunks(size)) {
        if !ieee.is_finite() || !total.is_finite() {
            total = if ieee.is_finite() { total } else { ieee };
            break;
        }
        let mut summands: Vec<_> = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| {
                let ((a, ea), (b, eb)) = (parts(a, fraction, normal), parts(b, fraction, normal));
                (a * b, 2 * fraction, ea + eb)
            })
            .collect();
        let (c, ec) = parts(total, 23, -126);
        summands.push((c, 23, ec));
        total = block(&summands, 23 + extra, least, 23.min(23 + extra), sum);
    }
    match sum {
        Sum16 if total.is_nan() => 0x7fff,
        Sum16 => u32::from(cuda_emulator::numeric::half::from_f64(total, Round::Rn)),
        _ if total.is_nan() => 0x7fff_ffff,
        _ => (total as f32).to_bits(),
    }
}

#[test]
fn truncating_adders_align_cut_and_chain_as_published() {
    let mut inputs = Inputs(7);
    let cases = [
        ((16, 8, 16), F16, Sum16),
        ((16, 8, 16), F16, Sum32),
        ((16, 8, 8), F16, Sum32),
        ((16, 8, 16), Bf16, Sum32),
        ((16, 8, 8), Tf32, Sum32),
        ((16, 8, 32), E4m3, Sum32),
        ((16, 8, 32), E4m3, Sum16),
    ];
    for (shape, element, sum) in cases {
        let product = Product::mma(shape, element, element, sum, false).expect("known");
        let (m, n, k) = shape;
        for (known, round) in KNOWN.iter().flat_map(|known| (0..10).map(move |round| (known, round))) {
            let tiny = (Kind::Faint, Kind::Tiny);
            let (kind, c_kind) = if round < 8 { (KINDS[round % 4], KINDS[round / 2]) } else { tiny };
            let a = reference::matrix(&mut inputs, m, k, |i| reference::element(i, element, kind));
            let b = reference::matrix(&mut inputs, k, n, |i| reference::element(i, element, kind));
            let c = reference::matrix(&mut inputs, m, n, |i| reference::sum_element(i, sum, c_kind));
            let d =
                multiply(product, shape, (element, element, sum), &a, &b, &c, Sums::Truncating(known.adder));
            for i in 0..m {
                let row: Vec<_> = a[i].iter().map(|&x| reference::value(element, x)).collect();
                for j in 0..n {
                    let column: Vec<_> =
                        column(&b, j).into_iter().map(|x| reference::value(element, x)).collect();
                    let before = reference::sum_value(sum, c[i][j]);
                    let want = expected(known, element, &row, &column, before, sum);
                    let found = d[i][j];
                    // Zeros have no sign that was published.
                    let zero = |x: u32| x & if sum == Sum16 { 0x7fff } else { 0x7fff_ffff } == 0;
                    let same = found == want || zero(found) && zero(want);
                    assert!(
                        same,
                        "{product:?} {:?} {kind:?} {c_kind:?} at {i}, {j}: {found:#x}, expected {want:#x}",
                        known.adder
                    );
                }
            }
        }
    }
}

/// c = 1 and sixteen products of 2^-p: what each adder keeps of them tells the adders apart.
#[test]
fn small_products_beside_a_large_sum_are_cut_off() {
    let product = Product::mma((16, 8, 16), F16, F16, Sum32, false).expect("known");
    let run = |power: i32, sums: Sums| {
        let f16 = |x: i32| u32::from(cuda_emulator::numeric::half::from_f64(2f64.powi(x), Round::Rn));
        let a = vec![vec![f16(-12); 16]; 16];
        let b = vec![vec![f16(12 - power); 8]; 16];
        let c = vec![vec![1f32.to_bits(); 8]; 16];
        let d = multiply(product, (16, 8, 16), (F16, F16, Sum32), &a, &b, &c, sums);
        f32::from_bits(d[0][0]) - 1.0
    };
    let [turing, ampere, hopper] = [Adder::TURING, Adder::AMPERE, Adder::HOPPER].map(Sums::Truncating);
    // 2^-24 is kept by one extra bit, 2^-25 by two, 2^-26 by none.
    assert_eq!([turing, ampere, hopper, Sums::Exact].map(|s| run(24, s)), [2f32.powi(-20); 4]);
    let eps = |p| 2f32.powi(p);
    assert_eq!([turing, ampere, hopper, Sums::Exact].map(|s| run(25, s)), [0.0, 0.0, eps(-21), eps(-21)]);
    assert_eq!([turing, ampere, hopper, Sums::Exact].map(|s| run(26, s)), [0.0, 0.0, 0.0, eps(-22)]);
}

#[test]
fn each_compute_capability_has_its_adder() {
    let adders = [75, 80, 86, 89, 90, 100].map(Adder::of);
    let [t, a, h] = [Adder::TURING, Adder::AMPERE, Adder::HOPPER];
    assert_eq!(adders, [t, a, a, a, h, h]);
}
