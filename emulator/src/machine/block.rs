//! A block: its warps, its shared memory and its barriers.

use super::{Launch, Settings, barrier::Barriers, warp::Warp};
use crate::{ops::memory::Late, program::Program};

/// What the warps of a block share.
#[derive(Debug, Default)]
pub struct BlockInfo {
    /// `%ctaid`.
    pub index: [u32; 3],
    /// Number in the grid: x fastest.
    pub number: u32,
    /// The multiprocessor that it is on.
    pub sm: u32,
    /// Shared memory in words.
    pub shared: Vec<u32>,
    /// Size of shared memory in bytes.
    pub shared_bytes: u32,
    /// Barriers 0 to 15.
    pub barriers: Barriers,
    /// Somebody has arrived at the barrier of the cluster that is not complete.
    pub cluster_arrived: bool,
    /// `mbarrier` objects and what else copies need.
    pub transfers: crate::ops::Transfers,
    /// Stores that other blocks do not see yet.
    pub late: Option<Box<Late>>,
}

/// A block that is resident.
pub struct Block {
    /// What its warps share.
    pub info: BlockInfo,
    /// Its warps.
    pub warps: Vec<Warp>,
    /// The warp to look at first.
    pub turn: usize,
}

impl Block {
    /// The block of this number, at the start of the launch. Its warps take the memory of those in `done`.
    pub fn new(
        launch: &Launch,
        program: &Program,
        number: u32,
        settings: &Settings,
        done: &mut Vec<Warp>,
    ) -> Block {
        let kernel = &program.functions[launch.kernel];
        let [gx, gy, _] = launch.grid;
        let index = [number % gx, number / gx % gy, number / gx / gy];
        let threads: u32 = launch.block.iter().product();
        let bytes = launch.shared_bytes(program);
        let warps = (0..threads.div_ceil(32)).map(|w| {
            let lanes = (threads - 32 * w).min(32);
            let done = done.pop().unwrap_or_default();
            Warp::new(done, kernel, launch.kernel as u32, w, u32::MAX >> (32 - lanes))
        });
        let info = BlockInfo {
            index,
            number,
            sm: number % settings.device.multiprocessors,
            shared: vec![0; bytes.div_ceil(4) as usize],
            shared_bytes: bytes,
            barriers: Barriers::new(threads),
            cluster_arrived: false,
            transfers: Default::default(),
            late: settings.weak.map(|seed| Box::new(Late::new(seed ^ u64::from(number) << 32))),
        };
        Block { info, warps: warps.collect(), turn: 0 }
    }

    /// Whether all lanes have left.
    pub fn done(&self) -> bool {
        self.warps.iter().all(|w| w.groups.is_empty())
    }
}
