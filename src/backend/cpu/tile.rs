//! Matrices cut into stripes, so that threads can write to one matrix at once without sharing an element.
//!
//! A stripe of columns is not contiguous, so `chunks_mut` cannot make it; [`Pool::stripes`] is the safe call that
//! hands each stripe to one task. Used by every operation of [`super::ops`]; tested in `tests/kernels.rs`.

use super::pool::Pool;
use std::{marker::PhantomData, ops::Range};

/// How a [`Striped`] matrix is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Stripes of this many rows.
    Rows(usize),
    /// Stripes of this many columns.
    Cols(usize),
}

/// A row-major matrix, to be cut.
#[derive(Debug)]
pub struct Striped<'a> {
    start: *mut f32,
    stride: usize,
    n_rows: usize,
    n_cols: usize,
    cut: Cut,
    exclusive: PhantomData<&'a mut [f32]>,
}

// SAFETY: it owns the exclusive borrow that it was made of, and `f32` is Send and Sync; elements are reached only
// through `stripe`, whose contract keeps threads apart.
unsafe impl Sync for Striped<'_> {}

impl<'a> Striped<'a> {
    /// `values` as rows of `n_cols`, cut as `cut` says; the last stripe may be smaller.
    pub fn new(values: &'a mut [f32], n_cols: usize, cut: Cut) -> Self {
        Self::columns(values, n_cols, 0..n_cols, cut)
    }

    /// The columns `cols` of `values` as rows of `stride`, cut as `cut` says; a stripe counts its columns from `cols.start`.
    pub fn columns(values: &'a mut [f32], stride: usize, cols: Range<usize>, cut: Cut) -> Self {
        let n_rows = values.len() / stride;
        assert_eq!(values.len(), n_rows * stride, "a matrix is whole rows");
        assert!(cols.start <= cols.end && cols.end <= stride, "columns {cols:?} of {stride}");
        let (Cut::Rows(width) | Cut::Cols(width)) = cut;
        assert!(width > 0, "a stripe is not empty");
        let start = values.as_mut_ptr().wrapping_add(cols.start);
        Self { start, stride, n_rows, n_cols: cols.len(), cut, exclusive: PhantomData }
    }

    fn n_stripes(&self) -> usize {
        match self.cut {
            Cut::Rows(width) => self.n_rows.div_ceil(width),
            Cut::Cols(width) => self.n_cols.div_ceil(width),
        }
    }

    /// Stripe `i`.
    ///
    /// # Safety
    /// `i < n_stripes()`, and no two stripes of one number exist at a time.
    unsafe fn stripe(&self, i: usize) -> Stripe<'_> {
        let range = |width: usize, end: usize| i * width..((i + 1) * width).min(end);
        let (rows, cols) = match self.cut {
            Cut::Rows(width) => (range(width, self.n_rows), 0..self.n_cols),
            Cut::Cols(width) => (0..self.n_rows, range(width, self.n_cols)),
        };
        // SAFETY: `rows` and `cols` start inside the matrix, because i < n_stripes and its columns end within the stride.
        let start = unsafe { self.start.add(rows.start * self.stride + cols.start) };
        Stripe { start, stride: self.stride, n_rows: rows.len(), cols, exclusive: PhantomData }
    }
}

/// Some rows and columns of a matrix, which nobody else can reach.
#[derive(Debug)]
pub struct Stripe<'a> {
    start: *mut f32,
    stride: usize,
    n_rows: usize,
    cols: Range<usize>,
    exclusive: PhantomData<&'a mut [f32]>,
}

impl Stripe<'_> {
    /// Rows in it.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The matrix's columns that it holds.
    pub fn cols(&self) -> Range<usize> {
        self.cols.clone()
    }

    /// Row `row` of the stripe.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[f32] {
        assert!(row < self.n_rows, "row {row} of a stripe of {} rows", self.n_rows);
        // SAFETY: the row was checked, so the elements are in the matrix; they are this stripe's own, and `&self` keeps
        // `row_mut` away.
        unsafe { std::slice::from_raw_parts(self.start.add(row * self.stride), self.cols.len()) }
    }

    /// Row `row` of the stripe.
    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.n_rows, "row {row} of a stripe of {} rows", self.n_rows);
        // SAFETY: the row was checked, so the elements are in the matrix; they are this stripe's own, and `&mut self`
        // keeps every other reference away.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.cols.len()) }
    }
}

impl Pool {
    /// Calls `task(stripes, i, thread)` for each number `i`, with stripe `i` of every matrix.
    ///
    /// # Panics
    /// If the matrices do not have equally many stripes.
    pub fn stripes<const N: usize>(
        &mut self,
        matrices: [Striped; N],
        task: impl Fn([Stripe; N], usize, usize) + Sync,
    ) {
        let n_tasks = matrices[0].n_stripes();
        assert!(matrices.iter().all(|m| m.n_stripes() == n_tasks), "{matrices:?} differ in their stripes");
        let matrices = &matrices;
        self.run(n_tasks, &|i, thread| {
            // SAFETY: i < n_tasks, and `run` hands out every number once; a task's stripes end with the task.
            let stripes = std::array::from_fn(|m| unsafe { matrices[m].stripe(i) });
            task(stripes, i, thread);
        });
    }
}
