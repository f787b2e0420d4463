//! Many tokens: each weight is widened once and used from the cache.

use super::{
    super::{
        simd::{Element, Kernel, LANES, Simd},
        tile::Stripe,
    },
    BLOCK, Operands, chain, finish,
};

/// Tokens in the tiles of an instruction set, and columns of its panels.
pub struct TileShape;

impl Kernel for TileShape {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (S::TILE.0, S::TILE.1 * LANES)
    }
}

/// Packs one tile's tokens, `x` `[up to tile_tokens, in]`, to `[in, tile_tokens]`, with zeros for the missing ones.
pub fn pack(packed: &mut [f32], x: &[f32], n_in: usize, tile_tokens: usize) {
    if x.len() < n_in * tile_tokens {
        packed.fill(0.0);
    }
    for (t, row) in x.chunks(n_in).enumerate() {
        for (i, &v) in row.iter().enumerate() {
            packed[i * tile_tokens + t] = v;
        }
    }
}

/// The third way: `y` is one panel of columns of the output, for any number of tokens.
pub struct Tiles<'a, 'y, E> {
    /// What is multiplied.
    pub of: Operands<'a, E>,
    /// `[T, cols]`, with as many columns as [`TileShape`] says, or fewer in the last panel.
    pub y: Stripe<'y>,
    /// Room for the panel, `[in, cols]`.
    pub panel: &'a mut [f32],
}

impl<E: Element> Kernel for Tiles<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match S::TILE {
            (12, 2) => tiles::<S, E, 12, 2>(s, self),
            (6, 1) => tiles::<S, E, 6, 1>(s, self),
            _ => tiles::<S, E, 2, 1>(s, self),
        }
    }
}

#[inline(always)]
fn tiles<S: Simd, E: Element, const T: usize, const N: usize>(s: S, task: Tiles<E>) {
    let Tiles { of, mut y, panel } = task;
    let cols = y.cols();
    let panel = &mut panel.as_chunks_mut::<LANES>().0[..of.n_in * N];
    widen(s, panel.as_chunks_mut::<N>().0, &of, cols.start);
    for (tile, x) in of.x.chunks_exact(of.n_in * T).enumerate() {
        let mut totals = [[s.splat(0.0); N]; T];
        for (x, panel) in x.as_chunks().0.chunks(BLOCK).zip(panel.chunks(BLOCK * N)) {
            let mut sums = [[s.splat(0.0); N]; T];
            chain(s, &mut sums, x, panel, N);
            for t in 0..T {
                for n in 0..N {
                    totals[t][n] = s.add(totals[t][n], sums[t][n]);
                }
            }
        }
        for (t, sums) in (tile * T..y.n_rows()).zip(totals) {
            for (n, sum) in sums.into_iter().enumerate().filter(|(n, _)| n * LANES < cols.len()) {
                finish(s, &of, sum, cols.start + n * LANES, &mut y.row_mut(t)[n * LANES..]);
            }
        }
    }
}

/// Widens the columns from `first` on to fp32: `[in, N]` vectors, zero past the last column.
#[inline(always)]
fn widen<S: Simd, E: Element, const N: usize>(
    s: S,
    panel: &mut [[[f32; LANES]; N]],
    of: &Operands<E>,
    first: usize,
) {
    const AHEAD: usize = 16;
    for (i, to) in panel.iter_mut().enumerate() {
        if let Some(ahead) = of.w.get((i + AHEAD) * of.n_out + first) {
            s.prefetch(ahead);
        }
        let row = &of.w[i * of.n_out..][first..of.n_out];
        for n in 0..N {
            let from = row.get(n * LANES..).unwrap_or(&[]);
            let v = match from.first_chunk() {
                Some(from) => E::load(s, from),
                None => s.load_part(from),
            };
            s.store(v, &mut to[n]);
        }
    }
}
