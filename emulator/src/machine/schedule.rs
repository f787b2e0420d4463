//! Which block, and which of its warps, runs next.

use super::{
    Event, Fault, FaultKind, Launch, Settings, Watch, Where, barrier,
    block::Block,
    cluster,
    run::{self, Stop, World},
    warp::{State, Warp},
    watch::Place,
};
use crate::{memory::GlobalMemory, program::Program};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// The order in which warps and blocks take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each block to its end, as far as it does not wait for others: the fastest.
    InOrder,
    /// Turns of random length between warps and blocks that are resident, from this seed.
    Random(u64),
}

/// Instructions a warp runs at a stretch, in order.
const LONG_TURN: u64 = 1 << 16;

/// Runs all blocks of a launch.
pub(super) fn run(
    settings: &Settings,
    program: &Program,
    launch: &Launch,
    memory: &GlobalMemory,
    watch: &mut Watch,
) -> Result<(), Fault> {
    let world = World { settings, program, launch, memory };
    let blocks: u32 = launch.grid.iter().product();
    let capacity = settings.device.resident_blocks(program, launch);
    if let Some(counters) = &mut watch.counters {
        counters.begin(program);
    }
    let grid = Grid {
        next: AtomicU32::new(0),
        blocks,
        finished: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        stores: Mutex::default(),
    };
    let threads =
        if watch.observers.is_empty() { settings.threads.clamp(1, blocks.max(1) as usize) } else { 1 };
    watch.event(&world.scene(0, 0, 0), &Event::LaunchStart)?;
    match threads {
        1 => Queue::new(world, &grid, capacity.max(1), 0).run(world, watch)?,
        _ => run_parallel(world, &grid, capacity, threads, watch)?,
    }
    let scene = |p: Place| world.scene(p.block, p.warp, p.pc);
    crate::ops::deliver(std::mem::take(&mut *grid.stores()), scene, watch)?;
    watch.event(&world.scene(0, 0, 0), &Event::LaunchEnd)
}

/// Shares the blocks of a grid among threads. Which blocks run side by side then depends on the host.
fn run_parallel(
    world: World<'_>,
    grid: &Grid,
    capacity: u32,
    threads: usize,
    watch: &mut Watch,
) -> Result<(), Fault> {
    let share = capacity.div_ceil(threads as u32).max(1);
    let worker = |number: usize, mut watch: Watch| {
        let outcome = Queue::new(world, grid, share, number as u64).run(world, &mut watch);
        grid.stop.fetch_or(outcome.is_err(), Relaxed);
        (outcome, watch)
    };
    let watches: Vec<Watch> = (0..threads).map(|_| watch.fork()).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let worker = &worker;
        let spawned: Vec<_> =
            watches.into_iter().enumerate().map(|(i, w)| scope.spawn(move || worker(i, w))).collect();
        spawned
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut first = Ok(());
    for (outcome, part) in outcomes {
        watch.join(part);
        first = first.and(outcome);
    }
    first
}

/// What the threads that run a grid share.
struct Grid {
    /// The next block to start.
    next: AtomicU32,
    blocks: u32,
    /// Blocks finished and barriers completed.
    finished: AtomicU64,
    /// A thread has met a fault.
    stop: AtomicBool,
    /// What blocks that ended have yet to write to global memory.
    stores: Mutex<Vec<crate::ops::Store>>,
}

impl Grid {
    fn stores(&self) -> MutexGuard<'_, Vec<crate::ops::Store>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks that one thread runs.
struct Queue<'a> {
    grid: &'a Grid,
    capacity: u32,
    live: Vec<Block>,
    /// Warps that are done, for their memory.
    done: Vec<Warp>,
    random: Random,
    /// Instructions since a block finished or a barrier completed, and how many had by then.
    idle: u64,
    finished: u64,
}

impl<'a> Queue<'a> {
    fn new(world: World<'_>, grid: &'a Grid, capacity: u32, number: u64) -> Queue<'a> {
        let order = match world.settings.order {
            Order::Random(seed) => Order::Random(seed.wrapping_add(number)),
            Order::InOrder => Order::InOrder,
        };
        Queue {
            grid,
            capacity,
            live: Vec::new(),
            done: Vec::new(),
            random: Random::new(order),
            idle: 0,
            finished: 0,
        }
    }

    /// Whether nobody has got on for too long.
    fn waited_too_long(&mut self, patience: u64) -> bool {
        let finished = self.grid.finished.load(Relaxed);
        if finished != self.finished {
            (self.finished, self.idle) = (finished, 0);
        }
        self.idle > patience
    }

    /// The number of the next block to start, if there is one and room for it.
    fn take(&mut self) -> Option<u32> {
        let room = self.live.len() < self.capacity as usize;
        let blocks = self.grid.blocks;
        let next = |n: u32| (room && n < blocks).then(|| n + 1);
        self.grid.next.fetch_update(Relaxed, Relaxed, next).ok()
    }

    fn run(&mut self, world: World<'_>, watch: &mut Watch) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            if (at >= self.live.len() || self.random.starts_block())
                && let Some(number) = self.take()
            {
                let block = self.start(world, watch, number)?;
                self.live.push(block);
                at = self.live.len() - 1;
            }
            if at >= self.live.len() {
                at = 0;
            }
            if self.live.is_empty() {
                return Ok(());
            }
            at = self.random.choose(at, self.live.len());
            if self.turn(world, watch, at)? {
                self.done.append(&mut self.live.swap_remove(at).warps);
            } else {
                // The block waits for others: they come next, new ones last.
                at += 1;
            }
            if self.grid.stop.load(Relaxed) {
                return Ok(());
            }
            if self.waited_too_long(world.settings.patience) {
                return Err(self.stuck(world, "no block finished and no barrier completed for a long time"));
            }
        }
    }

    fn start(&mut self, world: World<'_>, watch: &mut Watch, number: u32) -> Result<Block, Fault> {
        let block = Block::new(world.launch, world.program, number, world.settings, &mut self.done);
        let scene = world.scene(block.info.number, 0, 0);
        watch.event(&scene, &Event::BlockStart { shared_bytes: block.info.shared_bytes })?;
        Ok(block)
    }

    /// Gives the block at `at` a turn; whether it is done.
    fn turn(&mut self, world: World<'_>, watch: &mut Watch, at: usize) -> Result<bool, Fault> {
        let mut waiting = 0;
        let mut turns = self.random.turns();
        let block = &mut self.live[at];
        while waiting < block.warps.len() && turns > 0 {
            let w = self.random.warp(block.turn, block.warps.len());
            block.turn = (w + 1) % block.warps.len();
            let (stop, ran) =
                run::run(world, &mut block.info, &mut block.warps[w], watch, self.random.length())?;
            self.idle += ran;
            waiting = match stop {
                Stop::Turn => 0,
                // Others may be waiting for what it just did.
                Stop::Waiting | Stop::Done if ran > 0 => 1,
                Stop::Waiting | Stop::Done | Stop::Yield => waiting + 1,
            };
            turns -= u64::from(stop == Stop::Turn);
            while let Some(id) = barrier::release(&mut block.info, &mut block.warps, &world.program.code) {
                let scene = world.scene(block.info.number, w as u32, 0);
                watch.event(&scene, &Event::BarrierComplete { id })?;
                self.grid.finished.fetch_add(1, Relaxed);
                waiting = 0;
            }
            if cluster::release(&mut block.info, &mut block.warps) {
                self.grid.finished.fetch_add(1, Relaxed);
                waiting = 0;
            }
        }
        if block.done() {
            if let Some(late) = &mut block.info.late {
                late.show_all(world.memory);
            }
            let stores = crate::ops::finish(world.settings, world.program, world.launch, &mut block.info)?;
            if !stores.is_empty() {
                self.grid.stores().extend(stores);
            }
            watch.event(&world.scene(block.info.number, 0, 0), &Event::BlockEnd)?;
            self.grid.finished.fetch_add(1, Relaxed);
            return Ok(true);
        }
        let stuck = block.warps.iter().all(|w| w.groups.iter().all(|g| g.state != State::Ready));
        if stuck { Err(self.stuck_block(world, at)) } else { Ok(false) }
    }

    /// A block whose warps all wait for each other.
    fn stuck_block(&self, world: World<'_>, at: usize) -> Fault {
        self.describe(world, at, "deadlock: every warp of the block waits")
    }

    fn stuck(&self, world: World<'_>, why: &str) -> Fault {
        self.describe(world, 0, why)
    }

    /// Who waits where: the first group of each warp of a block.
    fn describe(&self, world: World<'_>, at: usize, why: &str) -> Fault {
        let block = &self.live[at];
        let mut waits = Vec::new();
        for warp in &block.warps {
            for g in &warp.groups {
                let what = match g.state {
                    State::Barrier(id) => format!("waits for {}", block.info.barriers.describe(id)),
                    State::Sync(named) | State::WarpBarrier(named) => {
                        format!("waits for lanes {named:#010x}")
                    }
                    State::Cluster => "waits for the barrier of the cluster".to_string(),
                    State::Convergence => "waits for the other lanes of its warp".to_string(),
                    State::Ready => "spins".to_string(),
                };
                let line = world.program.lines.get(g.pc as usize).map_or(0, |l| l.ptx);
                waits.push(format!("warp {} lanes {:#010x} at line {line} {what}", warp.info.index, g.mask));
            }
        }
        let mut fault = Fault::new(FaultKind::Timeout, 0, format!("{why}: {}", waits.join("; ")));
        let first = block.warps.iter().find_map(|w| w.groups.first().map(|g| (w.info.index, g)));
        if let Some((warp, g)) = first {
            let thread = 32 * warp + g.mask.trailing_zeros();
            fault.place = Where::new(world.program, world.launch, block.info.index, thread, g.pc);
        }
        fault
    }
}

/// The choices of the scheduler: a counter-based generator (SplitMix64), so that a seed repeats.
struct Random {
    state: Option<u64>,
}

impl Random {
    fn new(order: Order) -> Random {
        Random {
            state: match order {
                Order::InOrder => None,
                Order::Random(seed) => Some(seed),
            },
        }
    }

    fn next(&mut self) -> Option<u64> {
        let state = self.state.as_mut()?;
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(z ^ z >> 31)
    }

    fn starts_block(&mut self) -> bool {
        self.next().is_some_and(|r| r % 4 == 0)
    }

    fn choose(&mut self, at: usize, live: usize) -> usize {
        self.next().map_or(at, |r| r as usize % live)
    }

    fn warp(&mut self, turn: usize, warps: usize) -> usize {
        self.next().map_or(turn, |r| r as usize % warps)
    }

    /// Turns of warps in a turn of a block.
    fn turns(&mut self) -> u64 {
        self.next().map_or(1 << 8, |r| 1 + r % 16)
    }

    /// Instructions in a turn of a warp: mostly few, sometimes many.
    fn length(&mut self) -> u64 {
        self.next().map_or(LONG_TURN, |r| 1 + (r >> 8) % (1 << (r % 10)))
    }
}
