//! Races in shared and global memory: two accesses to one byte, one of them a write, that nothing orders.
//!
//! What orders accesses is the memory model of the PTX ISA: the program order of each lane, barriers of the block and of warps, and
//! writes that release to reads that acquire, each within its scope. Lanes of a warp that run in lockstep are not ordered by
//! it, nor does a shuffle order memory. Accesses that are both strong (atomic, relaxed, volatile) and name scopes with each
//! other in them do not race. Tests: `tests/check_races.rs`.

use super::{
    clock::Clock,
    places::{Conflict, Global, each_place},
    relations::Known,
    releases::Releases,
    report,
    sets::{Class, Member, Sets},
    shadow::{Cell, Pages, Shadow, Splits},
    threads::{Gathering, Warp, lanes},
};
use crate::{
    machine::{Access, AccessKind, Event, Fault, Observer, Ordering, Scene, Scope},
    ptx::ast::Space,
};
use std::{mem, sync::Arc};

/// A barrier of a block at which somebody has arrived.
#[derive(Default)]
struct Barrier {
    arrived: Gathering,
    waiting: Vec<(u32, u32)>,
}

/// A block that has not ended.
struct Block {
    warps: Vec<Warp>,
    barriers: [Barrier; 16],
    cells: Vec<Cell>,
    splits: Splits,
    sets: Sets,
}

/// The race checker.
pub struct Races {
    /// Whether stores of equal values by lanes of one instruction are findings too.
    equal_values: bool,
    warps: u32,
    blocks: Vec<Option<Box<Block>>>,
    /// Blocks that have ended without a release to others: what they did stays unknown to all.
    closed: Vec<bool>,
    released: Vec<bool>,
    pages: Pages,
    splits: Splits,
    sets: Sets,
    releases: Releases,
}

impl Races {
    /// A checker; `equal_values`: two lanes that store the same value to the same place in one instruction are a finding too.
    pub fn new(equal_values: bool) -> Races {
        Races {
            equal_values,
            warps: 1,
            blocks: Vec::new(),
            closed: Vec::new(),
            released: Vec::new(),
            pages: Pages::default(),
            splits: Splits::default(),
            sets: Sets::default(),
            releases: Releases::default(),
        }
    }

    fn start(&mut self, scene: &Scene<'_>) {
        let equal_values = self.equal_values;
        let threads: u32 = scene.launch.block.iter().product();
        *self = Races { warps: threads.div_ceil(32).max(1), ..Races::new(equal_values) };
    }

    fn start_block(&mut self, scene: &Scene<'_>, shared_bytes: u32) {
        let number = scene.place.block as usize;
        if self.blocks.len() <= number {
            self.blocks.resize_with(number + 1, || None);
            self.closed.resize(number + 1, false);
            self.released.resize(number + 1, false);
        }
        let threads: u32 = scene.launch.block.iter().product();
        let warp = |w: u32| {
            let lanes = threads.saturating_sub(32 * w).clamp(1, 32);
            Warp::new(scene.place.block * self.warps + w, u32::MAX >> (32 - lanes))
        };
        self.blocks[number] = Some(Box::new(Block {
            warps: (0..self.warps).map(warp).collect(),
            barriers: Default::default(),
            cells: vec![Cell::default(); shared_bytes.div_ceil(4) as usize],
            splits: Splits::default(),
            sets: Sets::default(),
        }));
    }

    fn end_block(&mut self, number: u32) {
        let at = number as usize;
        if let Some(block) = self.blocks.get_mut(at) {
            *block = None;
            self.closed[at] = !self.released[at];
        }
        self.releases.forget_block(number);
    }

    fn check(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        let place = scene.place;
        let Some(Some(block)) = self.blocks.get_mut(place.block as usize) else { return Ok(()) };
        let Block { warps, cells, splits, sets, .. } = &mut **block;
        let Some(me) = warps.get(place.warp as usize) else { return Ok(()) };
        let known = Known::new(me, self.warps, &self.closed, (!self.equal_values).then_some(access));
        let (warp, epoch) = (place.block * self.warps + place.warp, me.epoch());
        let mut new = Member { warp, epoch, mask: 0, class: class(access), pc: place.pc };
        let found = if access.space == Space::Shared {
            let mut shadow = Shadow { cells, splits, sets };
            each_place(access, |mask, address, bytes| {
                new.mask = mask;
                if access.kind == AccessKind::CopyWrite {
                    // Checked when it was issued; whoever touches the bytes in between is found by `copies`.
                    shadow.land(address as usize, bytes, &new);
                    return Ok(());
                }
                let touched = shadow.touch(address as usize, bytes, &new, &known);
                touched.map_err(|(old, at)| Conflict::Race { old, new, at: at as u64 })
            })
        } else {
            let Races { pages, splits, sets, .. } = self;
            let mut global = Global { pages, splits, sets };
            if access.ordering == Ordering::NonCoherent {
                global.read_only(access, &new)
            } else {
                global.access(access, &new, &known)
            }
        };
        found.map_err(|conflict| {
            let party = report::Party { scene, warps: self.warps };
            match conflict {
                Conflict::Race { old, new, at } => {
                    let unknown = |&l: &u32| !me.knows(new.mask, old.warp, 1 << l, old.epoch);
                    let lane = lanes(old.mask).find(unknown).unwrap_or(0);
                    party.race(access, &Member { mask: 1 << lane, ..old }, &new, at)
                }
                Conflict::Written { old, new, at } => party.read_only_load(access, &old, &new, at),
                Conflict::ReadOnly { reader, new, at } => party.write_to_read_only(access, &reader, &new, at),
            }
        })
    }

    /// What strong accesses release and acquire.
    fn synchronise(&mut self, scene: &Scene<'_>, access: &Access<'_>) {
        let place = scene.place;
        let shared = access.space == Space::Shared;
        let owner = if shared { place.block + 1 } else { 0 };
        if class(access) == Class::Write {
            if !self.releases.is_empty() {
                for lane in lanes(access.mask) {
                    let first = access.addresses[lane as usize] & !3;
                    let words = access.bytes.div_ceil(4);
                    (0..u64::from(words)).for_each(|w| self.releases.overwrite((owner, first + 4 * w)));
                }
            }
            return;
        }
        let Some(Some(block)) = self.blocks.get_mut(place.block as usize) else { return };
        let Some(me) = block.warps.get_mut(place.warp as usize) else { return };
        let (reads, writes) = match access.kind {
            AccessKind::Load | AccessKind::CopyRead => (true, false),
            AccessKind::Store | AccessKind::CopyWrite => (false, true),
            AccessKind::Atomic(_) => (true, true),
        };
        let acquires = matches!(access.ordering, Ordering::Acquire | Ordering::AcquireRelease);
        let releases = matches!(access.ordering, Ordering::Release | Ordering::AcquireRelease);
        let scope = narrowed(access.scope);
        for lane in lanes(access.mask) {
            let at = (owner, access.addresses[lane as usize] & !3);
            let found = if reads { self.releases.find(at, place.block, scope) } else { Vec::new() };
            for (scope, clock) in &found {
                if me.covers(lane, clock) {
                    continue;
                }
                match acquires {
                    true => me.acquire(1 << lane, clock),
                    false => me.saw(lane, *scope, clock),
                }
            }
            if !writes {
                continue;
            }
            if !matches!(access.kind, AccessKind::Atomic(_)) {
                self.releases.overwrite(at);
            }
            let mut released = me.fenced(lane);
            if releases {
                released.push((scope, me.publish(1 << lane)));
            }
            for (by, clock) in released {
                let scope = narrowed(by).min(scope);
                self.released[place.block as usize] |= scope > Scope::Block && !shared;
                self.releases.release(at, place.block, scope, clock);
            }
        }
    }

    fn block_event(&mut self, scene: &Scene<'_>, event: &Event) {
        let place = scene.place;
        let Some(Some(block)) = self.blocks.get_mut(place.block as usize) else { return };
        let Block { warps, barriers, .. } = &mut **block;
        let Some(me) = warps.get_mut(place.warp as usize) else { return };
        match *event {
            Event::BarrierArrive { id, mask, arrive_only } => {
                if let Some(barrier) = barriers.get_mut(id as usize) {
                    barrier.arrived.add(me, mask);
                    if !arrive_only {
                        barrier.waiting.push((place.warp, mask));
                    }
                }
            }
            Event::BarrierComplete { id } => {
                if let Some(barrier) = barriers.get_mut(id as usize).map(mem::take) {
                    let clock: Arc<Clock> = Arc::new(barrier.arrived.finish());
                    for (warp, mask) in barrier.waiting {
                        if let Some(warp) = warps.get_mut(warp as usize) {
                            warp.adopt(mask, &clock);
                        }
                    }
                }
            }
            Event::WarpBarrier { mask } => me.synchronise(mask),
            Event::MbarrierArrive { offset, mask } => {
                let clock = me.publish(mask);
                self.releases.release((place.block + 1, u64::from(offset)), place.block, Scope::Block, clock);
            }
            Event::MbarrierWait { offset, mask } => {
                let at = (place.block + 1, u64::from(offset));
                for (_, clock) in self.releases.find(at, place.block, Scope::Block) {
                    me.acquire(mask, &clock);
                }
            }
            Event::Fence { mask, scope, .. } => me.fence(mask, narrowed(scope)),
            Event::Exit { mask } => me.leave(mask),
            _ => {}
        }
    }
}

impl Observer for Races {
    fn follows(&self) -> bool {
        false
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if !matches!(access.space, Space::Global | Space::Shared) {
            return Ok(());
        }
        self.check(scene, access)?;
        if class(access) != Class::Read {
            self.synchronise(scene, access);
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        match *event {
            Event::LaunchStart => self.start(scene),
            Event::BlockStart { shared_bytes } => self.start_block(scene, shared_bytes),
            Event::BlockEnd => self.end_block(scene.place.block),
            Event::CopyPending { offset, bytes, lane } => {
                let addresses = [u64::from(offset); 32];
                let access = issued(&addresses, bytes, lane);
                return self.check(scene, &access);
            }
            _ => self.block_event(scene, event),
        }
        Ok(())
    }
}

/// A copy that is issued: from now on it may write.
fn issued(addresses: &[u64; 32], bytes: u32, lane: u32) -> Access<'_> {
    Access {
        kind: AccessKind::Store,
        space: Space::Shared,
        ordering: Ordering::Weak,
        scope: Scope::System,
        bytes,
        mask: 1 << (lane & 31),
        addresses,
        contiguous: false,
        element: bytes,
        values: &[],
    }
}

/// What an access is to the checker.
fn class(access: &Access<'_>) -> Class {
    let block = narrowed(access.scope) == Scope::Block;
    let weak = matches!(access.ordering, Ordering::Weak | Ordering::NonCoherent);
    match access.kind {
        AccessKind::Load | AccessKind::CopyRead if weak => Class::Read,
        AccessKind::Load | AccessKind::CopyRead => Class::StrongRead(block),
        AccessKind::Store | AccessKind::CopyWrite if weak => Class::Write,
        AccessKind::Store | AccessKind::CopyWrite => Class::StrongWrite(block),
        AccessKind::Atomic(_) => Class::Atomic(block && !weak),
    }
}

/// A cluster is a block here: clusters of more are not checked as such.
fn narrowed(scope: Scope) -> Scope {
    if scope == Scope::Cluster { Scope::Block } else { scope }
}
