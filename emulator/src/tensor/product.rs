//! One `mma.sync` or `wmma.mma`: which there are, and how many registers they take.

use super::layout::{Fragment, Sheet, TILE};
use super::{Accumulator, Element};

const ELEMENTS: [Element; 9] = [
    Element::F16,
    Element::Bf16,
    Element::Tf32,
    Element::E4m3,
    Element::E5m2,
    Element::S8,
    Element::U8,
    Element::S4,
    Element::U4,
];
const SUMS: [Accumulator; 3] = [Accumulator::F16, Accumulator::F32, Accumulator::S32];

/// Rows of A, columns of B, and what they share: `(m, n, k)`.
pub type Shape = (usize, usize, usize);

/// `d = a * b + c` of matrices that a warp holds: A of `[m, k]`, B of `[k, n]`, C and D of `[m, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    m: usize,
    n: usize,
    k: usize,
    a: Element,
    b: Element,
    sum: Accumulator,
    saturate: bool,
}

impl Product {
    /// `mma.sync` of this shape `(m, n, k)` and these types, C and D having the same; `saturate` is `.satfinite`. None where
    /// PTX has no such instruction, or it is not implemented.
    pub fn mma(shape: Shape, a: Element, b: Element, sum: Accumulator, saturate: bool) -> Option<Self> {
        use Element::{Bf16, E4m3, E5m2, F16, S4, S8, Tf32, U4, U8};
        let known = match (a, b, sum) {
            (F16, F16, Accumulator::F16 | Accumulator::F32) => matches!(shape, (16, 8, 8 | 16)),
            (Bf16, Bf16, Accumulator::F32) => matches!(shape, (16, 8, 8 | 16)),
            (Tf32, Tf32, Accumulator::F32) => matches!(shape, (16, 8, 4 | 8)),
            (E4m3 | E5m2, E4m3 | E5m2, Accumulator::F16 | Accumulator::F32) => {
                matches!(shape, (16, 8, 16 | 32))
            }
            (S8 | U8, S8 | U8, Accumulator::S32) => matches!(shape, (8, 8, 16) | (16, 8, 16 | 32)),
            (S4 | U4, S4 | U4, Accumulator::S32) => matches!(shape, (8, 8, 32) | (16, 8, 32 | 64)),
            _ => false,
        };
        Self::checked(known, shape, a, b, sum, saturate)
    }

    /// `wmma.mma` of this shape and these types, as for [`Product::mma`].
    pub fn wmma(shape: Shape, a: Element, b: Element, sum: Accumulator, saturate: bool) -> Option<Self> {
        use Element::{Bf16, F16, S8, Tf32, U8};
        let known = match (a, b, sum) {
            (F16, F16, Accumulator::F16 | Accumulator::F32)
            | (Bf16, Bf16, Accumulator::F32)
            | (S8, S8, Accumulator::S32)
            | (U8, U8, Accumulator::S32) => matches!(shape, (16, 16, 16) | (32, 8, 16) | (8, 32, 16)),
            (Tf32, Tf32, Accumulator::F32) => shape == (16, 16, 8),
            _ => false,
        };
        Self::checked(known, shape, a, b, sum, saturate)
    }

    fn checked(
        known: bool,
        (m, n, k): Shape,
        a: Element,
        b: Element,
        sum: Accumulator,
        saturate: bool,
    ) -> Option<Self> {
        (known && (!saturate || a.is_integer())).then_some(Self { m, n, k, a, b, sum, saturate })
    }

    /// How A sits in its registers.
    pub const fn a(&self) -> Fragment {
        Fragment::of(self.m, self.k, self.a)
    }

    /// How the transpose of B sits in its registers.
    pub const fn b(&self) -> Fragment {
        Fragment::of(self.n, self.k, self.b)
    }

    /// How C and D sit in their registers.
    pub const fn sums(&self) -> Sheet {
        Sheet::of(self.m, self.n, self.sum)
    }

    /// The types of A, of B, and of C and D.
    pub const fn types(&self) -> (Element, Element, Accumulator) {
        (self.a, self.b, self.sum)
    }

    /// `(m, n, k)`.
    pub const fn shape(&self) -> Shape {
        (self.m, self.n, self.k)
    }

    /// The first compute capability, 80 for 8.0, that has the instruction.
    pub fn target(&self) -> u32 {
        match (self.shape(), self.a) {
            (_, Element::E4m3 | Element::E5m2) => 89,
            (_, Element::Bf16 | Element::Tf32) => 80,
            ((16, 8, 8), Element::F16) | ((8, 8, _), _) => 75,
            ((16, 8, _), _) => 80,
            (_, Element::F16) => 70,
            _ => 72,
        }
    }

    /// The product in 22 bits.
    pub(crate) fn to_bits(self) -> u32 {
        let element = |e| ELEMENTS.iter().position(|&x| x == e).unwrap_or(0) as u32;
        let sum = SUMS.iter().position(|&x| x == self.sum).unwrap_or(0) as u32;
        let (m, n, k) = ((self.m / 8) as u32, (self.n / 8) as u32, (self.k / 4) as u32);
        let types = element(self.a) | element(self.b) << 4 | sum << 8 | u32::from(self.saturate) << 10;
        m | n << 3 | k << 6 | types << 11
    }

    /// The inverse of [`Product::to_bits`].
    #[inline(always)]
    pub(crate) fn from_bits(bits: u32) -> Self {
        let field = |at: u32, mask: u32| (bits >> at & mask) as usize;
        Self {
            m: 8 * field(0, 7),
            n: 8 * field(3, 7),
            k: 4 * field(6, 31),
            a: ELEMENTS[field(11, 15)],
            b: ELEMENTS[field(15, 15)],
            sum: SUMS[field(19, 3)],
            saturate: field(21, 1) == 1,
        }
    }

    /// Rows of A, products to a sum, and whether they are of integers.
    pub(crate) const fn size(&self) -> (usize, usize, bool) {
        (self.m, self.k, self.a.is_integer())
    }

    /// Whether it has `.satfinite`.
    pub const fn saturates(&self) -> bool {
        self.saturate
    }

    /// The parts of eight columns and at most 16 rows that make it up.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let whole = *self;
        let m = whole.m.min(2 * TILE);
        let down = whole.m / m;
        (0..down * whole.n / TILE).map(move |i| Part { whole, m, row: i % down * m, column: i / down * TILE })
    }
}

/// Eight columns and at most 16 rows of a product.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    whole: Product,
    m: usize,
    row: usize,
    column: usize,
}

impl Part {
    /// The part as a product of its own, of eight columns.
    pub const fn product(&self) -> Product {
        Product { m: self.m, n: TILE, ..self.whole }
    }

    /// Its registers among those of A.
    pub fn a(&self) -> Vec<usize> {
        let rows = self.row..self.row + self.m;
        (0..self.whole.a().registers()).filter(|&r| rows.contains(&self.whole.a().tile(r).0)).collect()
    }

    /// Its registers among those of B.
    pub fn b(&self) -> Vec<usize> {
        (0..self.whole.b().registers()).filter(|&r| self.whole.b().tile(r).0 == self.column).collect()
    }

    /// Its registers among those of C and D.
    pub fn sums(&self) -> Vec<usize> {
        let rows = self.row..self.row + self.m;
        let inside = |r: &usize| {
            let (row, column) = self.whole.sums().tile(*r);
            rows.contains(&row) && column == self.column
        };
        (0..self.whole.sums().registers()).filter(inside).collect()
    }
}
