//! Replaces runs of instructions that compilers emit together by one that does the same.
//!
//! `__half22float2` becomes four instructions of PTX: two that take a pair of halves apart, each of which keeps one, and two that widen
//! these. In the inner loop of an fp16 GEMV that is two thirds of all instructions; here it is one. Where each half is then multiplied and
//! added to the same sum, the six are one (see `program::dot`). Intermediate values must have no other reader, and no branch
//! may lead into the run.

use super::{
    Access, Exec, LaneFn, NONE, Use, dot,
    draft::{Counts, Draft, Idiom},
};
use crate::{isa::Isa, ops};

/// Fuses what can be fused. `starts` says where each instruction of the syntax tree begins, `targets` where branches lead.
pub(super) fn fuse(
    drafts: &mut Vec<Draft>,
    starts: &mut [u32],
    targets: &[bool],
    registers: usize,
    isa: Isa,
) {
    let counts = Counts::of(drafts, registers);
    drop_unread_halves(drafts, &counts);
    let mut removed = vec![false; drafts.len()];
    for i in 1..drafts.len() {
        if !targets[i] && widen_part(drafts, i, &counts, isa) {
            removed[i - 1] = true;
        }
    }
    let kept: Vec<usize> = (0..drafts.len()).filter(|&i| !removed[i]).collect();
    for pair in kept.windows(2).filter(|w| (w[0] + 1..=w[1]).all(|i| !targets[i])) {
        if !removed[pair[0]] && widen_pair(drafts, pair[0], pair[1], isa) {
            removed[pair[1]] = true;
        }
    }
    dot::fuse(drafts, &mut removed, targets, &counts, isa);
    remove(drafts, starts, &removed);
}

/// Drops the instructions that others stand for, and moves what points at instructions.
fn remove(drafts: &mut Vec<Draft>, starts: &mut [u32], removed: &[bool]) {
    let kept = removed.iter().filter(|&&gone| !gone).count() as u32;
    let mut before = 0;
    let place: Vec<u32> = removed
        .iter()
        .map(|&gone| {
            before += u32::from(!gone);
            before - u32::from(!gone)
        })
        .chain([kept])
        .collect();
    starts.iter_mut().for_each(|s| *s = place.get(*s as usize).copied().unwrap_or(before).min(before));
    let mut gone = removed.iter();
    drafts.retain(|_| gone.next() == Some(&false));
}

fn drop_unread_halves(drafts: &mut [Draft], counts: &Counts) {
    for draft in drafts.iter_mut().filter(|d| d.idiom == Idiom::Unpack) {
        let read = |u: &Use| u.access != Access::Write || counts.reads[u.register as usize] > 0;
        if draft.uses.iter().any(|u| u.access == Access::Write && read(u)) {
            draft.uses.retain(read);
        }
    }
}

/// The only source and the only destination of an instruction, and its guard.
fn ends(draft: &Draft) -> Option<(Use, Use)> {
    let of = |access: Access| {
        let mut found = draft.uses.iter().filter(move |u| u.access == access && u.at != Use::GUARD);
        found.next().copied().filter(|_| found.next().is_none())
    };
    Some((of(Access::Read)?, of(Access::Write)?))
}

fn same_guard(a: &Draft, b: &Draft) -> bool {
    let guard = |d: &Draft| d.uses.iter().find(|u| u.at == Use::GUARD).map(|u| u.register);
    guard(a) == guard(b) && a.instr.negate == b.instr.negate
}

/// The unpacking at `i - 1` and the widening at `i` become one, at `i`.
fn widen_part(drafts: &mut [Draft], i: usize, counts: &Counts, isa: Isa) -> bool {
    let (first, second) = (&drafts[i - 1], &drafts[i]);
    if first.idiom != Idiom::Unpack || second.idiom != Idiom::Widen || !same_guard(first, second) {
        return false;
    }
    let (Some((pair, half)), Some((source, d))) = (ends(first), ends(second)) else { return false };
    if source.register != half.register || !counts.between(half.register) {
        return false;
    }
    let parts = first.parts.clone();
    become_widening(&mut drafts[i], parts, pair, &[(0, d)], ops::widen_half(isa));
    drafts[i].instr.imm = 16 * i64::from(half.at);
    true
}

/// The widenings of both halves of a pair, at `i` and `j`, become one, at `i`.
fn widen_pair(drafts: &mut [Draft], i: usize, j: usize, isa: Isa) -> bool {
    let (first, second) = (&drafts[i], &drafts[j]);
    let both =
        first.idiom == Idiom::WidenPart && second.idiom == Idiom::WidenPart && same_guard(first, second);
    let (Some((pair, low)), Some((other, high))) = (ends(first), ends(second)) else { return false };
    let apart =
        pair.register == other.register && low.register != pair.register && low.register != high.register;
    if !both || !apart || (first.instr.imm, second.instr.imm) != (0, 16) {
        return false;
    }
    let parts = second.parts.clone();
    become_widening(&mut drafts[i], parts, pair, &[(0, low), (2, high)], ops::widen_halves(isa));
    drafts[i].idiom = Idiom::WidenPair;
    true
}

fn become_widening(
    draft: &mut Draft,
    parts: Vec<crate::counters::Part>,
    pair: Use,
    to: &[(u8, Use)],
    run: LaneFn,
) {
    draft.parts.extend(parts);
    draft.uses.retain(|u| u.at == Use::GUARD);
    draft.uses.push(Use { at: 1, ..pair });
    draft.uses.extend(to.iter().map(|&(at, u)| Use { at, ..u }));
    draft.instr.r.fill(NONE);
    draft.instr.exec = Exec::Lanes(run);
    draft.idiom = Idiom::WidenPart;
}
