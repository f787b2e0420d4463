//! Which element of a matrix the element `i` of a lane's fragment of `mma.sync` is, shape by shape, in the words of the PTX ISA:
//! `g` is its groupID, `t` its threadID_in_group.

use cuda_emulator::tensor::{Accumulator, Element, Lanes};

pub type Shape = (usize, usize, usize);

pub fn bits(element: Element) -> usize {
    match element {
        Element::Tf32 => 32,
        Element::F16 | Element::Bf16 => 16,
        Element::S4 | Element::U4 => 4,
        _ => 8,
    }
}

/// (row, column) of `a[i]`.
pub fn a(shape: Shape, element: Element, lane: usize, i: usize) -> (usize, usize) {
    let (g, t) = (lane >> 2, lane % 4);
    match (bits(element), shape) {
        (32, (16, 8, 4)) => (if i == 0 { g } else { g + 8 }, t),
        (32, (16, 8, 8)) => {
            (if i == 0 || i == 2 { g } else { g + 8 }, if i == 0 || i == 1 { t } else { t + 4 })
        }
        (16, (16, 8, 8)) => (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1)),
        (16, (16, 8, 16)) => {
            let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
            (row, if i < 4 { t * 2 + (i & 1) } else { t * 2 + (i & 1) + 8 })
        }
        (8, (8, 8, 16)) => (g, t * 4 + i),
        (8, (16, 8, 16)) => (if i < 4 { g } else { g + 8 }, t * 4 + (i & 3)),
        (8, (16, 8, 32)) => {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            (row, if i < 8 { t * 4 + (i & 3) } else { t * 4 + (i & 3) + 16 })
        }
        (4, (8, 8, 32)) => (g, t * 8 + i),
        (4, (16, 8, 32)) => (if i < 8 { g } else { g + 8 }, t * 8 + (i & 7)),
        (4, (16, 8, 64)) => {
            let row = if i < 8 || (16..24).contains(&i) { g } else { g + 8 };
            (row, if i < 16 { t * 8 + (i & 7) } else { t * 8 + (i & 7) + 32 })
        }
        other => panic!("no table for {other:?}"),
    }
}

/// (row, column) of `b[i]`.
pub fn b(shape: Shape, element: Element, lane: usize, i: usize) -> (usize, usize) {
    let (g, t) = (lane >> 2, lane % 4);
    match (bits(element), shape) {
        (32, (16, 8, 4)) => (t, g),
        (32, (16, 8, 8)) => (if i == 0 { t } else { t + 4 }, g),
        (16, (16, 8, 8)) => (t * 2 + i, g),
        (16, (16, 8, 16)) => (if i < 2 { t * 2 + (i & 1) } else { t * 2 + (i & 1) + 8 }, g),
        (8, (8 | 16, 8, 16)) => (t * 4 + i, g),
        (8, (16, 8, 32)) => (if i < 4 { t * 4 + (i & 3) } else { t * 4 + (i & 3) + 16 }, g),
        (4, (8 | 16, 8, 32)) => (t * 8 + i, g),
        (4, (16, 8, 64)) => (if i < 8 { t * 8 + (i & 7) } else { t * 8 + (i & 7) + 32 }, g),
        other => panic!("no table for {other:?}"),
    }
}

/// (row, column) of `c[i]` and `d[i]`.
pub fn c(shape: Shape, lane: usize, i: usize) -> (usize, usize) {
    let (g, t) = (lane >> 2, lane % 4);
    match shape.0 {
        8 => (g, t * 2 + i),
        _ => (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1)),
    }
}

/// A matrix of raw elements, row-major.
pub type Matrix = Vec<Vec<u32>>;

/// Packs `n` elements of `bits` bits a lane.
pub fn pack(
    matrix: &Matrix,
    n: usize,
    bits: usize,
    place: impl Fn(usize, usize) -> (usize, usize),
) -> Vec<Lanes> {
    let mut registers = vec![[0; 32]; n * bits / 32];
    for lane in 0..32 {
        for i in 0..n {
            let (row, column) = place(lane, i);
            registers[i * bits / 32][lane] |= matrix[row][column] << (i * bits % 32);
        }
    }
    registers
}

/// The inverse of `pack`: every element must be given exactly once.
pub fn unpack(
    registers: &[Lanes],
    rows: usize,
    columns: usize,
    bits: usize,
    place: impl Fn(usize, usize) -> (usize, usize),
) -> Matrix {
    let mut matrix = vec![vec![None; columns]; rows];
    for lane in 0..32 {
        for i in 0..registers.len() * 32 / bits {
            let (row, column) = place(lane, i);
            let value = u64::from(registers[i * bits / 32][lane]) >> (i * bits % 32) & ((1 << bits) - 1);
            assert_eq!(matrix[row][column].replace(value as u32), None, "element {row}, {column} twice");
        }
    }
    matrix.into_iter().map(|row| row.into_iter().map(|x| x.expect("every element")).collect()).collect()
}

pub fn sum_bits(sum: Accumulator) -> usize {
    if sum == Accumulator::F16 { 16 } else { 32 }
}
