//! Which block, and which of its warps, runs next.

use super::{
    Event, Fault, FaultKind, Launch, Settings, Watch, Where, barrier,
    block::Block,
    run::{self, Stop, World},
    warp::State,
};
use crate::{memory::GlobalMemory, program::Program};

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
    let mut queue = Queue {
        next: 0,
        blocks,
        capacity: capacity.max(1),
        live: Vec::new(),
        random: Random::new(settings.order),
        idle: 0,
    };
    watch.event(&world.scene(0, 0, 0), &Event::LaunchStart)?;
    queue.run(world, watch)?;
    watch.event(&world.scene(0, 0, 0), &Event::LaunchEnd)
}

struct Queue {
    next: u32,
    blocks: u32,
    capacity: u32,
    live: Vec<Block>,
    random: Random,
    /// Instructions since a block finished or a barrier completed.
    idle: u64,
}

impl Queue {
    fn run(&mut self, world: World<'_>, watch: &mut Watch) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            let full = self.live.len() >= self.capacity as usize;
            if !full && self.next < self.blocks && (at >= self.live.len() || self.random.starts_block()) {
                let block = self.start(world, watch)?;
                self.live.push(block);
                at = self.live.len() - 1;
            }
            if self.live.is_empty() {
                return Ok(());
            }
            at = self.random.choose(at, self.live.len());
            if self.turn(world, watch, at)? {
                self.live.swap_remove(at);
            } else {
                // It waits for others: they come next, new ones last.
                at += 1;
                if at >= self.live.len()
                    && (self.next >= self.blocks || self.live.len() >= self.capacity as usize)
                {
                    at = 0;
                }
            }
            if self.idle > world.settings.patience {
                return Err(self.stuck(world, "no block finished and no barrier completed for a long time"));
            }
        }
    }

    fn start(&mut self, world: World<'_>, watch: &mut Watch) -> Result<Block, Fault> {
        let block = Block::new(world.launch, world.program, self.next, world.settings.device.multiprocessors);
        self.next += 1;
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
            waiting = if stop == Stop::Turn {
                0
            } else if ran > 0 {
                1
            } else {
                waiting + 1
            };
            turns -= u64::from(stop == Stop::Turn);
            while let Some(id) = barrier::release(&mut block.info, &mut block.warps, &world.program.code) {
                let scene = world.scene(block.info.number, w as u32, 0);
                watch.event(&scene, &Event::BarrierComplete { id })?;
                (self.idle, waiting) = (0, 0);
            }
        }
        if block.done() {
            watch.event(&world.scene(block.info.number, 0, 0), &Event::BlockEnd)?;
            self.idle = 0;
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
                    State::Barrier(id) => block.info.barriers.describe(id),
                    State::Sync(named) | State::WarpBarrier(named) => format!("lanes {named:#010x}"),
                    State::Ready => "nothing (it spins)".to_string(),
                };
                let line = world.program.lines.get(g.pc as usize).map_or(0, |l| l.ptx);
                waits.push(format!(
                    "warp {} lanes {:#010x} at line {line} for {what}",
                    warp.info.index, g.mask
                ));
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
