//! Fuses the widening of a pair of halves with the two multiply-adds that take them: `sum + low * x + high * y`.
//!
//! Compilers widen several pairs first and multiply afterwards, so that the three instructions are not neighbours. They become one at the
//! place of the last: sound because registers between them have one writer and one reader, and what else is read is not
//! written on the way. Both roundings stay.

use super::{
    Access, Exec, NONE, Use,
    draft::{Counts, Draft, Idiom},
};
use crate::{isa::Isa, ops};
use std::collections::HashMap;

/// Fuses what can be fused, and marks what is gone.
pub(super) fn fuse(drafts: &mut [Draft], removed: &mut [bool], targets: &[bool], counts: &Counts, isa: Isa) {
    let readers = readers(drafts, removed);
    for pair in 0..drafts.len() {
        if removed[pair] || drafts[pair].idiom != Idiom::WidenPair {
            continue;
        }
        if let Some((first, second)) = dot(drafts, pair, &readers, targets, counts) {
            let fused = fused(drafts, pair, first, second, isa);
            if let Some(fused) = fused {
                drafts[second] = fused;
                (removed[pair], removed[first]) = (true, true);
            }
        }
    }
}

/// The last instruction that reads each register.
fn readers(drafts: &[Draft], removed: &[bool]) -> HashMap<u32, usize> {
    let live = drafts.iter().enumerate().filter(|(i, _)| !removed[*i]);
    live.flat_map(|(i, d)| d.uses.iter().filter(|u| u.access != Access::Write).map(move |u| (u.register, i)))
        .collect()
}

/// The register at this operand.
fn at(draft: &Draft, operand: u8) -> Option<Use> {
    draft.uses.iter().find(|u| u.at == operand).copied()
}

/// The other factor of a multiply-add one of whose factors is this register.
fn other_factor(draft: &Draft, register: u32) -> Option<Use> {
    let (a, b) = (at(draft, 1)?, at(draft, 2)?);
    match (a.register == register, b.register == register) {
        (true, false) => Some(b),
        (false, true) => Some(a),
        _ => None,
    }
}

/// The two multiply-adds that take the halves of the pair that is widened at `pair`, if nothing speaks against one for all three.
fn dot(
    drafts: &[Draft],
    pair: usize,
    readers: &HashMap<u32, usize>,
    targets: &[bool],
    counts: &Counts,
) -> Option<(usize, usize)> {
    let (low, high) = (at(&drafts[pair], 0)?.register, at(&drafts[pair], 2)?.register);
    let (first, second) = (*readers.get(&low)?, *readers.get(&high)?);
    let plain = |d: &Draft| d.idiom == Idiom::Fma && at(d, Use::GUARD).is_none();
    let in_order = pair < first && first < second && at(&drafts[pair], Use::GUARD).is_none();
    if !in_order || !plain(&drafts[first]) || !plain(&drafts[second]) {
        return None;
    }
    let sum = at(&drafts[first], 0)?.register;
    let private = [low, high, sum].into_iter().all(|r| counts.between(r));
    if !private || at(&drafts[second], 3)?.register != sum {
        return None;
    }
    let kept = |from: usize, register: u32| {
        let writes = |d: &Draft| d.uses.iter().any(|u| u.access == Access::Write && u.register == register);
        !drafts[from + 1..second].iter().any(writes)
    };
    let straight =
        (pair + 1..=second).all(|i| !targets[i] && !matches!(drafts[i].instr.exec, Exec::Control(_)));
    let (x, addend) = (other_factor(&drafts[first], low)?, at(&drafts[first], 3)?);
    let unchanged =
        kept(pair, at(&drafts[pair], 1)?.register) && kept(first, x.register) && kept(first, addend.register);
    (straight && unchanged).then_some((first, second))
}

fn fused(drafts: &[Draft], pair: usize, first: usize, second: usize, isa: Isa) -> Option<Draft> {
    let (low, high) = (at(&drafts[pair], 0)?.register, at(&drafts[pair], 2)?.register);
    let operands = [
        (0, at(&drafts[second], 0)?),
        (1, at(&drafts[pair], 1)?),
        (2, other_factor(&drafts[first], low)?),
        (3, other_factor(&drafts[second], high)?),
        (4, at(&drafts[first], 3)?),
    ];
    let mut draft = drafts[second].clone();
    draft.uses = operands.map(|(at, u)| Use { at, ..u }).to_vec();
    draft.parts = [pair, first, second].iter().flat_map(|&i| drafts[i].parts.clone()).collect();
    draft.idiom = Idiom::None;
    draft.instr.r.fill(NONE);
    draft.instr.exec = Exec::Lanes(ops::dot_halves(isa));
    Some(draft)
}
