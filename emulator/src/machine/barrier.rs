//! `bar` and `barrier`: the sixteen barriers of a block.

use super::{
    Event, Fault, FaultKind, Watch,
    block::BlockInfo,
    run::World,
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

/// One barrier, since it last completed.
#[derive(Debug, Clone, Default)]
struct Barrier {
    /// Threads it waits for; 0 for all of the block.
    expected: u32,
    /// Who has arrived: warp and lanes. A warp whose lanes arrive apart has one entry, one that arrives twice has two.
    arrivals: Vec<(u32, u32)>,
    /// Whether those who arrived reduce a predicate.
    reduces: bool,
    /// Lanes in which the predicate held, and lanes that gave one.
    held: u32,
    voted: u32,
}

impl Barrier {
    fn arrive(&mut self, warp: u32, mask: u32) {
        let entry = self.arrivals.iter_mut().rev().find(|(w, _)| *w == warp);
        match entry {
            Some((_, lanes)) if *lanes & mask == 0 => *lanes |= mask,
            _ => self.arrivals.push((warp, mask)),
        }
    }

    /// Threads arrived. Barriers with a number of threads count whole warps: one whose lanes have all arrived or left counts 32.
    fn arrived(&self, live: &[u32]) -> u32 {
        let whole = |warp: u32, lanes: u32| live[warp as usize] & !lanes == 0;
        let threads = |&(warp, lanes): &(u32, u32)| match self.expected {
            0 => lanes.count_ones(),
            _ if whole(warp, lanes) => 32,
            _ => lanes.count_ones(),
        };
        self.arrivals.iter().map(threads).sum()
    }

    fn waits_for(&self, live: &[u32]) -> u32 {
        match self.expected {
            0 => live.iter().map(|lanes| lanes.count_ones()).sum(),
            n => n,
        }
    }
}

/// The barriers of a block.
#[derive(Debug, Default)]
pub struct Barriers {
    all: [Barrier; 16],
    /// Barriers at which somebody has arrived: a bit each.
    open: u16,
    /// Lanes of each warp that have not left.
    live: Vec<u32>,
}

impl Barriers {
    /// Nobody has arrived.
    pub fn new(threads: u32) -> Barriers {
        let lanes = |w: u32| u32::MAX >> (32 - (threads - 32 * w).min(32));
        Barriers { live: (0..threads.div_ceil(32)).map(lanes).collect(), ..Barriers::default() }
    }

    /// Lanes leave the kernel: barriers for all do not wait for them any more.
    pub fn leave(&mut self, warp: u32, lanes: u32) {
        self.live[warp as usize] &= !lanes;
    }

    /// The lowest barrier that is complete.
    #[inline(always)]
    pub fn complete(&self) -> Option<u32> {
        if self.open == 0 { None } else { self.search() }
    }

    fn search(&self) -> Option<u32> {
        let open = (0..16).filter(|id| self.open >> id & 1 == 1);
        open.into_iter().find(|&id| {
            let b = &self.all[id as usize];
            b.arrived(&self.live) >= b.waits_for(&self.live)
        })
    }

    /// "barrier 0: 64 of 128 threads".
    pub fn describe(&self, id: u8) -> String {
        let b = &self.all[id as usize];
        format!("barrier {id}: {} of {} threads", b.arrived(&self.live), b.waits_for(&self.live))
    }
}

/// The group at the front of `warp` arrives at the barrier of its instruction.
pub(super) fn arrive(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
) -> Result<(), Fault> {
    let instr = &world.program.code[warp.groups[0].pc as usize];
    let form = BarrierForm::decode(instr.flags);
    let (id, expected) = operands(warp, instr, form)?;
    let (mask, frame) = (warp.groups[0].mask, warp.groups[0].frame);
    let lane = mask.trailing_zeros();
    let illegal = |message: String| Err(Fault::new(FaultKind::IllegalInstruction, lane, message));
    if id > 15 || expected % 32 != 0 {
        return illegal(format!(
            "barrier {id} with {expected} threads: expected a barrier below 16 and a multiple of 32"
        ));
    }
    let barrier = &mut block.barriers.all[id as usize];
    if !barrier.arrivals.is_empty() && barrier.expected != expected {
        return illegal(format!(
            "barrier {id} with {expected} threads, while others wait at it with {}",
            barrier.expected
        ));
    }
    if !barrier.arrivals.is_empty() && barrier.reduces != form.reduction.is_some() {
        return illegal(format!("barrier {id} is used by bar.red and by bar.sync or bar.arrive at once"));
    }
    (barrier.expected, barrier.reduces) = (expected, form.reduction.is_some());
    barrier.arrive(warp.info.index, mask);
    block.barriers.open |= 1 << id;
    if form.reduction.is_some() {
        let p = warp.predicates[(frame.predicate + u32::from(instr.r[3])) as usize];
        barrier.held += (mask & if form.negate { !p } else { p }).count_ones();
        barrier.voted += mask.count_ones();
    }
    let group = &mut warp.groups[0];
    let scene = world.scene(block.number, warp.info.index, group.pc);
    if form.arrive {
        (group.state, group.pc) = (State::Ready, group.pc + 1);
    } else {
        group.state = State::Barrier(id as u8);
    }
    watch.event(&scene, &Event::BarrierArrive { id, mask, arrive_only: form.arrive })
}

/// The barrier and the number of threads of the group at the front, in which only the lanes stay that give the same ones.
fn operands(warp: &mut Warp, instr: &Instr, form: BarrierForm) -> Result<(u32, u32), Fault> {
    let (frame, mask) = (warp.groups[0].frame, warp.groups[0].mask);
    let value = |register: u16, lane: u32| match register {
        crate::program::NONE => 0,
        r => warp.slots[(frame.slot + u32::from(r)) as usize].0[lane as usize],
    };
    let both = |lane: u32| (value(instr.r[1], lane), value(instr.r[2], lane));
    let first = mask.trailing_zeros();
    let (id, expected) = both(first);
    let same =
        (0..32).filter(|&l| mask >> l & 1 == 1 && both(l) == (id, expected)).fold(0, |m, l| m | 1 << l);
    if same != mask && form.aligned {
        let other = both((mask & !same).trailing_zeros());
        let message = format!(
            "lanes of a warp are at it for barriers {id} and {} (of {expected} and {} threads), expected the same",
            other.0, other.1
        );
        return Err(Fault::new(FaultKind::IllegalInstruction, first, message));
    }
    warp.leave_behind(same, 0);
    // Those left behind are not at the barrier yet.
    Ok((id, expected))
}

/// Lets those go on who wait at a complete barrier; gives its number.
pub(super) fn release(block: &mut BlockInfo, warps: &mut [Warp], code: &[Instr]) -> Option<u32> {
    let id = block.barriers.complete()?;
    let barrier = std::mem::take(&mut block.barriers.all[id as usize]);
    block.barriers.open &= !(1 << id);
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
