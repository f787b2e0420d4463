//! Where the elements of a matrix sit in the registers of a warp: the one description that everything here follows.
//!
//! A register of 32 lanes is a tile of 8 rows, row-major: lane `4g + t` holds elements `w*t .. w*t + w` of row `g`, lowest bits
//! first, for `w` elements to a word. A fragment is a grid of such tiles, and its registers go down the grid's columns:
//!
//! ```text
//! A [m, k]        register r: rows 8 * (r % (m / 8)), columns 4w * (r / (m / 8))
//! B [k, n]        as its transpose [n, k]
//! C, D [m, n]     tiles of 8 x 8; of 32-bit elements, two registers hold a tile: columns 2t and 2t + 1
//! ```
//!
//! That is the layout which PTX prescribes for `mma.sync` (all shapes but `.m8n8k4` of `.f16`). PTX leaves the layout
//! of `wmma` open; ours is the same one, extended to its sizes.

use super::{Accumulator, Element};

/// Rows of a tile.
pub const TILE: usize = 8;

/// A matrix in registers: `A`, or `B` seen as its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Rows of the matrix, a multiple of 8.
    pub rows: usize,
    /// Columns of the matrix, a multiple of `4 * per_word`.
    pub columns: usize,
    /// Elements to a word.
    pub per_word: usize,
}

impl Fragment {
    /// The fragment of a multiplied matrix.
    pub const fn of(rows: usize, columns: usize, element: Element) -> Self {
        Self { rows, columns, per_word: element.per_word() }
    }

    /// How many registers it takes.
    pub const fn registers(self) -> usize {
        self.rows * self.columns / (32 * self.per_word)
    }

    /// The first row and column of the tile that a register holds.
    pub const fn tile(self, register: usize) -> (usize, usize) {
        let down = self.rows / TILE;
        (register % down * TILE, register / down * 4 * self.per_word)
    }

    /// The row and column of element `index` (lowest bits first) of a lane's word.
    pub const fn position(self, register: usize, lane: usize, index: usize) -> (usize, usize) {
        let (row, column) = self.tile(register);
        (row + lane / 4, column + lane % 4 * self.per_word + index)
    }
}

/// A matrix of sums in registers: `C` or `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sheet {
    /// Rows of the matrix, a multiple of 8.
    pub rows: usize,
    /// Columns of the matrix, a multiple of 8.
    pub columns: usize,
    /// 2 for `.f16`, else 1.
    pub per_word: usize,
}

impl Sheet {
    /// The fragment of a matrix of sums.
    pub const fn of(rows: usize, columns: usize, element: Accumulator) -> Self {
        Self { rows, columns, per_word: if matches!(element, Accumulator::F16) { 2 } else { 1 } }
    }

    /// How many registers hold a tile of 8 x 8.
    pub const fn per_tile(self) -> usize {
        2 / self.per_word
    }

    /// How many registers it takes.
    pub const fn registers(self) -> usize {
        self.rows * self.columns / (32 * self.per_word)
    }

    /// The first row and column of the tile that a register holds, or half of it.
    pub const fn tile(self, register: usize) -> (usize, usize) {
        let (tile, down) = (register / self.per_tile(), self.rows / TILE);
        (tile % down * TILE, tile / down * TILE)
    }

    /// The row and column of element `index` (lowest bits first) of a lane's word.
    pub const fn position(self, register: usize, lane: usize, index: usize) -> (usize, usize) {
        let (row, column) = self.tile(register);
        (row + lane / 4, column + lane % 4 * 2 + register % self.per_tile() + index)
    }
}
