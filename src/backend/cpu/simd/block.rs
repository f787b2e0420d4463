//! A rectangle of a matrix, read vector by vector without a bounds check each.

use super::LANES;
use std::{marker::PhantomData, ops::Range};

/// Rows of whole vectors, somewhere in a row-major matrix.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a, E> {
    start: *const E,
    stride: usize,
    n_rows: usize,
    n_vectors: usize,
    shared: PhantomData<&'a [E]>,
}

impl<'a, E> Block<'a, E> {
    /// `rows` of `matrix`, `[.., stride]`, and of each the `n_vectors` vectors from column `first_col` on.
    ///
    /// # Panics
    /// If they are not all in `matrix`.
    #[inline(always)]
    pub fn new(
        matrix: &'a [E],
        stride: usize,
        rows: Range<usize>,
        first_col: usize,
        n_vectors: usize,
    ) -> Self {
        let inside = rows.end * stride <= matrix.len() && first_col + n_vectors * LANES <= stride;
        assert!(inside && rows.start <= rows.end, "a block is inside its matrix");
        let start = matrix[rows.start * stride..].as_ptr().wrapping_add(first_col);
        Self { start, stride, n_rows: rows.len(), n_vectors, shared: PhantomData }
    }

    /// Vectors in a row.
    #[inline(always)]
    pub fn n_vectors(&self) -> usize {
        self.n_vectors
    }

    /// Vector `c` of row `r`.
    ///
    /// # Safety
    /// `r` and `c` are less than the block's rows and vectors.
    #[inline(always)]
    pub unsafe fn at(&self, r: usize, c: usize) -> &'a [E; LANES] {
        debug_assert!(
            r < self.n_rows && c < self.n_vectors,
            "vector ({r}, {c}) of {} by {}",
            self.n_rows,
            self.n_vectors
        );
        // SAFETY: `new` checked that the rows and vectors are in the matrix, and the caller says that these are among them.
        unsafe { &*self.start.add(r * self.stride + c * LANES).cast() }
    }
}
