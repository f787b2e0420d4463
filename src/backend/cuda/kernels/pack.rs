//! Launchers that pack weights while a model loads.

use super::{
    super::{
        driver::{Buffer, Gpu, Shape},
        images::constants::{OCTET, PACK_THREADS, TILE_K, TILE_OCTETS, TILE_ROWS},
    },
    Kernels, Packed,
};
use crate::backend::Result;

impl Kernels {
    /// Packs columns `first_k ..` of a matrix from `from`, `[n_k, n_rows]` of fp16 or, with `wide`, fp32.
    pub fn pack_transposed(
        &self,
        gpu: &Gpu,
        packed: &mut Packed,
        from: &Buffer<u8>,
        (first_k, n_k): (usize, usize),
        wide: bool,
    ) -> Result<()> {
        let width = if wide { 4 } else { 2 };
        assert!(
            n_k * packed.n_rows * width <= from.len(),
            "pack: {n_k} columns are not in {} bytes",
            from.len()
        );
        assert!(
            first_k.is_multiple_of(TILE_K as usize) && first_k + n_k <= packed.n_cols,
            "pack: columns {first_k} + {n_k}"
        );
        let n_rows = (packed.n_rows as u32).next_multiple_of(TILE_ROWS);
        let n_octets = n_k.next_multiple_of(TILE_K as usize) as u32 / OCTET;
        let grid = [n_rows.div_ceil(PACK_THREADS), n_octets, 1];
        let shape = Shape { grid, block: PACK_THREADS, shared: 0, overlaps: false };
        let n_tiles = packed.n_tiles();
        let args = [
            (&mut packed.pieces).into(),
            from.into(),
            (packed.n_rows as u32).into(),
            (first_k as u32).into(),
            (n_k as u32).into(),
            n_tiles.into(),
        ];
        // SAFETY: order and types follow kernels/pack.cu; the ranges were checked above.
        unsafe { gpu.launch(&self.pack_transposed[usize::from(wide)], shape, &args) }
    }

    /// Packs rows `first_row ..` of a matrix from `from`, `[n_rows, n_cols]` of fp16 or, with `wide`, fp32.
    pub fn pack_rows(
        &self,
        gpu: &Gpu,
        packed: &mut Packed,
        from: &Buffer<u8>,
        (first_row, n_rows): (usize, usize),
        wide: bool,
    ) -> Result<()> {
        let width = if wide { 4 } else { 2 };
        assert!(
            n_rows * packed.n_cols * width <= from.len(),
            "pack: {n_rows} rows are not in {} bytes",
            from.len()
        );
        assert!(
            first_row + n_rows <= packed.n_rows,
            "pack: rows {first_row} + {n_rows} of {}",
            packed.n_rows
        );
        let is_last = first_row + n_rows == packed.n_rows;
        let to_zero =
            if is_last { packed.n_rows.next_multiple_of(TILE_ROWS as usize) - packed.n_rows } else { 0 };
        let grid = [(n_rows + to_zero) as u32, (packed.n_tiles() * TILE_OCTETS).div_ceil(PACK_THREADS), 1];
        let shape = Shape { grid, block: PACK_THREADS, shared: 0, overlaps: false };
        let n_tiles = packed.n_tiles();
        let args = [
            (&mut packed.pieces).into(),
            from.into(),
            (first_row as u32).into(),
            (n_rows as u32).into(),
            (packed.n_cols as u32).into(),
            n_tiles.into(),
        ];
        // SAFETY: order and types follow kernels/pack.cu; the ranges were checked above.
        unsafe { gpu.launch(&self.pack_rows[usize::from(wide)], shape, &args) }
    }
}
