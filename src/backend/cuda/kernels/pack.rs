//! Launchers of `kernels/pack.cu`, which pack weights while a model loads.

use super::{
    super::{
        driver::{Buffer, Gpu, Kernel, Module, Shape},
        images::constants::{OCTET, PACK_THREADS, TILE_K, TILE_OCTETS, TILE_ROWS},
    },
    Kernels, Packed, Traffic,
};
use crate::backend::Result;

/// The kernels, from fp16 and from fp32.
#[derive(Debug)]
pub(super) struct PackKernels {
    transposed: [Kernel; 2],
    rows: [Kernel; 2],
}

impl PackKernels {
    pub fn load(gpu: &Gpu, modules: &mut Vec<Module>) -> Result<Self> {
        let module = gpu.load("pack")?;
        let kernels = Self {
            transposed: [module.kernel("pack_transposed_f16", 0)?, module.kernel("pack_transposed_f32", 0)?],
            rows: [module.kernel("pack_rows_f16", 0)?, module.kernel("pack_rows_f32", 0)?],
        };
        modules.push(module);
        Ok(kernels)
    }
}

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
        unsafe { gpu.launch(&self.pack.transposed[usize::from(wide)], shape, &args) }
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
        unsafe { gpu.launch(&self.pack.rows[usize::from(wide)], shape, &args) }
    }
}

/// Distinct bytes that `pack_transposed` touches, for `n_k` columns of `n_rows` elements of `width` bytes.
pub const fn pack_transposed_traffic(n_rows: usize, n_k: usize, width: usize) -> Traffic {
    Traffic { read: n_rows * n_k * width, written: 2 * Packed::len(n_rows, n_k) }
}

/// Distinct bytes that `pack_rows` touches, for all of `n_rows` of `n_cols` elements of `width` bytes.
pub const fn pack_rows_traffic(n_rows: usize, n_cols: usize, width: usize) -> Traffic {
    Traffic { read: n_rows * n_cols * width, written: 2 * Packed::len(n_rows, n_cols) }
}
