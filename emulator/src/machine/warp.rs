//! A warp: its lanes in groups that share a program counter, and what they own.

use super::registers::Slot;
use crate::program::Function;

/// Why a group does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The group may run.
    Ready,
    /// At this barrier of the block.
    Barrier(u8),
    /// At an instruction that these lanes run together.
    Sync(u32),
    /// At `bar.warp.sync` of these lanes.
    WarpBarrier(u32),
    /// At `barrier.cluster.wait`.
    Cluster,
    /// At a barrier of the block that the warp reaches as a whole, before all of its lanes are there.
    Convergence,
}

/// Where a function finds its registers and its local memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frame {
    /// The function.
    pub function: u32,
    /// Its first register.
    pub slot: u32,
    /// Its first predicate.
    pub predicate: u32,
    /// Its first byte of local memory.
    pub local: u32,
    /// Where the caller goes on (unused in a kernel).
    pub return_pc: u32,
    /// The call site (unused in a kernel).
    pub call: u32,
}

/// Lanes that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The next instruction.
    pub pc: u32,
    /// Its lanes.
    pub mask: u32,
    /// Whether it may run.
    pub state: State,
    /// The frame of the function it is in.
    pub frame: Frame,
    /// The frames of the callers, outermost first.
    pub callers: Vec<Frame>,
    /// The warp's clock when it was last chosen to run.
    pub chosen: u64,
}

/// Instructions that have a hint of their own.
pub const HINTS: usize = 16;

/// What a warp owns besides its registers and groups.
#[derive(Debug, Clone, Default)]
pub struct WarpInfo {
    /// Number in the block.
    pub index: u32,
    /// Lanes that exist: fewer than 32 in the last warp of some blocks.
    pub lanes: u32,
    /// Lanes that have left the kernel.
    pub exited: u32,
    /// Local memory, a word of each lane at a time.
    pub local: Vec<Slot>,
    /// Where global accesses were found last, by the instruction's number: each reads one tensor as a rule.
    pub hints: [usize; HINTS],
    /// Copies under way.
    pub copies: crate::ops::Copies,
    /// Lanes at the barrier of the cluster.
    pub halfway: super::cluster::Halfway,
    /// Instructions run so far.
    pub clock: u64,
    /// Something was read that others may be about to change: a loop around it gives up its turn.
    pub polled: bool,
}

/// A warp.
#[derive(Debug, Clone, Default)]
pub struct Warp {
    /// Everything but registers and groups.
    pub info: WarpInfo,
    /// Registers of all frames.
    pub slots: Vec<Slot>,
    /// Predicates of all frames.
    pub predicates: Vec<u32>,
    /// All groups; which of them runs is chosen anew whenever one branches, waits or ends.
    pub groups: Vec<Group>,
    /// Backward branches since the lanes were last together, or the groups last took turns.
    pub spins: u32,
    /// The warp gives up its turn at the next opportunity.
    pub yields: bool,
    /// How many times more groups take turns.
    turns: u32,
}

impl Warp {
    /// A warp at the start of the kernel `function`, number `index`, in the memory of one that is done.
    pub fn new(done: Warp, kernel: &Function, function: u32, index: u32, lanes: u32) -> Warp {
        let Warp { mut slots, mut predicates, mut groups, info: WarpInfo { mut local, hints, .. }, .. } =
            done;
        slots.clear();
        slots.resize(kernel.registers as usize, Slot([0; 32]));
        predicates.clear();
        predicates.resize(kernel.predicates as usize, 0);
        groups.clear();
        local.clear();
        let info = WarpInfo { index, lanes, local, hints, ..WarpInfo::default() };
        let mut warp = Warp { info, slots, predicates, groups, ..Warp::default() };
        let frame = Frame { function, ..Frame::default() };
        warp.enter(kernel, frame, lanes);
        warp.groups.push(Group {
            pc: kernel.start,
            mask: lanes,
            state: State::Ready,
            frame,
            callers: Vec::new(),
            chosen: 0,
        });
        warp
    }

    /// Makes room for a frame, and sets its constants for the lanes of `mask`.
    pub fn enter(&mut self, function: &Function, frame: Frame, mask: u32) {
        let (slot, predicate) = (frame.slot as usize, frame.predicate as usize);
        let (slots, predicates) =
            (slot + function.registers as usize, predicate + function.predicates as usize);
        self.slots.resize(self.slots.len().max(slots), Slot([0; 32]));
        self.predicates.resize(self.predicates.len().max(predicates), 0);
        let words = (frame.local + function.local).div_ceil(4) as usize;
        self.info.local.resize(self.info.local.len().max(words), Slot([0; 32]));
        let mut registers = super::Registers {
            slots: &mut self.slots[slot..],
            predicates: &mut self.predicates[predicate..],
        };
        for &(register, bits) in &function.constants {
            registers.write_single(register, mask, &[bits; 32]);
        }
        for &(register, bits) in &function.wide_constants {
            registers.write_double(register, mask, &[bits; 32]);
        }
        for &(register, value) in &function.constant_predicates {
            registers.write_predicate(register, mask, if value { u32::MAX } else { 0 });
        }
    }

    /// Lanes still in the kernel.
    pub fn live(&self) -> u32 {
        self.info.lanes & !self.info.exited
    }

    /// Moves the group that should run to the front: of the ready ones the deepest in calls, then the one furthest back, so that lanes
    /// meet again as early as they can. But lanes that wait for another's store in a loop would then run forever: after many
    /// backward branches the groups take turns for a while. `false` if no group is ready.
    pub fn select(&mut self) -> bool {
        if self.groups.len() == 1 {
            (self.spins, self.turns) = (0, 0);
        } else if self.spins >= SPINS {
            (self.spins, self.turns) = (0, TURNS);
        }
        let ready = self.groups.iter().enumerate().filter(|(_, g)| g.state == State::Ready);
        let best = if self.turns > 0 {
            self.turns -= 1;
            ready.min_by_key(|(_, g)| g.chosen)
        } else {
            ready.min_by_key(|(_, g)| (std::cmp::Reverse(g.callers.len()), g.pc))
        };
        let Some((i, _)) = best else { return false };
        self.groups.swap(0, i);
        self.groups[0].chosen = self.info.clock;
        true
    }

    /// Leaves only `mask` in the group at the front; the others form a group `ahead` instructions further on.
    pub fn leave_behind(&mut self, mask: u32, ahead: u32) {
        if mask != self.groups[0].mask {
            let mut rest = self.groups[0].clone();
            rest.mask &= !mask;
            rest.pc += ahead;
            self.groups[0].mask = mask;
            self.groups.push(rest);
        }
    }

    /// Merges groups that are at the same place in the same state.
    pub fn merge(&mut self) {
        let mut i = 0;
        while i < self.groups.len() {
            let same = |a: &Group, b: &Group| {
                a.pc == b.pc && a.state == b.state && a.frame == b.frame && a.callers == b.callers
            };
            match (i + 1..self.groups.len()).find(|&j| same(&self.groups[i], &self.groups[j])) {
                Some(j) => {
                    let other = self.groups.swap_remove(j);
                    self.groups[i].mask |= other.mask;
                }
                None => i += 1,
            }
        }
    }

    /// Where the group at the front meets another: the next instruction of the nearest group ahead in the same call.
    pub fn meeting(&self) -> u32 {
        let Some((front, rest)) = self.groups.split_first() else { return u32::MAX };
        let others = rest.iter().filter(|g| g.state == State::Ready && g.frame == front.frame);
        others.map(|g| g.pc).filter(|&pc| pc > front.pc).min().unwrap_or(u32::MAX)
    }
}

/// Backward branches, with lanes of the warp apart, after which its groups take turns. Each costs a spinning lane this many rounds; each
/// takes lanes out of step that only loop for different numbers of rounds.
const SPINS: u32 = 256;
/// Turns that they then take: more than there are groups, so that each has some.
const TURNS: u32 = 96;
