//! Local memory: a word of each lane at a time, as registers are.

use super::{
    Form, Shape, Words,
    access::{Lanes, Region},
    check_bounds, each_lane,
    rows::Rows,
    shared::merge,
};
use crate::{
    machine::{Context, Fault},
    ptx::ast::Space,
};

/// The memory of each lane.
pub(super) struct Local;

impl Region for Local {
    const SPACE: Space = Space::Local;
    type Found = ();

    #[inline(always)]
    fn locate(cx: &mut Context<'_, '_>, lanes: &Lanes) -> Result<(), Fault> {
        let size = 4 * cx.warp.local.len() as u32;
        check_bounds(cx, lanes.mask, &lanes.addresses, lanes.bytes, size, "local memory")
    }

    #[inline(always)]
    fn load<const N: usize>(cx: &Context<'_, '_>, (): (), lanes: &Lanes) -> Rows<N> {
        let mut rows = [[0; N]; 32];
        for l in 0..32 {
            let first = lanes.addresses[l] as usize / 4;
            for (to, from) in rows[l].iter_mut().zip(&cx.warp.local[first..][..N]) {
                *to = from.0[l];
            }
        }
        rows
    }

    #[inline(always)]
    fn word(cx: &Context<'_, '_>, (): (), lanes: &Lanes, lane: usize, at: usize) -> u32 {
        cx.warp.local[(lanes.addresses[lane] as usize + at) / 4].0[lane]
    }

    #[inline(always)]
    fn store<S: Shape>(
        cx: &mut Context<'_, '_>,
        (): (),
        lanes: &Lanes,
        _: Form,
        values: &[Words],
    ) -> Result<(), Fault> {
        for l in each_lane(lanes.mask) {
            for (v, (low, high)) in values.iter().enumerate() {
                let offset = lanes.addresses[l] as usize + v * S::E;
                let word = &mut cx.warp.local[offset / 4].0[l];
                *word = merge::<S>(*word, offset % 4, low[l]);
                if S::E == 8 {
                    cx.warp.local[offset / 4 + 1].0[l] = high[l];
                }
            }
        }
        Ok(())
    }
}
