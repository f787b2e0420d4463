//! What the interpreter tells those who watch: counters and checks.

use super::{Fault, Frame, Launch, Registers};
use crate::{
    counters::Counters,
    memory::GlobalMemory,
    program::{Instr, Program},
    ptx::ast::Space,
};

/// How a memory access is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Not at all.
    Weak,
    /// Through the read-only path (`ld.global.nc`).
    NonCoherent,
    /// `.volatile`: as relaxed at system scope, without atomicity across threads.
    Volatile,
    /// `.relaxed`.
    Relaxed,
    /// `.acquire`.
    Acquire,
    /// `.release`.
    Release,
    /// `.acq_rel`.
    AcquireRelease,
}

/// Which threads an ordered access is ordered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The threads of the block.
    Block,
    /// The threads of the cluster.
    Cluster,
    /// The threads of the device.
    Device,
    /// All threads, the host's as well.
    System,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// Reads.
    Load,
    /// Writes.
    Store,
    /// Reads and writes at once; `true` if the old value is returned (`atom`), `false` for `red`.
    Atomic(bool),
    /// The read of an asynchronous copy, when it is issued.
    CopyRead,
    /// The write of an asynchronous copy, when it lands.
    CopyWrite,
}

/// A memory access of a warp.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// What it does.
    pub kind: AccessKind,
    /// Where: `Global`, `Shared`, `Local` or `Const`.
    pub space: Space,
    /// How it is ordered.
    pub ordering: Ordering,
    /// For whom, if it is.
    pub scope: Scope,
    /// Bytes of each lane.
    pub bytes: u32,
    /// Lanes that take part.
    pub mask: u32,
    /// Address of each lane: of the global space, or the offset in shared or local memory.
    pub addresses: &'a [u64; 32],
    /// Whether all 32 lanes take part and their bytes follow one another without gaps: known to some handlers, `false` otherwise.
    pub contiguous: bool,
    /// Bytes of an element: smaller than `bytes` for vectors.
    pub element: u32,
    /// For plain stores: the low and the high word of each element that each lane writes.
    pub values: &'a [([u32; 32], [u32; 32])],
}

/// Something that happens besides instructions and accesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A launch starts.
    LaunchStart,
    /// A launch ends: all blocks have.
    LaunchEnd,
    /// A block starts.
    BlockStart {
        /// Bytes of its shared memory.
        shared_bytes: u32,
    },
    /// All lanes of a block have left.
    BlockEnd,
    /// Lanes arrive at a barrier of the block, to wait or (`arrive`) not to.
    BarrierArrive {
        /// Its number.
        id: u32,
        /// The lanes.
        mask: u32,
        /// The lanes go on without waiting.
        arrive_only: bool,
    },
    /// A barrier of the block completes; those who waited go on.
    BarrierComplete {
        /// Its number.
        id: u32,
    },
    /// `bar.warp.sync` of these lanes completes.
    WarpBarrier {
        /// The lanes.
        mask: u32,
    },
    /// A memory fence.
    Fence {
        /// Its lanes.
        mask: u32,
        /// For whom.
        scope: Scope,
        /// Sequentially consistent (`fence.sc`, `membar`).
        sequential: bool,
    },
    /// `fence.proxy.async` that covers shared memory.
    ProxyFence {
        /// Its lanes.
        mask: u32,
    },
    /// Lanes enter a function, their arguments copied.
    Call {
        /// The lanes.
        mask: u32,
        /// The frame of the function.
        callee: Frame,
        /// The frame that they come from.
        caller: Frame,
    },
    /// Lanes return from a function, its results copied.
    Return {
        /// The lanes.
        mask: u32,
        /// The frame of the function.
        callee: Frame,
        /// The frame that they go back to.
        caller: Frame,
    },
    /// Lanes leave the kernel.
    Exit {
        /// The lanes.
        mask: u32,
    },
    /// Bytes of shared memory become the target of an asynchronous copy that has not landed.
    CopyPending {
        /// Offset in shared memory.
        offset: u32,
        /// Length.
        bytes: u32,
        /// The lane that issues it.
        lane: u32,
    },
    /// Bytes of shared memory hold a copy now. A write of the copy by the same lane ([`AccessKind::CopyWrite`]) was told before; if the
    /// lane waited at an `mbarrier` object, its arrival there follows, by which the next to wait learn of the copy.
    CopyLanded {
        /// Offset in shared memory.
        offset: u32,
        /// Length.
        bytes: u32,
        /// The lane that may read them without another barrier: the one that waited.
        lane: u32,
    },
    /// A lane issues a bulk copy out of these bytes of shared memory, told of as [`AccessKind::CopyRead`] before.
    CopySource {
        /// Offset in shared memory.
        offset: u32,
        /// Length.
        bytes: u32,
        /// The lane.
        lane: u32,
    },
    /// The lane has waited until the copy has read them, told of as [`AccessKind::CopyRead`] once more.
    CopySourceRead {
        /// Offset in shared memory.
        offset: u32,
        /// Length.
        bytes: u32,
        /// The lane.
        lane: u32,
    },
    /// Lanes arrive at an `mbarrier` object (which releases what they did before).
    MbarrierArrive {
        /// Offset in shared memory, or [`super::CLUSTER_BARRIER`].
        offset: u32,
        /// The lanes.
        mask: u32,
    },
    /// Lanes saw a phase of an `mbarrier` object complete (which acquires what came before).
    MbarrierWait {
        /// Offset in shared memory, or [`super::CLUSTER_BARRIER`].
        offset: u32,
        /// The lanes.
        mask: u32,
    },
    /// `griddepcontrol.wait`.
    DependencyWait {
        /// The lanes.
        mask: u32,
    },
}

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the block in the grid.
    pub block: u32,
    /// Number of the warp in the block.
    pub warp: u32,
    /// The instruction.
    pub pc: u32,
}

/// Where something happens, and in which launch.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The block, the warp, the instruction.
    pub place: Place,
    /// The frame of the function that the lanes are in, for instructions and accesses.
    pub frame: Frame,
    /// The code.
    pub program: &'a Program,
    /// The launch.
    pub launch: &'a Launch,
    /// The device's memory.
    pub memory: &'a GlobalMemory,
}

/// An instruction that is about to run.
pub struct Step<'a, 'r> {
    /// The instruction.
    pub instr: &'a Instr,
    /// The frame of the function that the lanes are in.
    pub frame: Frame,
    /// The lanes that are at it.
    pub group: u32,
    /// The lanes that the guard lets run the instruction: none, perhaps.
    pub mask: u32,
    /// The registers of the function.
    pub registers: &'a Registers<'r>,
}

/// Somebody who watches launches. An error stops the launch.
pub trait Observer: Send {
    /// Whether it wants to hear of every instruction from now on. If nobody does, only barriers of the block are told of. Asked whenever
    /// lanes begin to run together, and after each access or event.
    fn follows(&self) -> bool {
        true
    }

    /// Before an instruction runs, its accesses and events not told of yet.
    fn instruction(&mut self, _scene: &Scene<'_>, _step: &Step<'_, '_>) -> Result<(), Fault> {
        Ok(())
    }

    /// Before a memory access, bounds and alignment checked.
    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault>;

    /// Something else.
    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault>;
}

/// The watchers of a launch.
#[derive(Default)]
pub struct Watch {
    /// The checks.
    pub observers: Vec<Box<dyn Observer>>,
    /// The counters, if anybody wants them.
    pub counters: Option<Box<Counters>>,
    /// What kernels printed, for the host's standard output.
    pub output: Vec<u8>,
    /// Messages of failed assertions, for the host's standard error.
    pub errors: Vec<u8>,
}

impl Watch {
    /// Counters of the same kind, at zero, for a thread that runs a part of the launch.
    pub fn fork(&self) -> Watch {
        Watch { counters: self.counters.as_ref().map(|c| Box::new(c.fork())), ..Watch::default() }
    }

    /// Adds what a thread counted and printed.
    pub fn join(&mut self, part: Watch) {
        self.output.extend(part.output);
        self.errors.extend(part.errors);
        if let (Some(all), Some(part)) = (&mut self.counters, part.counters) {
            all.merge(&part);
        }
    }

    /// Whether somebody wants to hear of every instruction.
    #[inline(always)]
    pub fn follows(&self) -> bool {
        self.observers.iter().any(|o| o.follows())
    }

    /// Tells of an instruction.
    #[inline(always)]
    pub fn instruction(&mut self, scene: &Scene<'_>, step: &Step<'_, '_>) -> Result<(), Fault> {
        self.observers.iter_mut().try_for_each(|o| o.instruction(scene, step))
    }

    /// The guard of an instruction lets only some of its lanes run it.
    #[inline(always)]
    pub fn guarded(&mut self, pc: u32, active: u32, mask: u32) {
        if let Some(counters) = &mut self.counters {
            counters.guarded(pc, active.count_ones(), mask.count_ones());
        }
    }

    /// Tells of an access.
    #[inline(always)]
    pub fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if let Some(counters) = &mut self.counters {
            counters.access(scene.place.block, access);
        }
        self.observers.iter_mut().try_for_each(|o| o.access(scene, access))
    }

    /// Tells of an event.
    #[inline(always)]
    pub fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        if let Some(counters) = &mut self.counters {
            counters.event(event);
        }
        self.observers.iter_mut().try_for_each(|o| o.event(scene, event))
    }
}
