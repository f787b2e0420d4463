//! `bar` and `barrier`: the sixteen barriers of a block.

use super::{
    Event, Fault, FaultKind,
    block::BlockInfo,
    warp::{State, Warp},
};
use crate::program::Instr;

/// What comes back from `bar.red`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Whether the predicate held in all lanes.
    And,
    /// Whether it held in any.
    Or,
    /// In how many it held.
    Popc,
}

/// The form of a barrier instruction; [`BarrierForm::encode`] puts it into [`Instr::flags`]. Operands: `r[0]` the result of a reduction,
/// `r[1]` the barrier, `r[2]` the number of threads or none, `r[3]` the predicate of a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierForm {
    /// Does not wait.
    pub arrive: bool,
    /// All lanes of the warp run it together.
    pub aligned: bool,
    /// Reduces a predicate.
    pub reduction: Option<Reduction>,
    /// The predicate is negated.
    pub negate: bool,
}

impl BarrierForm {
    /// As a number.
    pub fn encode(self) -> u8 {
        let reduction = match self.reduction {
            None => 0,
            Some(Reduction::And) => 1,
            Some(Reduction::Or) => 2,
            Some(Reduction::Popc) => 3,
        };
        reduction | u8::from(self.arrive) << 2 | u8::from(self.aligned) << 3 | u8::from(self.negate) << 4
    }

    /// From a number.
    pub fn decode(flags: u8) -> BarrierForm {
        let reduction = match flags & 3 {
            0 => None,
            1 => Some(Reduction::And),
            2 => Some(Reduction::Or),
            _ => Some(Reduction::Popc),
        };
        BarrierForm { arrive: flags & 4 != 0, aligned: flags & 8 != 0, reduction, negate: flags & 16 != 0 }
    }
}

/// One barrier.
#[derive(Debug, Clone, Copy, Default)]
struct Barrier {
    /// Threads it waits for; 0 for all of the block.
    expected: u32,
    /// Threads arrived; a warp counts 32 for barriers with a number.
    arrived: u32,
    /// Lanes in which the predicate held, and lanes that gave one.
    held: u32,
    voted: u32,
}

/// The barriers of a block.
#[derive(Debug, Default)]
pub struct Barriers {
    all: [Barrier; 16],
    /// Threads of the block that have not left.
    live: u32,
}

impl Barriers {
    /// Nobody has arrived.
    pub fn new(threads: u32) -> Barriers {
        Barriers { all: Default::default(), live: threads }
    }

    /// Lanes leave the kernel: barriers for all do not wait for them any more.
    pub fn leave(&mut self, lanes: u32) {
        self.live -= lanes;
    }

    /// Barriers that are complete.
    fn complete(&self) -> Option<u32> {
        (0..16).find(|&id| {
            let b = &self.all[id as usize];
            b.arrived > 0 && b.arrived >= if b.expected == 0 { self.live } else { b.expected }
        })
    }

    /// "barrier 0: 64 of 128 threads".
    pub fn describe(&self, id: u8) -> String {
        let b = &self.all[id as usize];
        format!(
            "barrier {id}: {} of {} threads",
            b.arrived,
            if b.expected == 0 { self.live } else { b.expected }
        )
    }
}

/// The group at the front of `warp` arrives.
pub(super) fn arrive(
    warp: &mut Warp,
    block: &mut BlockInfo,
    instr: &Instr,
    mask: u32,
) -> Result<Event, Fault> {
    let form = BarrierForm::decode(instr.flags);
    let lane = mask.trailing_zeros();
    let live = warp.live();
    let group = &mut warp.groups[0];
    let value =
        |register: u16| warp.slots[(group.frame.slot + u32::from(register)) as usize].0[lane as usize];
    let id = value(instr.r[1]);
    let expected = if instr.r[2] == crate::program::NONE { 0 } else { value(instr.r[2]) };
    if id > 15 || expected % 32 != 0 {
        return Err(Fault::new(
            FaultKind::IllegalInstruction,
            lane,
            format!("barrier {id} with {expected} threads: expected a barrier below 16 and a multiple of 32"),
        ));
    }
    let barrier = &mut block.barriers.all[id as usize];
    if barrier.arrived > 0 && barrier.expected != expected {
        let message = format!(
            "barrier {id} with {expected} threads, while others wait at it with {}",
            barrier.expected
        );
        return Err(Fault::new(FaultKind::IllegalInstruction, lane, message));
    }
    barrier.expected = expected;
    barrier.arrived += if expected > 0 && mask == live { 32 } else { mask.count_ones() };
    if form.reduction.is_some() {
        let p = warp.predicates[(group.frame.predicate + u32::from(instr.r[3])) as usize];
        barrier.held += (mask & if form.negate { !p } else { p }).count_ones();
        barrier.voted += mask.count_ones();
    }
    if form.arrive {
        group.pc += 1;
    } else {
        group.state = State::Barrier(id as u8);
    }
    Ok(Event::BarrierArrive { id, mask, arrive_only: form.arrive })
}

/// Lets those go on who wait at a complete barrier; gives its number.
pub(super) fn release(block: &mut BlockInfo, warps: &mut [Warp], code: &[Instr]) -> Option<u32> {
    let id = block.barriers.complete()?;
    let barrier = std::mem::take(&mut block.barriers.all[id as usize]);
    for warp in warps {
        for g in warp.groups.iter_mut().filter(|g| g.state == State::Barrier(id as u8)) {
            let instr = &code[g.pc as usize];
            let mut registers = super::Registers {
                slots: &mut warp.slots[g.frame.slot as usize..],
                predicates: &mut warp.predicates[g.frame.predicate as usize..],
            };
            let all = |holds: bool| if holds { u32::MAX } else { 0 };
            match BarrierForm::decode(instr.flags).reduction {
                None => {}
                Some(Reduction::And) => {
                    registers.write_predicate(instr.r[0], g.mask, all(barrier.held == barrier.voted))
                }
                Some(Reduction::Or) => registers.write_predicate(instr.r[0], g.mask, all(barrier.held > 0)),
                Some(Reduction::Popc) => registers.write_single(instr.r[0], g.mask, &[barrier.held; 32]),
            }
            g.state = State::Ready;
            g.pc += 1;
        }
    }
    Some(id)
}
