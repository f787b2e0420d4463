//! Gives virtual registers their places in the register file: registers that are never live at once share a place.
//!
//! Sound under divergence because places are per lane: each lane runs one path, and along it two values in one place are never
//! both live. A 64-bit value of a lane lies in the two registers of a pair where 32-bit values of other lanes would: hence
//! pairs are never the places of single registers. Linear scan over intervals; constants keep their place throughout.

use super::{
    FunctionScope, NONE, OPERANDS, Use, Width,
    draft::Draft,
    layout::Function,
    liveness::{self, Liveness},
};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Allocates, and writes the numbers into the instructions and into `layout`.
pub(super) fn registers(
    scope: &mut FunctionScope,
    table_base: usize,
    layout: &mut Function,
) -> Result<(), String> {
    let FunctionScope { drafts, registers, tables, constants, lists, .. } = scope;
    let width = |id: usize| Width::of(registers[id].ty);
    let size = |id| match width(id) {
        Width::Predicate => 0,
        Width::Single => 1,
        Width::Double => 2,
    };
    let mut sizes: Vec<u32> = (0..registers.len()).map(size).collect();
    constants.values().for_each(|&id| sizes[id as usize] = 0);
    let Liveness { mut intervals, at_start, pressure } =
        liveness::find(drafts, tables, table_base as i64, &sizes);
    let end = drafts.len() as u32;
    constants.values().for_each(|&id| intervals[id as usize] = Some((0, end)));
    let [mut singles, mut doubles, mut predicates] =
        [Places::default(), Places::default(), Places::default()];
    let mut order: Vec<usize> = (0..registers.len()).filter(|&id| intervals[id].is_some()).collect();
    order.sort_by_key(|&id| intervals[id]);
    let mut places = vec![0; registers.len()];
    for id in order {
        let Some((first, last)) = intervals[id] else { continue };
        places[id] = match width(id) {
            Width::Predicate => predicates.take(first, last),
            Width::Single => singles.take(first, last),
            Width::Double => doubles.take(first, last),
        };
    }
    let pairs = singles.size.next_multiple_of(2);
    let size = pairs + 2 * doubles.size;
    if size.max(predicates.size) >= usize::from(NONE) {
        return Err("more registers live at once than the emulator has".into());
    }
    let places: Vec<u16> = (0..registers.len())
        .map(|id| match (intervals[id], width(id)) {
            (None, _) => NONE,
            (_, Width::Double) => (pairs + 2 * places[id]) as u16,
            _ => places[id] as u16,
        })
        .collect();
    (layout.registers, layout.predicates) = (size as u16, predicates.size as u16);
    layout.pressure = pressure;
    for id in at_start.into_iter().filter(|&id| !constants.values().any(|&c| c as usize == id)) {
        match width(id) {
            Width::Predicate => layout.undefined_predicates.push(places[id]),
            Width::Single => layout.undefined.push(places[id]),
            Width::Double => layout.undefined.extend([places[id], places[id] + 1]),
        }
    }
    let mut sorted: Vec<_> = constants.iter().collect();
    sorted.sort_by_key(|&(_, &id)| id);
    for (&(bits, width), &id) in sorted {
        let place = places[id as usize];
        match width {
            Width::Predicate => layout.constant_predicates.push((place, bits != 0)),
            Width::Single => layout.constants.push((place, bits as u32)),
            Width::Double => layout.wide_constants.push((place, bits)),
        }
    }
    patch(drafts, &places, lists);
    Ok(())
}

fn patch(drafts: &mut [Draft], places: &[u16], lists: &mut Vec<Vec<u16>>) {
    for draft in drafts {
        let mut list = Vec::new();
        for u in &mut draft.uses {
            let place = places[u.register as usize];
            u.register = u32::from(place);
            match u.at {
                Use::GUARD => draft.instr.guard = place,
                at if (at as usize) < OPERANDS => draft.instr.r[at as usize] = place,
                at => {
                    let i = (at - Use::LIST) as usize;
                    list.resize(list.len().max(i + 1), NONE);
                    list[i] = place;
                }
            }
        }
        if !list.is_empty() {
            draft.instr.imm = lists.len() as i64;
            lists.push(list);
        }
    }
}

/// Places of one kind: which are free, and until when the others are taken.
#[derive(Default)]
struct Places {
    size: usize,
    free: BinaryHeap<Reverse<usize>>,
    taken: BinaryHeap<Reverse<(u32, usize)>>,
}

impl Places {
    /// The lowest place that is free from `first` to `last`.
    fn take(&mut self, first: u32, last: u32) -> usize {
        while let Some(&Reverse((until, place))) = self.taken.peek()
            && until < first
        {
            self.taken.pop();
            self.free.push(Reverse(place));
        }
        let Reverse(place) = self.free.pop().unwrap_or(Reverse(self.size));
        self.size = self.size.max(place + 1);
        self.taken.push(Reverse((last, place)));
        place
    }
}
