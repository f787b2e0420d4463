//! `ldmatrix`, `stmatrix` and `movmatrix` of 8 x 8 matrices of 16-bit elements.
//!
//! A matrix in memory is eight rows of 16 bytes, each row at an address of its own: lane `8 i + r` gives that of row `r` of matrix
//! `i`. In a register it is a tile as in [`super::layout`]: lane `4g + t` holds elements `2t` and `2t + 1` of row `g`; with `.trans`
//! of column `g`.

use super::Lanes;

/// A row of a matrix: eight elements, two to a word, the first in the low half.
pub type Row = [u32; 4];

/// The lane that gives the address of a row.
pub const fn address_lane(matrix: usize, row: usize) -> usize {
    8 * matrix + row
}

/// What `ldmatrix` gives the lanes of a matrix's register.
pub fn load(rows: &[Row; 8], transpose: bool) -> Lanes {
    let tile = std::array::from_fn(|lane| rows[lane / 4][lane % 4]);
    if transpose { transposed(&tile) } else { tile }
}

/// What `stmatrix` writes from a matrix's register.
pub fn store(register: &Lanes, transpose: bool) -> [Row; 8] {
    let tile = if transpose { transposed(register) } else { *register };
    std::array::from_fn(|row| std::array::from_fn(|word| tile[4 * row + word]))
}

/// `movmatrix.trans`.
pub fn transposed(register: &Lanes) -> Lanes {
    let element = |row: usize, column: usize| register[4 * row + column / 2] >> (column % 2 * 16) & 0xffff;
    std::array::from_fn(|lane| {
        let (row, column) = (lane / 4, lane % 4 * 2);
        element(column, row) | element(column + 1, row) << 16
    })
}
