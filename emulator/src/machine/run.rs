//! The interpreter's loop: runs a warp until it waits, ends, or has had its turn.

use super::{
    Context, Fault, Order, Registers, WarpInfo, Watch, Where,
    block::BlockInfo,
    control, gather,
    launch::{Launch, Settings},
    warp::{Frame, State, Warp},
    watch::{Place, Scene, Step},
};
use crate::{
    memory::GlobalMemory,
    program::{Control, Exec, Instr, NONE, Program, WarpFn},
};

/// What does not change while a launch runs.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub settings: &'a Settings,
    pub program: &'a Program,
    pub launch: &'a Launch,
    pub memory: &'a GlobalMemory,
}

impl<'a> World<'a> {
    /// What the watchers hear of the place.
    pub fn scene(self, block: u32, warp: u32, pc: u32) -> Scene<'a> {
        let World { program, launch, memory, .. } = self;
        Scene { place: Place { block, warp, pc }, frame: Frame::default(), program, launch, memory }
    }
}

/// Why a warp stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The warp has had its turn, or a barrier of the block is complete.
    Turn,
    /// The warp went round a loop that reads what others may change, and lets them.
    Yield,
    /// No group is ready.
    Waiting,
    /// All lanes have left.
    Done,
}

/// Runs `warp` for about `turn` instructions; gives how many it ran.
pub(super) fn run(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    turn: u64,
) -> Result<(Stop, u64), Fault> {
    let start = warp.info.clock;
    if world.settings.order != Order::InOrder {
        block.transfers.drift(warp.info.index, &mut block.shared, world.memory);
    }
    loop {
        if warp.groups.is_empty() {
            return Ok((Stop::Done, warp.info.clock - start));
        }
        let step = step(world, block, warp, watch, start + turn);
        if let Some(stop) = step.map_err(|fault| locate(world, block, warp, fault))? {
            return Ok((stop, warp.info.clock - start));
        }
    }
}

/// Chooses a group and runs it; `Some` if the warp has to stop.
fn step(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    end: u64,
) -> Result<Option<Stop>, Fault> {
    if warp.groups.len() > 1 || warp.groups[0].state != State::Ready {
        gather::settle(world, block, warp, watch)?;
    }
    // Those who wait at a complete barrier go on before anybody arrives at it again.
    if block.barriers.complete().is_some() || warp.info.clock >= end {
        return Ok(Some(Stop::Turn));
    }
    if std::mem::take(&mut warp.yields) {
        return Ok(Some(Stop::Yield));
    }
    if warp.select() {
        run_group(world, block, warp, watch, end)?;
        return Ok(None);
    }
    Ok(if gather::give_up(world, block, warp, watch)? { None } else { Some(Stop::Waiting) })
}

/// Completes a fault with the place of the group at the front.
fn locate(world: World<'_>, block: &BlockInfo, warp: &Warp, mut fault: Fault) -> Fault {
    if fault.place.kernel.is_empty() {
        let pc = warp.groups.first().map_or(u32::MAX, |g| g.pc);
        fault.place =
            Where::new(world.program, world.launch, block.index, 32 * warp.info.index + fault.lane, pc);
    }
    fault
}

/// Runs the group at the front until it changes state, branches apart, or meets another.
fn run_group(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    end: u64,
) -> Result<(), Fault> {
    let meeting = warp.meeting();
    let alone = warp.groups.len() == 1;
    let (frame, active) = (warp.groups[0].frame, warp.groups[0].mask);
    let observed = !watch.observers.is_empty();
    let mut followed = watch.follows();
    let mut pc = warp.groups[0].pc;
    let mut first = pc;
    let mut registers = Registers {
        slots: &mut warp.slots[frame.slot as usize..],
        predicates: &mut warp.predicates[frame.predicate as usize..],
    };
    let left = loop {
        let instr = &world.program.code[pc as usize];
        let mask = guarded(&registers, instr, active);
        warp.info.clock += 1;
        if matches!(instr.exec, Exec::Sync(_)) && mask != 0 {
            warp.groups[0].pc = pc;
            let (named, same) = gather::named(&registers, instr.r[0], mask);
            if same != mask || !gather::complete(&warp.info, named, mask) {
                count(watch, first, pc, active);
                return gather::wait(warp, instr.r[0], mask, State::Sync);
            }
        }
        if observed && (followed || matches!(instr.exec, Exec::Control(Control::Barrier))) {
            warp.groups[0].pc = pc;
            let scene = Scene { frame, ..world.scene(block.number, warp.info.index, pc) };
            watch.instruction(&scene, &Step { instr, frame, group: active, mask, registers: &registers })?;
        }
        if mask != active {
            watch.guarded(pc, active, mask);
        }
        match instr.exec {
            Exec::Lanes(run) => {
                if mask != 0 {
                    // SAFETY: lowering picked the version of the handler for the instruction set that `Isa::detect` found here.
                    unsafe { run(&mut registers, mask, instr) }
                }
            }
            Exec::Warp(run) | Exec::Sync(run) => {
                warp.groups[0].pc = pc;
                if mask != 0 {
                    let (what, lanes) = ((run, frame, pc), (mask, active));
                    execute(world, block, &mut warp.info, &mut registers, watch, what, lanes)?;
                }
                followed = observed && watch.follows();
            }
            Exec::Control(Control::Branch) if mask == active => {
                let target = instr.imm as u32;
                count(watch, first, pc + 1, active);
                first = target;
                warp.yields |= target <= pc && std::mem::take(&mut warp.info.polled);
                let goes_on = if target > pc { target < meeting } else { alone && !warp.yields };
                if !goes_on {
                    warp.spins += u32::from(target <= pc);
                    break target;
                }
                pc = target.wrapping_sub(1); // the end of the loop adds one
            }
            Exec::Control(_) if mask == 0 => {}
            Exec::Control(control) => {
                count(watch, first, pc + 1, active);
                warp.groups[0].pc = pc;
                return control::control(world, block, warp, watch, control, mask);
            }
        }
        pc = pc.wrapping_add(1);
        if pc == meeting || warp.info.clock >= end {
            count(watch, first, pc, active);
            break pc;
        }
    };
    warp.groups[0].pc = left;
    Ok(())
}

/// Calls the handler of an instruction: `what` is the handler, the frame and the place, `lanes` are those that run it and those that are
/// at it.
#[inline(always)]
pub(super) fn execute(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut WarpInfo,
    registers: &mut Registers<'_>,
    watch: &mut Watch,
    what: (WarpFn, Frame, u32),
    lanes: (u32, u32),
) -> Result<(), Fault> {
    let World { settings, program, launch, memory } = world;
    let ((run, frame, pc), (mask, group)) = (what, lanes);
    let cx =
        &mut Context { registers, warp, block, frame, launch, program, memory, settings, watch, pc, group };
    // SAFETY: lowering picked the version of the handler for the instruction set that `Isa::detect` found here.
    unsafe { run(cx, mask, &program.code[pc as usize]) }
}

#[inline(always)]
fn guarded(registers: &Registers<'_>, instr: &Instr, active: u32) -> u32 {
    if instr.guard == NONE {
        return active;
    }
    let p = registers.predicates[instr.guard as usize];
    active & if instr.negate { !p } else { p }
}

/// Counts the instructions from `first` to before `end`, which ran without a branch taken.
#[inline(always)]
pub(super) fn count(watch: &mut Watch, first: u32, end: u32, active: u32) {
    if let Some(counters) = &mut watch.counters {
        counters.run(first, end, active.count_ones());
    }
}
