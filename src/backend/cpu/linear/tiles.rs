//! Several tokens: each weight is read and widened once, for all of them.
//!
//! ```text
//! for rows in some rows at a time, within a block:      so many that their weights stay in the second-level cache
//!     for tile in 32 columns at a time:                 12 tokens x 32 columns of sums are 24 of AVX-512's registers
//!         for group in 12 tokens at a time:             the first reads weights, and leaves them widened for the others
//!             sums[group, tile] += x[group, rows] w[rows, tile], as the weights of the next rows are asked for
//! ```
//!
//! Where a tile's rows begin and end does not show in the bits: a sum that waits in memory goes on where it was.

use super::{
    super::{
        simd::{Block, Element, Kernel, LANES, Simd},
        tile::Stripe,
    },
    BLOCK, CACHE_LINE, Operands, chain, finish,
    outputs::turned,
};
use crate::family::Layout;
use std::ops::Range;

/// Most tokens in a tile of an instruction set, and the columns of one.
pub struct TileShape;

impl Kernel for TileShape {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (S::TILE.0, S::TILE.1 * LANES)
    }
}

/// `n_tokens` in as few groups of at most `most` as there can be, and these as even as can be.
fn groups(n_tokens: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let n = n_tokens.div_ceil(most);
    (0..n).map(move |i| i * n_tokens / n..(i + 1) * n_tokens / n)
}

/// Packs the inputs `rows`, one block, of all tokens of `x`, `[T, in]`: `[block, tokens]` for each group of tokens that
/// go through a tile together, one after the other. `most` is the first number of [`TileShape`].
pub fn pack(packed: &mut [f32], x: &[f32], n_in: usize, rows: Range<usize>, most: usize) {
    for group in groups(x.len() / n_in, most) {
        let len = group.len();
        let packed = &mut packed[group.start * rows.len()..];
        for (t, token) in group.enumerate() {
            let row = &x[token * n_in..][rows.clone()];
            for (to, &v) in packed[t..].iter_mut().step_by(len).zip(row) {
                *to = v;
            }
        }
    }
}

/// Rows of weights at a time for up to [`FEW`] tokens, where reading them is most of the work.
const FEW_ROWS: usize = 16;
const FEW: usize = 24;

/// The third way: `y` is some columns of the output, for any number of tokens.
pub struct Tiles<'a, 'y, E> {
    /// What is multiplied.
    pub of: Operands<'a, E>,
    /// What [`pack`] made of each block, `[blocks, BLOCK * T]`.
    pub packed: &'a [f32],
    /// `[T, cols]`.
    pub y: Stripe<'y>,
    /// Room for the widened weights of a tile, `[BLOCK, tile's columns]`.
    pub panel: &'a mut [f32],
    /// Room for `[T, cols]` twice, with cols rounded up to whole tiles.
    pub sums: &'a mut [f32],
}

impl<E: Element> Kernel for Tiles<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match S::TILE.1 {
            2 => tiles::<S, E, 2>(s, self),
            _ => tiles::<S, E, 1>(s, self),
        }
    }
}

/// `N` vectors of fp32.
type Row<const N: usize> = [[f32; LANES]; N];

#[inline(always)]
fn tiles<S: Simd, E: Element, const N: usize>(s: S, task: Tiles<E>) {
    let Tiles { of, packed, mut y, panel, sums } = task;
    let (n_tokens, cols) = (y.n_rows(), y.cols());
    let height = if n_tokens <= FEW && of.layout == Layout::InOut { FEW_ROWS } else { BLOCK };
    let panel: &mut [Row<N>] = panel.as_chunks_mut().0.as_chunks_mut().0;
    let sums: &mut [Row<N>] = sums.as_chunks_mut().0.as_chunks_mut().0;
    let (sums, totals) = sums.split_at_mut(sums.len() / 2);
    totals.fill([[0.0; LANES]; N]);
    for (i, x) in packed.chunks(BLOCK * n_tokens).enumerate().take(of.n_blocks()) {
        let block = of.block(i);
        for first in block.clone().step_by(height) {
            let rows = first..block.end.min(first + height);
            let mut next = Ahead::new(&of, rows.end..rows.end + height, cols.clone());
            let sums = sums.chunks_mut(n_tokens).zip(totals.chunks_mut(n_tokens));
            for ((sums, totals), col) in sums.zip(cols.clone().step_by(N * LANES)) {
                let (rows, next) = (rows.clone(), &mut next);
                let mut tile = Tile { of: &of, block: block.clone(), rows, col, sums, totals, next };
                tile.multiply(s, x, panel);
            }
        }
    }
    for (totals, col) in totals.chunks(n_tokens).zip(cols.clone().step_by(N * LANES)) {
        for (t, totals) in totals.iter().enumerate() {
            let y = y.row_mut(t)[col - cols.start..].chunks_mut(LANES);
            for (n, (total, y)) in totals.iter().zip(y).enumerate() {
                finish(s, &of, s.load(total), col + n * LANES, y);
            }
        }
    }
}

/// Some rows of one block, and of each `N` vectors of columns, or fewer at the end of the matrix.
struct Tile<'a, 'w, E, const N: usize> {
    of: &'a Operands<'w, E>,
    block: Range<usize>,
    rows: Range<usize>,
    col: usize,
    /// The sums over the block's rows before these, `[T]`.
    sums: &'a mut [Row<N>],
    /// The sums over the blocks before this, `[T]`.
    totals: &'a mut [Row<N>],
    next: &'a mut Ahead<'w, E>,
}

/// Where a tile's weights come from.
enum Source<'a, const N: usize> {
    /// The matrix; they are to be left in the panel, unless it is empty.
    Matrix(&'a mut [Row<N>]),
    /// The panel.
    Panel(&'a [Row<N>]),
}

impl<E: Element, const N: usize> Tile<'_, '_, E, N> {
    /// Adds the products of all tokens, with `x`: what [`pack`] made of the block.
    #[inline(always)]
    fn multiply<S: Simd>(&mut self, s: S, x: &[f32], panel: &mut [Row<N>]) {
        let panel = &mut panel[..self.rows.len()];
        let mut is_wide = self.of.layout == Layout::OutIn || self.col + N * LANES > self.of.n_out;
        if is_wide {
            match self.of.layout {
                Layout::InOut => self.widen(s, panel),
                Layout::OutIn => self.turn(s, panel),
            }
        }
        let n_tokens = self.sums.len();
        for group in groups(n_tokens, S::TILE.0) {
            let x = &x[group.start * self.block.len()..][..group.len() * self.block.len()];
            let from = match is_wide {
                true => Source::Panel(panel),
                false if group.end == n_tokens => Source::Matrix(&mut []),
                false => Source::Matrix(panel),
            };
            match (S::TILE.0, group.len()) {
                (12, 12) => self.group::<S, 12>(s, group.start, x, from),
                (12, 11) => self.group::<S, 11>(s, group.start, x, from),
                (12, 10) => self.group::<S, 10>(s, group.start, x, from),
                (12, 9) => self.group::<S, 9>(s, group.start, x, from),
                (12, 8) => self.group::<S, 8>(s, group.start, x, from),
                (12, 7) => self.group::<S, 7>(s, group.start, x, from),
                (6 | 12, 6) => self.group::<S, 6>(s, group.start, x, from),
                (6 | 12, 5) => self.group::<S, 5>(s, group.start, x, from),
                (6 | 12, 4) => self.group::<S, 4>(s, group.start, x, from),
                (6 | 12, 3) => self.group::<S, 3>(s, group.start, x, from),
                (_, 2) => self.group::<S, 2>(s, group.start, x, from),
                (_, n) => {
                    assert_eq!(n, 1, "a group is no larger than a tile");
                    self.group::<S, 1>(s, group.start, x, from);
                }
            }
            is_wide = true;
        }
    }

    /// Adds the products of the `T` tokens from `first` on, with `x`: `[block, T]`.
    #[inline(always)]
    fn group<S: Simd, const T: usize>(&mut self, s: S, first: usize, x: &[f32], from: Source<N>) {
        let x = &x.as_chunks::<T>().0[self.rows.start - self.block.start..][..self.rows.len()];
        let mut sums = [[s.splat(0.0); N]; T];
        if self.rows.start > self.block.start {
            let before = &self.sums[first..][..T];
            for t in 0..T {
                for n in 0..N {
                    sums[t][n] = s.load(&before[t][n]);
                }
            }
        }
        match from {
            Source::Matrix(panel) => self.chain(s, &mut sums, x, panel),
            Source::Panel(panel) => chain(s, &mut sums, x, panel.as_flattened(), N),
        }
        let (after, totals) = (&mut self.sums[first..][..T], &mut self.totals[first..][..T]);
        let is_whole = self.rows.end == self.block.end;
        for t in 0..T {
            for n in 0..N {
                match is_whole {
                    true => s.store(s.add(s.load(&totals[t][n]), sums[t][n]), &mut totals[t][n]),
                    false => s.store(sums[t][n], &mut after[t][n]),
                }
            }
        }
    }

    /// [`chain`] with weights from the matrix.
    #[inline(always)]
    fn chain<S: Simd, const T: usize>(
        &mut self,
        s: S,
        sums: &mut [[S::V; N]; T],
        x: &[[f32; T]],
        panel: &mut [Row<N>],
    ) {
        let w = Block::new(self.of.w, self.of.n_out, self.rows.clone(), self.col, N);
        let mut local = *sums;
        for k in 0..self.rows.len().min(x.len()) {
            self.next.prefetch(s);
            let mut row = [s.splat(0.0); N];
            for n in 0..N {
                // SAFETY: the block has `rows` rows of N vectors.
                row[n] = E::load(s, unsafe { w.at(k, n) });
            }
            if let Some(to) = panel.get_mut(k) {
                for n in 0..N {
                    s.store(row[n], &mut to[n]);
                }
            }
            for t in 0..T {
                let x = s.splat(x[k][t]);
                for n in 0..N {
                    local[t][n] = s.fma(x, row[n], local[t][n]);
                }
            }
        }
        *sums = local;
    }

    /// Widens the tile to fp32, zero past the last column.
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S, panel: &mut [Row<N>]) {
        for (i, to) in self.rows.clone().zip(panel) {
            let row = &self.of.w[i * self.of.n_out..][self.col..self.of.n_out];
            for (n, to) in to.iter_mut().enumerate() {
                let from = row.get(n * LANES..).unwrap_or(&[]);
                s.store(s.load_part(&from[..from.len().min(LANES)]), to);
            }
        }
    }

    /// Widens the tile to fp32 and turns it to `[in, out]`, zero past the last column.
    #[inline(always)]
    fn turn<S: Simd>(&self, s: S, panel: &mut [Row<N>]) {
        for n in 0..N {
            let col = self.col + n * LANES;
            if col >= self.of.n_out {
                panel.iter_mut().for_each(|to| to[n] = [0.0; LANES]);
                continue;
            }
            for (i, panel) in panel.chunks_mut(LANES).enumerate() {
                let first = self.rows.start + i * LANES;
                let w = turned(s, self.of, col, first..first + panel.len());
                for k in 0..panel.len() {
                    s.store(w[k], &mut panel[k][n]);
                }
            }
        }
    }
}

/// Asks for weights that are needed next, in the order in which memory is read fastest, a cache line a time.
struct Ahead<'a, E> {
    w: &'a [E],
    stride: usize,
    /// Where the rows start that were not asked for in whole.
    rows: Range<usize>,
    width: usize,
    /// How much of the first of them was.
    n_asked: usize,
}

impl<'a, E: Element> Ahead<'a, E> {
    /// For the columns `cols` of the rows `rows`, as far as the matrix goes. Weights `[out, in]` are read in long runs,
    /// which the machine foresees.
    #[inline(always)]
    fn new(of: &Operands<'a, E>, rows: Range<usize>, cols: Range<usize>) -> Self {
        let rows = if of.layout == Layout::InOut { rows } else { 0..0 };
        let rows = rows.start * of.n_out + cols.start..rows.end * of.n_out;
        Self { w: of.w, stride: of.n_out, rows, width: cols.len(), n_asked: 0 }
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&mut self, s: S) {
        if self.rows.is_empty() {
            return;
        }
        if let Some(at) = self.w.get(self.rows.start + self.n_asked) {
            s.prefetch(at);
        }
        self.n_asked += CACHE_LINE / size_of::<E>();
        if self.n_asked >= self.width {
            self.n_asked = 0;
            self.rows.start += self.stride;
        }
    }
}
