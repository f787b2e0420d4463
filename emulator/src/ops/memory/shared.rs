//! Shared memory.

use super::{
    Form, Shape, Words,
    access::{Lanes, Region},
    each_lane, lanes_where,
    rows::{self, Rows},
};
use crate::{
    machine::{Context, Fault, FaultKind},
    ptx::ast::Space,
};

/// Demands that the bytes of every lane lie below `size`.
#[inline(always)]
pub fn check_bounds(
    cx: &Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
    size: u32,
    what: &str,
) -> Result<(), Fault> {
    let mut highest = 0;
    for l in 0..32 {
        highest = addresses[l].max(highest);
    }
    if highest <= u64::from(size).saturating_sub(u64::from(bytes)) && bytes <= size {
        return Ok(());
    }
    outside(cx, mask, addresses, bytes, size, what)
}

#[inline(never)]
fn outside(
    cx: &Context<'_, '_>,
    mask: u32,
    addresses: &[u64; 32],
    bytes: u32,
    size: u32,
    what: &str,
) -> Result<(), Fault> {
    let outside = lanes_where(mask, addresses, |a| a.saturating_add(u64::from(bytes)) > u64::from(size));
    if outside == 0 {
        return Ok(());
    }
    let address = addresses[outside.trailing_zeros() as usize];
    let message =
        format!("access of {bytes} bytes at offset {address:#x} out of bounds: {what} has {size} bytes");
    Err(cx.fault(FaultKind::IllegalAddress, outside, message))
}

/// The memory of a block.
pub(super) struct Shared;

impl Region for Shared {
    const SPACE: Space = Space::Shared;
    type Found = ();

    #[inline(always)]
    fn locate(cx: &mut Context<'_, '_>, lanes: &Lanes) -> Result<(), Fault> {
        let size = cx.block.shared_bytes;
        if lanes.highest.saturating_add(u64::from(lanes.bytes)) <= u64::from(size) {
            return Ok(());
        }
        outside(cx, lanes.mask, &lanes.addresses, lanes.bytes, size, "shared memory")
    }

    #[inline(always)]
    fn load<const N: usize>(cx: &Context<'_, '_>, (): (), lanes: &Lanes) -> Rows<N> {
        // Addresses are multiples of the size of a row, and inside.
        let memory = cx.block.shared.as_chunks::<N>().0;
        let at = |l: usize| lanes.addresses[l] as usize / (4 * N);
        let mut rows = [[0; N]; 32];
        if lanes.run {
            rows.copy_from_slice(&memory[at(0)..at(0) + 32]);
        } else {
            for l in 0..32 {
                rows[l] = memory[at(l)];
            }
        }
        rows
    }

    #[inline(always)]
    fn word(cx: &Context<'_, '_>, (): (), lanes: &Lanes, lane: usize, at: usize) -> u32 {
        cx.block.shared[(lanes.addresses[lane] as usize + at) / 4]
    }

    #[inline(always)]
    fn store<S: Shape>(
        cx: &mut Context<'_, '_>,
        (): (),
        lanes: &Lanes,
        _: Form,
        values: &[Words],
    ) -> Result<(), Fault> {
        let shared = &mut cx.block.shared[..];
        match S::E / 4 * S::V {
            0 => {
                for l in each_lane(lanes.mask) {
                    for (v, (low, _)) in values.iter().enumerate() {
                        let offset = lanes.addresses[l] as usize + v * S::E;
                        let word = &mut shared[offset / 4];
                        *word = merge::<S>(*word, offset % 4, low[l]);
                    }
                }
            }
            1 => store_rows::<S, 1>(shared, lanes, values),
            2 => store_rows::<S, 2>(shared, lanes, values),
            4 => store_rows::<S, 4>(shared, lanes, values),
            _ => store_rows::<S, 8>(shared, lanes, values),
        }
        Ok(())
    }
}

/// Stores `N` words of each lane.
#[inline(always)]
fn store_rows<S: Shape, const N: usize>(shared: &mut [u32], lanes: &Lanes, values: &[Words]) {
    let memory = shared.as_chunks_mut::<N>().0;
    let at = |l: usize| lanes.addresses[l] as usize / (4 * N);
    let rows = rows::of::<S, N>(values);
    if lanes.run {
        memory[at(0)..at(0) + 32].copy_from_slice(&rows);
    } else {
        for l in each_lane(lanes.mask) {
            memory[at(l)] = rows[l];
        }
    }
}

/// `word` with the `E` bytes at `at` replaced.
#[inline(always)]
pub(super) fn merge<S: Shape>(word: u32, at: usize, value: u32) -> u32 {
    if S::E >= 4 {
        return value;
    }
    let (shift, bits) = (8 * at, (1u32 << (8 * S::E)) - 1);
    word & !(bits << shift) | (value & bits) << shift
}
