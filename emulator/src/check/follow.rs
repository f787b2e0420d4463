//! How marks of undefined values go through an instruction.

use super::{
    poison::{Mark, Poison},
    report,
    threads::lanes,
};
use crate::{
    machine::{Fault, FaultKind, Scene, Step},
    program::{Access, Flow, Use, Width},
};

/// Follows the marks through an instruction.
#[inline(never)]
pub fn follow(poison: &mut Poison, scene: &Scene<'_>, step: &Step<'_, '_>) -> Result<(), Fault> {
    let pc = scene.place.pc as usize;
    let (uses, flow) = (&scene.program.uses[pc], scene.program.flows[pc]);
    let mut sources = Mark::default();
    for u in uses.iter().filter(|u| u.access != Access::Write) {
        let mark = poison.of_use(step.frame, u);
        if mark.lanes == 0 {
            continue;
        }
        let guard = u.at == Use::GUARD;
        let mark = mark.within(if guard { step.group } else { step.mask });
        if mark.lanes != 0 && (u.access == Access::Address || flow == Flow::Matrix) {
            let what = match (guard, u.access) {
                (true, _) => "the predicate that decides whether this runs",
                (_, Access::Address) => "an address, a lane or a count that this depends on",
                _ => "an input of this matrix product",
            };
            return Err(finding(scene, what, mark));
        }
        sources = sources.or(mark);
    }
    if step.mask == 0 {
        return Ok(());
    }
    let results = match flow {
        // The accesses of these instructions set the marks of what they load.
        Flow::Load | Flow::Atomic => Mark::default(),
        Flow::Shuffle => shuffled(poison, step),
        Flow::Across | Flow::Matrix if sources.lanes != 0 => Mark { lanes: step.mask, ..sources },
        _ => sources,
    };
    for u in uses.iter().filter(|u| u.access == Access::Write) {
        poison.set(step.frame, (u.register, u.width), step.mask, results);
    }
    Ok(())
}

/// The marks of what `shfl` gives: those of the lanes that it reads.
fn shuffled(poison: &Poison, step: &Step<'_, '_>) -> Mark {
    let instr = step.instr;
    let source = poison.of(step.frame, u32::from(instr.r[SHUFFLE_A]), Width::Single);
    let (b, c) = (step.registers.single(instr.r[SHUFFLE_B]), step.registers.single(instr.r[SHUFFLE_C]));
    let from = |lane: u32| {
        let (lane, b, c) = (lane as i32, (b[lane as usize] & 31) as i32, c[lane as usize]);
        let (clamp, segment) = ((c & 31) as i32, (c >> 8 & 31) as i32);
        let last = (lane & segment) | (clamp & !segment);
        let (source, within) = match instr.imm {
            0 => (lane - b, lane - b >= last),
            1 => (lane + b, lane + b <= last),
            2 => (lane ^ b, lane ^ b <= last),
            _ => {
                let source = (lane & segment) | (b & !segment);
                (source, source <= last)
            }
        };
        (if within { source } else { lane }) & 31
    };
    let lanes = lanes(step.mask).filter(|&l| source.lanes >> from(l) & 1 == 1).fold(0, |m, l| m | 1 << l);
    Mark { lanes, ..source }
}

/// Where a shuffle's operands stand in [`crate::program::Instr::r`].
const SHUFFLE_A: usize = 3;
const SHUFFLE_B: usize = 4;
const SHUFFLE_C: usize = 5;

/// The fault of a value that was never defined: `what` it is.
pub fn finding(scene: &Scene<'_>, what: &str, mark: Mark) -> Fault {
    let message = format!("{what} was never defined: {}", report::origin(scene, mark.origin));
    Fault::new(FaultKind::Finding, mark.lanes.trailing_zeros() & 31, message)
}
