//! Bulk copies and reductions from shared to global memory, in the groups that threads wait for.
//!
//! The source is read as late as the issuing thread's `wait_group.read`, the destination written as late as its `wait_group`, or when the
//! whole launch is over. In strict runs a source that changes in between is a finding.

use super::{Transfers, reduce::Reduction};
use crate::{
    machine::{
        Access, AccessKind, Context, Event, Fault, FaultKind, Ordering, Scene, Scope, Settings, Watch,
        WatchPlace,
    },
    memory::GlobalMemory,
    ops::memory::{each_lane, lanes_where},
    program::{Instr, Program},
    ptx::ast::Space,
};

/// Addresses and sizes of bulk copies are multiples of this.
pub const UNIT: u32 = 16;

/// A copy under way.
#[derive(Debug, Clone)]
pub struct Store {
    place: WatchPlace,
    lane: u32,
    group: u32,
    /// Offset in shared memory.
    from: u32,
    to: u64,
    bytes: u32,
    reduction: Option<usize>,
    /// The source when the copy was issued, in strict runs.
    issued: Option<Vec<u32>>,
    /// The source as read.
    data: Option<Vec<u32>>,
    /// The thread has waited for that.
    waited: bool,
    written: bool,
    /// Turns until the next step happens by itself.
    early: Option<u32>,
}

impl Store {
    fn source<'a>(&self, shared: &'a [u32]) -> &'a [u32] {
        let first = self.from as usize / 4;
        shared.get(first..first + self.bytes as usize / 4).unwrap_or(&[])
    }

    fn read(&mut self, shared: &[u32]) {
        if self.data.is_none() {
            self.data = Some(self.source(shared).to_vec());
        }
    }

    fn write(&mut self, memory: &GlobalMemory) {
        let (Some(data), false) = (&self.data, self.written) else { return };
        self.written = true;
        if let Some(allocation) = memory.range(self.to, u64::from(self.bytes)) {
            match self.reduction.and_then(Reduction::numbered) {
                None => allocation.write(self.to, bytemuck::cast_slice(data)),
                Some(reduction) => reduction.apply(allocation, self.to, data),
            }
        }
    }

    /// Writes, and tells the watchers.
    fn finish(&mut self, scene: &Scene<'_>, watch: &mut Watch) -> Result<(), Fault> {
        let reduces = self.reduction.and_then(Reduction::numbered);
        let access = Access {
            kind: if reduces.is_some() { AccessKind::Atomic(false) } else { AccessKind::CopyWrite },
            space: Space::Global,
            ordering: if reduces.is_some() { Ordering::Relaxed } else { Ordering::Weak },
            scope: Scope::Device,
            bytes: self.bytes,
            mask: 1 << self.lane,
            addresses: &[self.to; 32],
            contiguous: false,
            element: reduces.map_or(16, |r| r.size as u32),
            values: &[],
        };
        watch.access(scene, &access)?;
        self.write(scene.memory);
        Ok(())
    }

    /// A turn of its warp begins.
    pub fn drift(&mut self, shared: &[u32], memory: &GlobalMemory) {
        match self.early {
            Some(0) if self.data.is_none() => {
                (self.data, self.early) = (Some(self.source(shared).to_vec()), Some(1))
            }
            Some(0) => {
                self.early = None;
                self.write(memory);
            }
            Some(turns) => self.early = Some(turns - 1),
            None => {}
        }
    }

    fn describe(&self, program: &Program) -> String {
        let line = program.lines.get(self.place.pc as usize).map_or(0, |l| l.ptx);
        format!(
            "bulk copy of {} bytes from shared offset {:#x}, issued at PTX line {line}",
            self.bytes, self.from
        )
    }
}

/// A lane issues a copy, or the reduction of this number.
pub fn issue(
    cx: &mut Context<'_, '_>,
    lane: usize,
    from: u32,
    to: u64,
    bytes: u32,
    reduction: Option<usize>,
) {
    let place = WatchPlace { block: cx.block.number, warp: cx.warp.index, pc: cx.pc };
    let early = cx.block.transfers.early(cx.settings.order, cx.block.number);
    let group = cx.warp.copies.bulk_committed[lane];
    let mut store = Store {
        place,
        lane: lane as u32,
        group,
        from,
        to,
        bytes,
        reduction,
        issued: None,
        data: None,
        waited: false,
        written: false,
        early,
    };
    if cx.settings.strict {
        store.issued = Some(store.source(&cx.block.shared).to_vec());
    }
    cx.block.transfers.stores.push(store);
}

/// `cp.async.bulk.commit_group`.
pub fn commit(cx: &mut Context<'_, '_>, mask: u32, _: &Instr) -> Result<(), Fault> {
    each_lane(mask).for_each(|l| cx.warp.copies.bulk_committed[l] += 1);
    Ok(())
}

/// `cp.async.bulk.wait_group`; with flag 1, `.read`.
pub fn wait(cx: &mut Context<'_, '_>, mask: u32, instr: &Instr) -> Result<(), Fault> {
    let limits = cx.warp.copies.bulk_committed.map(|c| c.saturating_sub(instr.imm as u32));
    let warp = cx.warp.index;
    let place = WatchPlace { block: cx.block.number, warp, pc: cx.pc };
    let scene = Scene { place, program: cx.program, launch: cx.launch, memory: cx.memory, frame: cx.frame };
    let block = &mut *cx.block;
    for store in block.transfers.stores.iter_mut().filter(|s| s.place.warp == warp) {
        if lanes_where(mask & 1 << store.lane, &limits, |limit| store.group < limit) == 0 {
            continue;
        }
        store.read(&block.shared);
        if !store.waited && store.issued.is_some() && store.issued != store.data {
            let message = format!("source changed before it was read: {}", store.describe(cx.program));
            return Err(Fault::new(FaultKind::Finding, store.lane, message));
        }
        if !store.waited {
            let (from, lane) = ([u64::from(store.from); 32], store.lane);
            cx.watch.access(&scene, &reading(lane as usize, Space::Shared, &from, store.bytes))?;
            cx.watch
                .event(&scene, &Event::CopySourceRead { offset: store.from, bytes: store.bytes, lane })?;
        }
        store.waited = true;
        if instr.flags != 1 {
            store.finish(&scene, cx.watch)?;
        }
    }
    let gone = |s: &Store| {
        s.place.warp == warp && lanes_where(mask & 1 << s.lane, &limits, |limit| s.group < limit) != 0
    };
    if instr.flags != 1 {
        block.transfers.stores.retain(|s| !gone(s));
    }
    Ok(())
}

/// Lanes leave the kernel: that copies may still read shared memory then is a finding of the checks.
pub fn leave(
    settings: &Settings,
    program: &Program,
    transfers: &Transfers,
    warp: u32,
    mask: u32,
) -> Result<(), Fault> {
    let unread = |s: &&Store| s.place.warp == warp && mask >> s.lane & 1 == 1 && !s.waited;
    match transfers.stores.iter().find(unread) {
        Some(store) if settings.strict => Err(Fault::new(
            FaultKind::Finding,
            store.lane,
            format!("leaves without waiting until its source was read: {}", store.describe(program)),
        )),
        _ => Ok(()),
    }
}

/// The block ends: what its copies have not read is read now. Gives those that are not written.
pub fn finish(transfers: &mut Transfers, shared: &[u32]) -> Vec<Store> {
    let mut stores = std::mem::take(&mut transfers.stores);
    stores.iter_mut().for_each(|s| s.read(shared));
    stores
}

/// The launch ends: writes what nobody waited for.
pub fn deliver<'a>(
    mut stores: Vec<Store>,
    scene: impl Fn(WatchPlace) -> Scene<'a>,
    watch: &mut Watch,
) -> Result<(), Fault> {
    stores.iter_mut().try_for_each(|s| s.finish(&scene(s.place), watch))
}

/// The read of a bulk copy by a lane.
pub fn reading(lane: usize, space: Space, addresses: &[u64; 32], bytes: u32) -> Access<'_> {
    Access {
        kind: AccessKind::CopyRead,
        space,
        ordering: Ordering::Weak,
        scope: Scope::System,
        bytes,
        mask: 1 << lane,
        addresses,
        contiguous: false,
        element: UNIT,
        values: &[],
    }
}
