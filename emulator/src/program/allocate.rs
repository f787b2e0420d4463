//! Gives virtual registers their places in the register file: registers that are never live at once share a place.
//!
//! Sound under divergence because places are per lane: each lane runs one path, and along it two values in one place are never
//! both live. Linear scan over intervals; constants keep their place throughout.

use super::{FunctionScope, NONE, OPERANDS, Use, Width, layout::Function, liveness, lower::Draft};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Allocates, and writes the numbers into the instructions and into `layout`.
pub(super) fn registers(
    scope: &mut FunctionScope,
    table_base: usize,
    layout: &mut Function,
) -> Result<(), String> {
    let FunctionScope { drafts, registers, tables, constants, lists, .. } = scope;
    let (mut intervals, at_start) = liveness::intervals(drafts, tables, table_base as i64, registers.len());
    let end = drafts.len() as u32;
    constants.values().for_each(|&id| intervals[id as usize] = Some((0, end)));
    let width = |id: usize| Width::of(registers[id].ty);
    let mut file = Places::default();
    let mut predicates = Places::default();
    let mut order: Vec<usize> = (0..registers.len()).filter(|&id| intervals[id].is_some()).collect();
    order.sort_by_key(|&id| intervals[id]);
    let mut places = vec![NONE; registers.len()];
    for id in order {
        let Some((first, last)) = intervals[id] else { continue };
        places[id] = match width(id) {
            Width::Predicate => predicates.take(1, first, last),
            Width::Single => file.take(1, first, last),
            Width::Double => file.take(2, first, last),
        }
        .ok_or("more registers live at once than the emulator has")?;
    }
    (layout.registers, layout.predicates) = (file.size, predicates.size);
    layout.pressure = u32::from(file.size);
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
    size: u16,
    free: Vec<u16>,
    taken: BinaryHeap<Reverse<(u32, u16)>>,
}

impl Places {
    /// `n` neighbouring places, free from `first` to `last`, the first at a multiple of `n`.
    fn take(&mut self, n: u16, first: u32, last: u32) -> Option<u16> {
        while let Some(&Reverse((until, place))) = self.taken.peek()
            && until < first
        {
            self.taken.pop();
            self.free.push(place);
        }
        let place = self.reuse(n).or_else(|| self.grow(n))?;
        (place..place + n).for_each(|p| self.taken.push(Reverse((last, p))));
        Some(place)
    }

    /// The lowest run of free places that fits.
    fn reuse(&mut self, n: u16) -> Option<u16> {
        let place = match n {
            1 => *self.free.iter().min()?,
            _ => self.free.iter().copied().filter(|&p| p % 2 == 0 && self.free.contains(&(p + 1))).min()?,
        };
        self.free.retain(|&p| !(place..place + n).contains(&p));
        Some(place)
    }

    fn grow(&mut self, n: u16) -> Option<u16> {
        let place = self.size.checked_next_multiple_of(n)?;
        self.free.extend(self.size..place);
        self.size = place.checked_add(n).filter(|&s| s < NONE)?;
        Some(place)
    }
}
