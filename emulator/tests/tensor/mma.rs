//! `mma.sync`, every shape and type.

use crate::exact::Inputs;
use crate::reference::{self, KINDS, Kind};
use crate::tables::{self, Matrix, Shape};
use cuda_emulator::numeric::Round;
use cuda_emulator::tensor::{Accumulator, Element, Lanes, Product, Sums, multiply_f64};

use Accumulator::{F16 as Sum16, F32 as Sum32, S32};
use Element::{Bf16, E4m3, E5m2, F16, S4, S8, Tf32, U4, U8};

const FLOATS: [(Shape, Element, Element, Accumulator); 16] = [
    ((16, 8, 8), F16, F16, Sum16),
    ((16, 8, 8), F16, F16, Sum32),
    ((16, 8, 16), F16, F16, Sum16),
    ((16, 8, 16), F16, F16, Sum32),
    ((16, 8, 8), Bf16, Bf16, Sum32),
    ((16, 8, 16), Bf16, Bf16, Sum32),
    ((16, 8, 4), Tf32, Tf32, Sum32),
    ((16, 8, 8), Tf32, Tf32, Sum32),
    ((16, 8, 16), E4m3, E5m2, Sum32),
    ((16, 8, 16), E5m2, E5m2, Sum16),
    ((16, 8, 32), E4m3, E4m3, Sum16),
    ((16, 8, 32), E4m3, E4m3, Sum32),
    ((16, 8, 32), E4m3, E5m2, Sum32),
    ((16, 8, 32), E5m2, E4m3, Sum16),
    ((16, 8, 32), E5m2, E5m2, Sum16),
    ((16, 8, 32), E5m2, E5m2, Sum32),
];

const INTEGERS: [(Shape, Element, Element); 12] = [
    ((8, 8, 16), S8, U8),
    ((8, 8, 16), U8, S8),
    ((16, 8, 16), S8, S8),
    ((16, 8, 16), U8, U8),
    ((16, 8, 32), S8, S8),
    ((16, 8, 32), S8, U8),
    ((16, 8, 32), U8, S8),
    ((16, 8, 32), U8, U8),
    ((8, 8, 32), S4, U4),
    ((16, 8, 32), U4, S4),
    ((16, 8, 64), S4, S4),
    ((16, 8, 64), U4, U4),
];

/// Packs, multiplies, unpacks.
pub fn multiply(
    product: Product,
    shape: Shape,
    types: (Element, Element, Accumulator),
    a: &Matrix,
    b: &Matrix,
    c: &Matrix,
    sums: Sums,
) -> Matrix {
    let ((m, n, k), (ta, tb, sum)) = (shape, types);
    let ra = tables::pack(a, m * k / 32, tables::bits(ta), |lane, i| tables::a(shape, ta, lane, i));
    let rb = tables::pack(b, n * k / 32, tables::bits(tb), |lane, i| tables::b(shape, tb, lane, i));
    let rc = tables::pack(c, m * n / 32, tables::sum_bits(sum), |lane, i| tables::c(shape, lane, i));
    // Each lane's registers are as many as PTX says.
    let sizes = (product.a().registers(), product.b().registers(), product.sums().registers());
    assert_eq!(sizes, (ra.len(), rb.len(), rc.len()), "{product:?}");
    let mut rd: Vec<Lanes> = vec![[0xdead_beef; 32]; rc.len()];
    product.run(&ra, &rb, &rc, &mut rd, sums);
    tables::unpack(&rd, m, n, tables::sum_bits(sum), |lane, i| tables::c(shape, lane, i))
}

pub fn column(matrix: &Matrix, n: usize) -> Vec<u32> {
    matrix.iter().map(|row| row[n]).collect()
}

#[test]
fn products_of_floats_are_the_exact_sum_rounded_once() {
    let mut inputs = Inputs(1);
    for (shape, ta, tb, sum) in FLOATS {
        let product = Product::mma(shape, ta, tb, sum, false).expect("known");
        for round in 0..16 {
            let kinds = [KINDS[round % 4], KINDS[round / 4]];
            let (m, n, k) = shape;
            let a = reference::matrix(&mut inputs, m, k, |i| reference::element(i, ta, kinds[0]));
            let b = reference::matrix(&mut inputs, k, n, |i| reference::element(i, tb, kinds[1]));
            let kind = KINDS[(round + 1) % 4];
            let c = reference::matrix(&mut inputs, m, n, |i| reference::sum_element(i, sum, kind));
            let d = multiply(product, shape, (ta, tb, sum), &a, &b, &c, Sums::Exact);
            for i in 0..m {
                let row: Vec<_> = a[i].iter().map(|&x| reference::value(ta, x)).collect();
                for j in 0..n {
                    let column: Vec<_> = column(&b, j).into_iter().map(|x| reference::value(tb, x)).collect();
                    let want = reference::dot(&row, &column, reference::sum_value(sum, c[i][j]), sum);
                    let found = d[i][j];
                    assert_eq!(
                        found, want,
                        "{product:?} {kinds:?} {kind:?} at {i}, {j}: {found:#x}, expected {want:#x}"
                    );
                }
            }
        }
    }
}

#[test]
fn products_of_integers_wrap_or_saturate() {
    let mut inputs = Inputs(2);
    for ((shape, ta, tb), saturate) in INTEGERS.into_iter().flat_map(|x| [(x, false), (x, true)]) {
        let product = Product::mma(shape, ta, tb, S32, saturate).expect("known");
        let (m, n, k) = shape;
        for _ in 0..8 {
            let a = reference::matrix(&mut inputs, m, k, |i| reference::element(i, ta, Kind::Plain));
            let b = reference::matrix(&mut inputs, k, n, |i| reference::element(i, tb, Kind::Plain));
            let c = reference::matrix(&mut inputs, m, n, |i| reference::sum_element(i, S32, Kind::Plain));
            let d = multiply(product, shape, (ta, tb, S32), &a, &b, &c, Sums::Exact);
            for i in 0..m {
                for j in 0..n {
                    let products =
                        (0..k).map(|k| reference::signed(ta, a[i][k]) * reference::signed(tb, b[k][j]));
                    let sum = i64::from(c[i][j] as i32) + products.sum::<i64>();
                    let clamped = sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                    let want = if saturate { clamped } else { sum } as u32;
                    assert_eq!(d[i][j], want, "{product:?} at {i}, {j}");
                }
            }
        }
    }
}

#[test]
fn the_identity_times_a_matrix_is_that_matrix() {
    let zero = |rows: usize, columns: usize| vec![vec![0; columns]; rows];
    // f16 of 0..128 and 1: all different, all exact.
    let f16 = |x: usize| u32::from(cuda_emulator::numeric::half::from_f32(x as f32));
    let product = Product::mma((16, 8, 16), F16, F16, Sum16, false).expect("known");
    let a: Matrix = (0..16).map(|i| (0..16).map(|j| f16(usize::from(i == j))).collect()).collect();
    let b: Matrix = (0..16).map(|i| (0..8).map(|j| f16(8 * i + j)).collect()).collect();
    assert_eq!(multiply(product, (16, 8, 16), (F16, F16, Sum16), &a, &b, &zero(16, 8), Sums::Exact), b);

    let product = Product::mma((16, 8, 8), F16, F16, Sum16, false).expect("known");
    let a: Matrix = (0..16).map(|i| (0..8).map(|j| f16(8 * i + j)).collect()).collect();
    let b: Matrix = (0..8).map(|i| (0..8).map(|j| f16(usize::from(i == j))).collect()).collect();
    assert_eq!(multiply(product, (16, 8, 8), (F16, F16, Sum16), &a, &b, &zero(16, 8), Sums::Exact), a);
}

#[test]
fn infinities_and_nan_reach_their_row_and_column_alone() {
    let product = Product::mma((16, 8, 16), F16, F16, Sum32, false).expect("known");
    let one = 0x3c00;
    let (mut a, mut b) = (vec![vec![one; 16]; 16], vec![vec![one; 8]; 16]);
    (a[3][5], a[4][9], b[9][2]) = (0x7c00, 0x7e01, 0);
    let mut c = vec![vec![0; 8]; 16];
    c[3][7] = f32::NEG_INFINITY.to_bits();
    let d = multiply(product, (16, 8, 16), (F16, F16, Sum32), &a, &b, &c, Sums::Exact);
    for (i, row) in d.iter().enumerate() {
        for (j, &found) in row.iter().enumerate() {
            let finite = if j == 2 { 15f32 } else { 16f32 };
            let want = match (i, j) {
                (3, 7) | (4, _) => 0x7fff_ffff,
                (3, _) => 0x7f80_0000,
                _ => finite.to_bits(),
            };
            assert_eq!(found, want, "at {i}, {j}");
        }
    }
}

#[test]
fn a_sum_of_negative_zeros_alone_is_negative_zero() {
    let product = Product::mma((16, 8, 16), F16, F16, Sum32, false).expect("known");
    let run = |a: u32, b: u32, c: f32| {
        let (a, b) = (vec![vec![a; 16]; 16], vec![vec![b; 8]; 16]);
        let c = vec![vec![c.to_bits(); 8]; 16];
        multiply(product, (16, 8, 16), (F16, F16, Sum32), &a, &b, &c, Sums::Exact)[15][7]
    };
    assert_eq!(run(0x8000, 0x3c00, -0.0), 0x8000_0000);
    assert_eq!(run(0x8000, 0x3c00, 0.0), 0);
    assert_eq!(run(0x0000, 0x3c00, -0.0), 0);
    assert_eq!(run(0xbc00, 0x3c00, 16.0), 0);
}

#[test]
fn instructions_that_ptx_lacks_are_none() {
    assert_eq!(Product::mma((16, 8, 16), F16, Bf16, Sum32, false), None);
    assert_eq!(Product::mma((16, 8, 16), Bf16, Bf16, Sum16, false), None);
    assert_eq!(Product::mma((16, 8, 4), F16, F16, Sum32, false), None);
    assert_eq!(Product::mma((8, 8, 4), F16, F16, Sum32, false), None);
    assert_eq!(Product::mma((16, 8, 32), S8, S4, S32, false), None);
    assert_eq!(Product::mma((16, 8, 16), F16, F16, Sum32, true), None);
    assert_eq!(Product::wmma((16, 16, 16), S8, U8, S32, false), None);
    assert_eq!(Product::wmma((16, 8, 16), F16, F16, Sum32, false), None);
}

#[test]
fn products_of_f64_are_chains_of_fused_multiply_adds() {
    let mut inputs = Inputs(3);
    for (m, k) in [(8, 4), (16, 4), (16, 8), (16, 16)] {
        let mut f64s = |n: usize| -> Vec<f64> { (0..n).map(|_| inputs.f64()).collect() };
        let (a, b, c) = (f64s(m * k), f64s(k * 8), f64s(m * 8));
        // A: a0 at (g, t), a1 eight rows below, the next pair four columns to the right (m16); B: b[i] at (t + 4i, g).
        let place_a = |lane: usize, i: usize| match m {
            8 => (lane >> 2, lane % 4),
            _ => ((lane >> 2) + i % 2 * 8, lane % 4 + i / 2 * 4),
        };
        let ra: Vec<_> = (0..m * k / 32).map(|i| lanes(|l| place_a(l, i), &a, k)).collect();
        let rb: Vec<_> = (0..k / 4).map(|i| lanes(|l| (l % 4 + 4 * i, l >> 2), &b, 8)).collect();
        let rc: Vec<_> = (0..m / 4).map(|i| lanes(|l| tables::c((m, 8, k), l, i), &c, 8)).collect();
        let rd = multiply_f64(m, k, &ra, &rb, &rc, Round::Rn);
        for (i, register) in rd.iter().enumerate().take(m / 4) {
            for (lane, found) in register.iter().enumerate() {
                let (row, column) = tables::c((m, 8, k), lane, i);
                let start = c[row * 8 + column];
                let want = (0..k).fold(start, |sum, q| a[row * k + q].mul_add(b[q * 8 + column], sum));
                let same = found.to_bits() == want.to_bits() || found.is_nan() && want.is_nan();
                assert!(same, "m{m} k{k} at {row}, {column}: {found:e}, expected {want:e}");
            }
        }
    }
}

/// The register whose lanes hold these elements of a row-major matrix.
fn lanes(place: impl Fn(usize) -> (usize, usize), matrix: &[f64], columns: usize) -> [f64; 32] {
    std::array::from_fn(|lane| {
        let (row, column) = place(lane);
        matrix[row * columns + column]
    })
}
