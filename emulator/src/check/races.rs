//! Races in shared and global memory: two accesses to one byte, one of them a write, that nothing orders.
//!
//! What orders accesses is the memory model of the PTX ISA: the program order of each lane, barriers of the block and of warps, and
//! writes that release to reads that acquire, each within its scope. Lanes of a warp that run in lockstep are not ordered by
//! it, nor does a shuffle order memory. Accesses that are both strong (atomic, relaxed, volatile) and name scopes with each
//! other in them do not race. Tests: `tests/check_races.rs`.

use super::{
    clock::Clock,
    releases::Releases,
    report,
    sets::{Class, Member, Relations, Sets},
    shadow::{self, Cell, PAGE, Pages, Shadow, Splits},
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

/// What an access must know of others.
struct Known<'a> {
    me: &'a Warp,
    warps: u32,
    closed: &'a [bool],
    /// A warp, and the epoch up to which all of `me` know all of it: the last such found.
    recent: std::cell::Cell<(u32, u32)>,
    /// The access, if lanes of one instruction may store equal values to one place.
    access: Option<&'a Access<'a>>,
}

impl Relations for Known<'_> {
    fn ordered(&self, old: &Member, new: &Member) -> bool {
        self.me.knows(new.mask, old.warp, old.mask, old.epoch)
    }

    #[inline(always)]
    fn ordered_write(&self, warp: u32, lane: u8, epoch: u32, new: &Member) -> bool {
        let (recent, until) = self.recent.get();
        (warp == recent && epoch <= until) || self.ordered_slowly(warp, lane, epoch, new)
    }

    fn same_block(&self, a: u32, b: u32) -> bool {
        a / self.warps == b / self.warps
    }

    fn closed(&self, warp: u32) -> bool {
        self.closed.get((warp / self.warps) as usize).copied().unwrap_or(false)
    }
}

impl Known<'_> {
    #[inline(never)]
    fn ordered_slowly(&self, warp: u32, lane: u8, epoch: u32, new: &Member) -> bool {
        if warp == new.warp && new.mask == 1 << lane {
            return true;
        }
        self.recent.set((warp, self.me.knows_all_until(warp)));
        epoch <= self.recent.get().1
            || self.me.knows(new.mask, warp, 1 << lane, epoch)
            || self.access.is_some_and(|a| warp == new.warp && epoch == new.epoch && equal(a, lane, new))
    }
}

/// Whether a lane stores the same to the same place as `lane` did before it in the same instruction.
fn equal(access: &Access<'_>, lane: u8, new: &Member) -> bool {
    let (a, b) = (usize::from(lane), new.mask.trailing_zeros() as usize & 31);
    let mask = if access.element >= 4 { u32::MAX } else { (1 << (8 * access.element)) - 1 };
    let same = |(low, high): &([u32; 32], [u32; 32])| {
        (low[a] ^ low[b]) & mask == 0 && (access.element < 8 || high[a] == high[b])
    };
    new.class == Class::Write
        && a < b
        && access.mask >> a & 1 == 1
        && access.addresses[a] == access.addresses[b]
        && !access.values.is_empty()
        && access.values.iter().all(same)
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
        let known = Known {
            me,
            warps: self.warps,
            closed: &self.closed,
            recent: std::cell::Cell::new((u32::MAX, 0)),
            access: (!self.equal_values).then_some(access),
        };
        let (warp, epoch) = (place.block * self.warps + place.warp, me.epoch());
        let new = Member { warp, epoch, mask: 0, class: class(access), pc: place.pc };
        let found = if access.space == Space::Shared {
            let mut shadow = Shadow { cells, splits, sets };
            each_place(access, |mask, address, bytes| {
                let new = Member { mask, ..new };
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

/// Why an access is a finding.
enum Conflict {
    /// `new` races with `old`.
    Race { old: Member, new: Member, at: u64 },
    /// `new` reads through the read-only path what `old` wrote.
    Written { old: Member, new: Member, at: u64 },
    /// `new` writes what `reader` read through the read-only path.
    ReadOnly { reader: Member, new: Member, at: u64 },
}

/// The records of global memory.
struct Global<'a> {
    pages: &'a mut Pages,
    splits: &'a mut Splits,
    sets: &'a mut Sets,
}

impl Global<'_> {
    fn access(&mut self, access: &Access<'_>, new: &Member, known: &Known<'_>) -> Result<(), Conflict> {
        let writes = new.class.writes();
        each_place(access, |mask, address, bytes| {
            let number = address / PAGE;
            let page = self.pages.get(number);
            let (new, offset) = (Member { mask, ..*new }, (address % PAGE) as usize);
            if writes && let Some(read) = &page.read_only {
                let (word, bits) = shadow::bits(offset, bytes);
                if read[word] & bits != 0 {
                    return Err(Conflict::ReadOnly { reader: page.reader, new, at: address });
                }
            }
            page.cells();
            let mut shadow = Shadow { cells: &mut page.cells, splits: self.splits, sets: self.sets };
            let touched = shadow.touch(offset, bytes, &new, known);
            touched.map_err(|(old, at)| Conflict::Race { old, new, at: number * PAGE + at as u64 })
        })
    }

    /// A load through the read-only path.
    fn read_only(&mut self, access: &Access<'_>, new: &Member) -> Result<(), Conflict> {
        each_place(access, |mask, address, bytes| {
            let number = address / PAGE;
            let page = self.pages.get(number);
            let (new, offset) = (Member { mask, ..*new }, (address % PAGE) as usize);
            if !page.cells.is_empty() {
                let shadow = Shadow { cells: &mut page.cells, splits: self.splits, sets: self.sets };
                if let Some((old, at)) = shadow.writer(offset, bytes) {
                    return Err(Conflict::Written { old, new, at: number * PAGE + at as u64 });
                }
            }
            let read = page.read_only.get_or_insert_with(|| {
                page.reader = new;
                Box::new([0; 64])
            });
            let (word, bits) = shadow::bits(offset, bytes);
            read[word] |= bits;
            Ok(())
        })
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

/// Bytes of the widest access of a lane.
const WIDEST: u32 = 32;

/// A cluster is a block here: clusters of more are not checked as such.
fn narrowed(scope: Scope) -> Scope {
    if scope == Scope::Cluster { Scope::Block } else { scope }
}

/// Each address of an access with the lanes that access it; writes come one lane at a time.
#[inline(always)]
fn each_place<E>(
    access: &Access<'_>,
    mut visit: impl FnMut(u32, u64, usize) -> Result<(), E>,
) -> Result<(), E> {
    let reads = matches!(access.kind, AccessKind::Load | AccessKind::CopyRead);
    let mut rest = access.mask;
    while rest != 0 {
        let lane = rest.trailing_zeros();
        let address = access.addresses[lane as usize];
        let mut mask = 1 << lane;
        if reads {
            let mut next = lane + 1;
            while next < 32 && rest >> next & 1 == 1 && access.addresses[next as usize] == address {
                mask |= 1 << next;
                next += 1;
            }
        }
        rest &= !mask;
        if access.bytes <= WIDEST {
            visit(mask, address, access.bytes as usize)?;
            continue;
        }
        // Bulk copies come in multiples of 16 bytes.
        for at in (0..access.bytes).step_by(16) {
            visit(mask, address + u64::from(at), (access.bytes - at).min(16) as usize)?;
        }
    }
    Ok(())
}
