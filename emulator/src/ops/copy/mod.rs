//! Asynchronous copies and what orders them: `cp.async`.
//!
//! A copy reads its source when it is issued, and lands as late as the program allows: when somebody waits for it. So a kernel
//! that forgets to wait reads what was there before. Under [`crate::machine::Order::Random`] some copies land earlier, at
//! moments that the seed chooses; watchers are told of a landing when it is waited for all the same. Copies live with the
//! block ([`Transfers`]), since others than their issuer may wait for them. Tests: `tests/copies.rs`.

mod address;
mod bulk;
mod deferred;
mod fence;
mod mbarrier;
mod reduce;
mod single;
mod store;

pub use store::Store;

use crate::{
    machine::{
        BlockInfo, Context, Fault, FaultKind, Launch, Order, Scene, Settings, WarpInfo, Watch, WatchPlace,
        Where,
    },
    memory::GlobalMemory,
    program::{Builder, Program},
    ptx::ast::Instruction,
};
use std::collections::BTreeMap;

/// What a warp knows of its copies.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// Groups of `cp.async` that each lane has committed: the number of the group that it is filling.
    committed: [u32; 32],
    /// Groups of bulk copies to global memory that each lane has committed: likewise.
    bulk_committed: [u32; 32],
    /// Lanes whose last question to a barrier was answered with no.
    refused: u32,
}

/// Copies of a block under way.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    /// Copies by `cp.async`, of each warp in the order of issue.
    single: Vec<Vec<single::Copy>>,
    /// How many copies of `single` were issued.
    serial: u64,
    /// `mbarrier` objects by their offset in shared memory.
    objects: BTreeMap<u32, mbarrier::Object>,
    /// What they wait for besides threads.
    deferred: Vec<deferred::Deferred>,
    /// Bulk copies to global memory.
    stores: Vec<store::Store>,
    /// Random numbers drawn so far.
    drawn: u64,
}

impl Transfers {
    /// In how many turns of its warp a copy lands by itself: `None` for never.
    fn early(&mut self, order: Order, block: u32) -> Option<u32> {
        let Order::Random(seed) = order else { return None };
        self.drawn += 1;
        let mut z = seed ^ u64::from(block) << 32 ^ self.drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // Mostly soon: within one, two, four or eight turns.
        (z & 1 == 0).then_some((z >> 3) as u32 % (1 << (z >> 1 & 3)))
    }

    /// Lets copies land whose moment has come. Called at the start of a turn of the warp.
    pub fn drift(&mut self, warp: u32, shared: &mut [u32], memory: &GlobalMemory) {
        if let Some(copies) = self.single.get_mut(warp as usize) {
            copies.iter_mut().for_each(|c| c.drift(shared));
        }
        deferred::drift(self, shared);
        self.stores.iter_mut().for_each(|s| s.drift(shared, memory));
    }
}

/// Lanes of a warp leave the kernel: copies that they did not wait for are a finding of the checks.
pub fn leave(
    settings: &Settings,
    program: &Program,
    transfers: &mut Transfers,
    warp: &WarpInfo,
    mask: u32,
) -> Result<(), Fault> {
    single::leave(settings, program, transfers, warp, mask)?;
    store::leave(settings, program, transfers, warp.index, mask)
}

/// A block ends: copies into its memory that nobody waited for are a finding of the checks. Gives what it has yet to write to global memory.
pub fn finish(
    settings: &Settings,
    program: &Program,
    launch: &Launch,
    block: &mut BlockInfo,
) -> Result<Vec<Store>, Fault> {
    if settings.strict
        && let Some(copy) = deferred::left(&block.transfers)
    {
        let message = "the block ends before anybody waited for this copy into its memory";
        let mut fault = Fault::new(FaultKind::Finding, copy.thread % 32, message);
        fault.place = Where::new(program, launch, block.index, copy.thread, copy.pc);
        return Err(fault);
    }
    Ok(store::finish(&mut block.transfers, &block.shared))
}

/// A launch ends: writes what its threads did not wait for.
pub fn deliver<'a>(
    stores: Vec<Store>,
    scene: impl Fn(WatchPlace) -> Scene<'a>,
    watch: &mut Watch,
) -> Result<(), Fault> {
    store::deliver(stores, scene, watch)
}

/// Whether a fence is one of this family: of the asynchronous proxy, or of the making of `mbarrier` objects.
pub fn is_fence(source: &Instruction) -> bool {
    let modifiers: Vec<&str> = source.modifiers.iter().map(String::as_str).collect();
    source.opcode == "fence" && matches!(&modifiers[..], ["proxy", "async", ..] | ["mbarrier_init", ..])
}

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let modifiers: Vec<&str> = b.source.modifiers.iter().map(String::as_str).collect();
    match (b.source.opcode.as_str(), &modifiers[..]) {
        ("cp", ["async", "bulk", rest @ ..]) => bulk::lower(b, rest),
        ("cp", ["reduce", "async", "bulk", rest @ ..]) => bulk::lower_reduce(b, rest),
        ("cp", ["async", "mbarrier", "arrive", rest @ ..]) => mbarrier::lower_arrive_later(b, rest),
        ("cp", ["async", rest @ ..]) => single::lower(b, rest),
        ("mbarrier", _) => mbarrier::lower(b),
        ("fence", rest) => fence::lower(b, rest),
        _ => Err("unknown form".into()),
    }
}

/// Demands a module for at least this compute capability.
fn needs(b: &Builder<'_>, least: u32) -> Result<(), String> {
    match b.scope.target {
        target if target >= least => Ok(()),
        target => Err(format!("needs .target sm_{least} or higher, found sm_{target}")),
    }
}

/// Whether anybody hears of events.
fn watched(cx: &Context<'_, '_>) -> bool {
    !cx.watch.observers.is_empty()
}
