//! The interpreter's loop: runs a warp until it waits, ends, or has had its turn.

use super::{
    Context, Event, Fault, FaultKind, Order, Registers, Watch, Where, barrier,
    block::BlockInfo,
    call, cluster,
    launch::{Launch, Settings},
    warp::{Frame, State, Warp},
    watch::{Place, Scene, Step},
};
use crate::{
    memory::GlobalMemory,
    program::{Control, Exec, Instr, NONE, Program},
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
    /// It has had its turn.
    Turn,
    /// It went round a loop that reads what others may change, and lets them.
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
        if !warp.select() && !meet_at_sync(world, block, warp, watch)? {
            return Ok((Stop::Waiting, warp.info.clock - start));
        }
        let end = start + turn;
        if warp.info.clock >= end {
            return Ok((Stop::Turn, warp.info.clock - start));
        }
        if std::mem::take(&mut warp.yields) {
            return Ok((Stop::Yield, warp.info.clock - start));
        }
        let step = run_group(world, block, warp, watch, end);
        step.map_err(|fault| locate(world, block, warp, fault))?;
    }
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
    let code = &world.program.code[..];
    let observed = !watch.observers.is_empty();
    let mut pc = warp.groups[0].pc;
    let mut first = pc;
    let left = loop {
        let mut registers = Registers {
            slots: &mut warp.slots[frame.slot as usize..],
            predicates: &mut warp.predicates[frame.predicate as usize..],
        };
        let instr = &code[pc as usize];
        let mask = guarded(&registers, instr, active);
        warp.info.clock += 1;
        if matches!(instr.exec, Exec::Sync(_)) && mask != 0 {
            warp.groups[0].pc = pc;
            let named = registers.single(instr.r[0])[mask.trailing_zeros() as usize];
            if !gathered(&warp.info, named, mask)? {
                if mask != active {
                    // Those whose guard is false do not wait.
                    let mut rest = warp.groups[0].clone();
                    (rest.mask, rest.pc) = (active & !mask, pc + 1);
                    warp.groups[0].mask = mask;
                    warp.groups.push(rest);
                }
                warp.groups[0].state = State::Sync(named);
                count(watch, first, pc, active);
                return Ok(());
            }
        }
        if observed {
            warp.groups[0].pc = pc;
            let scene = Scene { frame, ..world.scene(block.number, warp.info.index, pc) };
            let step = Step { instr, frame, group: active, mask, registers: &registers };
            watch.observers.iter_mut().try_for_each(|o| o.instruction(&scene, &step))?;
        }
        if mask != active
            && let Some(counters) = &mut watch.counters
        {
            counters.guarded(pc, active.count_ones(), mask.count_ones());
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
                    let registers = &mut registers;
                    let World { settings, program, launch, memory } = world;
                    let warp = &mut warp.info;
                    let mut cx = Context {
                        registers,
                        warp,
                        block,
                        frame,
                        launch,
                        program,
                        memory,
                        settings,
                        watch,
                        pc,
                        group: active,
                    };
                    run(&mut cx, mask, instr)?;
                }
            }
            Exec::Control(Control::Branch) if mask == active => {
                let target = instr.imm as u32;
                count(watch, first, pc + 1, active);
                first = target;
                warp.yields |= target <= pc && std::mem::take(&mut warp.info.polled);
                let goes_on = if target > pc { target < meeting } else { alone && !warp.yields };
                if !goes_on {
                    warp.spins = if target > pc { warp.spins } else { (warp.spins + 1) % (2 * SPIN_CYCLE) };
                    break target;
                }
                // The loop below steps over the instruction that is left.
                pc = target.wrapping_sub(1);
            }
            Exec::Control(_) if mask == 0 => {}
            Exec::Control(control) => {
                count(watch, first, pc + 1, active);
                warp.groups[0].pc = pc;
                return self::control(world, block, warp, watch, control, mask);
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

/// Whether the lanes that an instruction names are all here, except those that have left.
fn gathered(warp: &super::WarpInfo, named: u32, here: u32) -> Result<bool, Fault> {
    if here & !named != 0 {
        let message = format!("lanes {here:#010x} run it, but its mask {named:#010x} does not name them all");
        return Err(Fault::new(FaultKind::IllegalInstruction, (here & !named).trailing_zeros(), message));
    }
    Ok(named & warp.lanes & !warp.exited & !here == 0)
}

/// Backward branches of diverged lanes after which their order is turned round.
const SPIN_CYCLE: u32 = 64;

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
fn count(watch: &mut Watch, first: u32, end: u32, active: u32) {
    if let Some(counters) = &mut watch.counters {
        counters.run(first, end, active.count_ones());
    }
}

/// Everything that ends a straight run: `mask` are the lanes of the group at the front that do it, the others go on behind it.
fn control(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    control: Control,
    mask: u32,
) -> Result<(), Fault> {
    let instr = &world.program.code[warp.groups[0].pc as usize];
    let scene = world.scene(block.number, warp.info.index, warp.groups[0].pc);
    if mask != warp.groups[0].mask {
        let mut rest = warp.groups[0].clone();
        rest.mask &= !mask;
        rest.pc += 1;
        warp.groups[0].mask = mask;
        warp.groups.push(rest);
    }
    match control {
        Control::Branch => {
            if instr.imm as u32 <= warp.groups[0].pc {
                warp.yields |= std::mem::take(&mut warp.info.polled);
                warp.spins = (warp.spins + 1) % (2 * SPIN_CYCLE);
            }
            warp.groups[0].pc = instr.imm as u32;
            Ok(())
        }
        Control::BranchTable => call::branch_table(world, warp, instr),
        Control::Call | Control::CallIndirect => {
            let caller = warp.groups[0].frame;
            match control {
                Control::Call => call::direct(world, warp, instr)?,
                _ => call::indirect(world, warp, instr)?,
            }
            let (callee, mask) = (warp.groups[0].frame, warp.groups[0].mask);
            watch.event(&scene, &Event::Call { mask, callee, caller })
        }
        Control::Return if !warp.groups[0].callers.is_empty() => {
            let callee = warp.groups[0].frame;
            call::give_back(world, warp)?;
            watch.event(&scene, &Event::Return { mask, callee, caller: warp.groups[0].frame })
        }
        Control::Return | Control::Exit => {
            warp.info.exited |= mask;
            block.barriers.leave(mask.count_ones());
            watch.event(&scene, &Event::Exit { mask })?;
            crate::ops::leave(world.settings, world.program, &mut block.transfers, &warp.info, mask)?;
            warp.groups.swap_remove(0);
            warp.spins = 0;
            Ok(())
        }
        Control::Barrier => {
            let event = barrier::arrive(warp, block, instr, mask)?;
            watch.event(&scene, &event)
        }
        Control::ClusterWait => {
            let event = cluster::wait(warp, mask)?;
            event.map_or(Ok(()), |event| watch.event(&scene, &event))
        }
        Control::WarpBarrier => {
            let group = &mut warp.groups[0];
            let named = warp.slots[(group.frame.slot + u32::from(instr.r[0])) as usize].0
                [mask.trailing_zeros() as usize];
            group.state = State::WarpBarrier(named);
            Ok(())
        }
    }
}

/// No group is ready: lets those go on that wait for lanes of this warp which have all arrived or left. `false` if there are none.
fn meet_at_sync(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
) -> Result<bool, Fault> {
    let live = warp.live();
    let waiting = |named: u32, groups: &[super::warp::Group]| {
        groups.iter().filter(|g| g.state == State::WarpBarrier(named)).map(|g| g.mask).fold(0, |a, b| a | b)
    };
    for i in 0..warp.groups.len() {
        match warp.groups[i].state {
            State::WarpBarrier(named) if named & live & !waiting(named, &warp.groups) == 0 => {
                let scene = world.scene(block.number, warp.info.index, warp.groups[i].pc);
                watch.event(&scene, &Event::WarpBarrier { mask: named & live })?;
                for g in warp.groups.iter_mut().filter(|g| g.state == State::WarpBarrier(named)) {
                    g.state = State::Ready;
                    g.pc += 1;
                }
                return Ok(true);
            }
            State::Sync(named) if named & live & !warp.groups[i].mask == 0 => {
                warp.groups[i].state = State::Ready;
                return Ok(true);
            }
            _ => {}
        }
    }
    // A group at a barrier of the block may still bring the missing lanes; without one, nobody will.
    if warp.groups.iter().any(|g| matches!(g.state, State::Barrier(_) | State::Cluster)) {
        return Ok(false);
    }
    let (i, named) = match warp.groups.iter().enumerate().find_map(|(i, g)| match g.state {
        State::Sync(named) | State::WarpBarrier(named) => Some((i, named)),
        _ => None,
    }) {
        Some(found) => found,
        None => return Ok(false),
    };
    warp.groups.swap(0, i);
    let missing = named & live & !warp.groups[0].mask;
    let message =
        format!("lanes {:#010x} wait for lanes {missing:#010x}, which never come", warp.groups[0].mask);
    let lane = warp.groups[0].mask.trailing_zeros();
    Err(locate(world, block, warp, Fault::new(FaultKind::Timeout, lane, message)))
}
