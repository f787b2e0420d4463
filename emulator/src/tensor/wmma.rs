//! Where `wmma.load` and `wmma.store` find the elements that a lane's registers hold.
//!
//! PTX leaves open which lane holds which element. Ours hold them as [`super::layout`] says; a fragment of A or B that was loaded
//! `.col` has its lanes in reverse order, so that multiplying it as `.row` goes wrong, as it does on hardware.

use super::layout::{Fragment, Sheet};
use super::{Accumulator, Element, Lanes, Product, Shape};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `.row`: `stride` elements from one row to the next.
    Row,
    /// `.col`: `stride` elements from one column to the next.
    Column,
}

/// A matrix that `wmma.load` and `wmma.store` move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    part: Part,
    /// How many registers an instruction names.
    registers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    A(Fragment),
    /// In registers as its transpose.
    B(Fragment),
    Sums(Sheet),
}

impl Matrix {
    /// A of shape `(m, n, k)`.
    pub const fn a((m, _, k): Shape, element: Element) -> Self {
        let fragment = Fragment::of(m, k, element);
        Self { part: Part::A(fragment), registers: named(fragment, element) }
    }

    /// B of shape `(m, n, k)`.
    pub const fn b((_, n, k): Shape, element: Element) -> Self {
        let fragment = Fragment::of(n, k, element);
        Self { part: Part::B(fragment), registers: named(fragment, element) }
    }

    /// C or D of shape `(m, n, k)`.
    pub const fn sums((m, n, _): Shape, element: Accumulator) -> Self {
        let sheet = Sheet::of(m, n, element);
        Self { part: Part::Sums(sheet), registers: sheet.registers() }
    }

    /// How many registers an instruction names. Those after the ones of its [`Fragment`] repeat them.
    pub const fn registers(&self) -> usize {
        self.registers
    }

    /// How many of them differ.
    pub const fn distinct_registers(&self) -> usize {
        match self.part {
            Part::A(f) | Part::B(f) => f.registers(),
            Part::Sums(s) => s.registers(),
        }
    }

    /// Elements to a word.
    pub const fn per_word(&self) -> usize {
        match self.part {
            Part::A(f) | Part::B(f) => f.per_word,
            Part::Sums(s) => s.per_word,
        }
    }

    /// The index in memory of element `index` (lowest bits first) of a lane's register, in elements from the first.
    pub const fn element(
        &self,
        order: Order,
        stride: u64,
        register: usize,
        lane: usize,
        index: usize,
    ) -> u64 {
        let held = match order {
            Order::Column => 31 - lane,
            Order::Row => lane,
        };
        let (row, column) = match self.part {
            Part::A(f) => f.position(register % f.registers(), held, index),
            Part::B(f) => {
                let (column, row) = f.position(register % f.registers(), held, index);
                (row, column)
            }
            Part::Sums(s) => s.position(register, lane, index),
        };
        match order {
            Order::Row => (row as u64).wrapping_mul(stride).wrapping_add(column as u64),
            Order::Column => (column as u64).wrapping_mul(stride).wrapping_add(row as u64),
        }
    }
}

/// The matrices of a `wmma.mma`: A, B, and C or D.
pub const fn matrices(product: &Product) -> [Matrix; 3] {
    let ((a, b, sum), shape) = (product.types(), product.shape());
    [Matrix::a(shape, a), Matrix::b(shape, b), Matrix::sums(shape, sum)]
}

/// `.f16` fragments of A and B have eight registers whatever the shape.
const fn named(fragment: Fragment, element: Element) -> usize {
    if matches!(element, Element::F16) { 8 } else { fragment.registers() }
}

/// Undoes the order of the lanes of a fragment loaded `.col`, for the multiplication.
pub fn in_order(order: Order, register: &Lanes) -> Lanes {
    match order {
        Order::Row => *register,
        Order::Column => std::array::from_fn(|lane| register[31 - lane]),
    }
}
