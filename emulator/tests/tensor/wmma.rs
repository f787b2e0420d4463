//! `wmma`: load, multiply, store give the product of the matrices in memory, whatever lane holds what.

use crate::exact::Inputs;
use crate::reference::{self, Kind};
use crate::tables::Shape;
use cuda_emulator::tensor::wmma::{Matrix, Order, in_order};
use cuda_emulator::tensor::{Accumulator, Element, Lanes, Product, Sums};

use Order::{Column, Row};

const SHAPES: [Shape; 3] = [(16, 16, 16), (32, 8, 16), (8, 32, 16)];

/// A matrix in memory: `rows x columns` at a stride, gaps filled with something else.
struct Stored {
    order: Order,
    stride: usize,
    elements: Vec<u32>,
}

impl Stored {
    fn new(order: Order, rows: usize, columns: usize, pad: usize, mut element: impl FnMut() -> u32) -> Self {
        let (lines, length) = if order == Row { (rows, columns) } else { (columns, rows) };
        let stride = length + pad;
        Self { order, stride, elements: (0..lines * stride).map(|_| element()).collect() }
    }

    fn index(&self, row: usize, column: usize) -> usize {
        if self.order == Row { row * self.stride + column } else { column * self.stride + row }
    }

    fn at(&self, row: usize, column: usize) -> u32 {
        self.elements[self.index(row, column)]
    }

    fn load(&self, matrix: Matrix) -> Vec<Lanes> {
        let (n, width) = (matrix.per_word(), 32 / matrix.per_word());
        let word = |r, lane| {
            let element =
                |i| self.elements[matrix.element(self.order, self.stride as u64, r, lane, i) as usize];
            (0..n).fold(0, |word, i| word | element(i) << (i * width))
        };
        (0..matrix.registers()).map(|r| std::array::from_fn(|lane| word(r, lane))).collect()
    }

    fn store(&mut self, matrix: Matrix, registers: &[Lanes]) {
        let (n, width) = (matrix.per_word(), 32 / matrix.per_word());
        for (r, lanes) in registers.iter().enumerate() {
            for (lane, word) in lanes.iter().enumerate() {
                for i in 0..n {
                    let index = matrix.element(self.order, self.stride as u64, r, lane, i) as usize;
                    self.elements[index] = (u64::from(*word) >> (i * width) & ((1 << width) - 1)) as u32;
                }
            }
        }
    }
}

/// Multiplies fragments as `wmma.mma` with these layouts does.
fn multiply(product: Product, a: (Order, &[Lanes]), b: (Order, &[Lanes]), c: &[Lanes]) -> Vec<Lanes> {
    let used = |(order, registers): (Order, &[Lanes]), n: usize| -> Vec<Lanes> {
        registers[..n].iter().map(|r| in_order(order, r)).collect()
    };
    let (a, b) = (used(a, product.a().registers()), used(b, product.b().registers()));
    let mut d = c.to_vec();
    product.run(&a, &b, c, &mut d, Sums::Exact);
    d
}

#[test]
fn wmma_multiplies_matrices_in_memory() {
    let mut inputs = Inputs(5);
    let types = [
        (Element::F16, Accumulator::F16),
        (Element::F16, Accumulator::F32),
        (Element::Bf16, Accumulator::F32),
        (Element::S8, Accumulator::S32),
        (Element::U8, Accumulator::S32),
    ];
    let cases = SHAPES.into_iter().flat_map(|shape| types.map(|(e, sum)| (shape, e, sum)));
    for (shape, element, sum) in cases.chain([((16, 16, 8), Element::Tf32, Accumulator::F32)]) {
        let product = Product::wmma(shape, element, element, sum, false).expect("known");
        let (ma, mb, mc) = (Matrix::a(shape, element), Matrix::b(shape, element), Matrix::sums(shape, sum));
        let (m, n, k) = shape;
        for (i, orders) in
            [[Row, Row], [Row, Column], [Column, Row], [Column, Column]].into_iter().enumerate()
        {
            let mut any = || reference::element(&mut inputs, element, Kind::Finite);
            let a = Stored::new(orders[0], m, k, 8 * i, &mut any);
            let b = Stored::new(orders[1], k, n, 24 - 8 * i, &mut any);
            let mut c = || reference::sum_element(&mut inputs, sum, Kind::Finite);
            let c = Stored::new(orders[i % 2], m, n, 8, &mut c);
            let mut d = Stored::new(orders[1 - i % 2], m, n, 4, || 0);
            let registers =
                multiply(product, (orders[0], &a.load(ma)), (orders[1], &b.load(mb)), &c.load(mc));
            d.store(mc, &registers);
            for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let (left, right) = (|k| a.at(row, k), |k| b.at(k, column));
                let want = expected(element, sum, k, left, right, c.at(row, column));
                assert_eq!(d.at(row, column), want, "{product:?} {orders:?} at {row}, {column}");
            }
        }
    }
}

fn expected(
    element: Element,
    sum: Accumulator,
    k: usize,
    a: impl Fn(usize) -> u32,
    b: impl Fn(usize) -> u32,
    c: u32,
) -> u32 {
    if element.is_integer() {
        let products = (0..k).map(|k| reference::signed(element, a(k)) * reference::signed(element, b(k)));
        return (i64::from(c as i32) + products.sum::<i64>()) as u32;
    }
    let (a, b): (Vec<_>, Vec<_>) =
        (0..k).map(|k| (reference::value(element, a(k)), reference::value(element, b(k)))).unzip();
    reference::dot(&a, &b, reference::sum_value(sum, c), sum)
}

/// The counts that ptxas 13.0 accepts for `wmma.load`.
#[test]
fn wmma_fragments_have_the_registers_that_ptxas_accepts() {
    let counts =
        |element| SHAPES.map(|s| [Matrix::a(s, element).registers(), Matrix::b(s, element).registers()]);
    assert_eq!(counts(Element::F16), [[8, 8], [8, 8], [8, 8]]);
    assert_eq!(counts(Element::Bf16), [[4, 4], [8, 2], [2, 8]]);
    assert_eq!(counts(Element::S8), [[2, 2], [4, 1], [1, 4]]);
    assert_eq!(counts(Element::U8), [[2, 2], [4, 1], [1, 4]]);
    for (sum, registers) in [(Accumulator::F16, 4), (Accumulator::F32, 8), (Accumulator::S32, 8)] {
        assert_eq!(SHAPES.map(|s| Matrix::sums(s, sum).registers()), [registers; 3]);
    }
}

#[test]
fn a_fragment_multiplied_in_another_layout_than_loaded_gives_another_product() {
    let mut inputs = Inputs(6);
    let shape = (16, 16, 16);
    let product = Product::wmma(shape, Element::F16, Element::F16, Accumulator::F32, false).expect("known");
    let mut any = || reference::element(&mut inputs, Element::F16, Kind::Plain);
    let a = Stored::new(Column, 16, 16, 0, &mut any).load(Matrix::a(shape, Element::F16));
    let b = Stored::new(Row, 16, 16, 0, &mut any).load(Matrix::b(shape, Element::F16));
    let c = vec![[0; 32]; 8];
    assert_ne!(multiply(product, (Column, &a), (Row, &b), &c), multiply(product, (Row, &a), (Row, &b), &c));
    assert_ne!(
        multiply(product, (Column, &a), (Row, &b), &c),
        multiply(product, (Column, &a), (Column, &b), &c)
    );
}
