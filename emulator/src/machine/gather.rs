//! Lanes that wait for lanes of their own warp: at instructions that name them (`shfl.sync`), at `bar.warp.sync`, and at barriers of the
//! block that a warp reaches as a whole (`bar.sync`, `.aligned`).

use super::{
    Event, Fault, FaultKind, Registers, WarpInfo, Watch, barrier,
    block::BlockInfo,
    run::{World, count, execute},
    warp::{State, Warp},
    watch::{Scene, Step},
};
use crate::program::{Control, Exec};

/// The lanes that the first lane of `mask` names in the register, and which lanes of `mask` name the same ones.
#[inline(always)]
pub(super) fn named(registers: &Registers<'_>, register: u16, mask: u32) -> (u32, u32) {
    let names = registers.single(register);
    let first = names[mask.trailing_zeros() as usize & 31];
    let mut same = 0;
    for lane in 0..32 {
        same |= u32::from(names[lane] == first) << lane;
    }
    (first, same & mask)
}

/// Whether the lanes that an instruction names are all here, except those that have left.
#[inline(always)]
pub(super) fn complete(warp: &WarpInfo, named: u32, here: u32) -> bool {
    (named & warp.lanes & !warp.exited) == here
}

/// A fault if a lane of `here` is not among those that it names itself.
fn check_named(named: u32, here: u32) -> Result<(), Fault> {
    match here & !named {
        0 => Ok(()),
        others => {
            let message =
                format!("lanes {here:#010x} run it, but its mask {named:#010x} does not name them all");
            Err(Fault::new(FaultKind::IllegalInstruction, others.trailing_zeros(), message))
        }
    }
}

/// The lanes `mask` of the group at the front wait at its instruction, those with the same names together; the others go on.
pub(super) fn wait(warp: &mut Warp, register: u16, mask: u32, state: fn(u32) -> State) -> Result<(), Fault> {
    warp.leave_behind(mask, 1);
    let mut left = mask;
    while left != 0 {
        let frame = warp.groups[0].frame;
        let registers = Registers { slots: &mut warp.slots[frame.slot as usize..], predicates: &mut [] };
        let (named, same) = named(&registers, register, left);
        check_named(named, same)?;
        left &= !same;
        let mut part = warp.groups[0].clone();
        (part.mask, part.state) = (same, state(named));
        match left {
            0 => warp.groups[0] = part,
            _ => warp.groups.push(part),
        }
    }
    Ok(())
}

/// Lets all go on whose lanes have arrived, until nobody can.
pub(super) fn settle(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
) -> Result<(), Fault> {
    loop {
        warp.merge();
        let Some(i) = (0..warp.groups.len()).find(|&i| may_go_on(warp, i)) else { return Ok(()) };
        warp.groups.swap(0, i);
        match warp.groups[0].state {
            State::Sync(_) => perform(world, block, warp, watch)?,
            State::WarpBarrier(named) => {
                let mask = named & warp.live();
                let scene = world.scene(block.number, warp.info.index, warp.groups[0].pc);
                watch.event(&scene, &Event::WarpBarrier { mask })?;
                for g in warp.groups.iter_mut().filter(|g| g.state == State::WarpBarrier(named)) {
                    g.state = State::Ready;
                    g.pc += 1;
                }
            }
            State::Convergence => barrier::arrive(world, block, warp, watch)?,
            State::Ready | State::Barrier(_) | State::Cluster => {
                unreachable!("these do not wait for lanes of their warp")
            }
        }
    }
}

/// Whether all that a group waits for have arrived.
fn may_go_on(warp: &Warp, i: usize) -> bool {
    match warp.groups[i].state {
        State::Ready | State::Barrier(_) | State::Cluster => false,
        State::Sync(named) => complete(&warp.info, named, warp.groups[i].mask),
        State::WarpBarrier(named) => complete(&warp.info, named, arrived(warp, named)),
        State::Convergence => warp.live() == warp.groups[i].mask,
    }
}

/// The lanes at a `bar.warp.sync` that names these.
fn arrived(warp: &Warp, named: u32) -> u32 {
    let there = warp.groups.iter().filter(|g| g.state == State::WarpBarrier(named));
    there.fold(0, |lanes, g| lanes | g.mask)
}

/// Runs the instruction at which the lanes of the group at the front have gathered.
fn perform(world: World<'_>, block: &mut BlockInfo, warp: &mut Warp, watch: &mut Watch) -> Result<(), Fault> {
    let (pc, frame, mask) = (warp.groups[0].pc, warp.groups[0].frame, warp.groups[0].mask);
    let instr = &world.program.code[pc as usize];
    let Exec::Sync(run) = instr.exec else { unreachable!("lanes gather at instructions that name them") };
    let mut registers = Registers {
        slots: &mut warp.slots[frame.slot as usize..],
        predicates: &mut warp.predicates[frame.predicate as usize..],
    };
    warp.info.clock += 1;
    count(watch, pc, pc + 1, mask);
    let scene = Scene { frame, ..world.scene(block.number, warp.info.index, pc) };
    let step = Step { instr, frame, group: mask, mask, registers: &registers };
    watch.observers.iter_mut().try_for_each(|o| o.instruction(&scene, &step))?;
    execute(world, block, &mut warp.info, &mut registers, watch, (run, frame, pc), (mask, mask))?;
    warp.groups[0].state = State::Ready;
    warp.groups[0].pc += 1;
    Ok(())
}

/// No group is ready. `true` if one is now, `false` if the warp waits for others of the block; a fault if lanes wait for lanes that never
/// come.
pub(super) fn give_up(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
) -> Result<bool, Fault> {
    // A group at a barrier of the block may still bring the missing lanes; without one, nobody will.
    let others = warp.groups.iter().any(|g| matches!(g.state, State::Barrier(_) | State::Cluster));
    let Some(i) = warp.groups.iter().position(|g| g.state == State::Convergence) else {
        return if others { Ok(false) } else { never_come(warp).map(|()| false) };
    };
    if world.settings.strict && others {
        return Ok(false);
    }
    warp.groups.swap(0, i);
    if world.settings.strict {
        return Err(divergent_barrier(world, warp));
    }
    // As the hardware has it since compute capability 7.0, each lane arrives for itself.
    barrier::arrive(world, block, warp, watch)?;
    Ok(true)
}

fn divergent_barrier(world: World<'_>, warp: &Warp) -> Fault {
    let here = warp.groups[0].mask;
    let line = |pc: u32| world.program.lines.get(pc as usize).map_or(0, |l| l.ptx);
    let others: Vec<String> = warp.groups[1..]
        .iter()
        .map(|g| format!("lanes {:#010x} are at line {}", g.mask, line(g.pc)))
        .collect();
    let message = format!(
        "divergent barrier: lanes {here:#010x} of a warp are at it, which all of its lanes must reach together; {}",
        others.join(", ")
    );
    Fault::new(FaultKind::Finding, here.trailing_zeros(), message)
}

/// The fault of lanes that wait for lanes at another place, if there are any.
fn never_come(warp: &mut Warp) -> Result<(), Fault> {
    let waits = |s: State| match s {
        State::Sync(named) | State::WarpBarrier(named) => Some(named),
        State::Ready | State::Barrier(_) | State::Cluster | State::Convergence => None,
    };
    let waiting = warp.groups.iter().enumerate().filter_map(|(i, g)| Some((i, waits(g.state)?)));
    let found = waiting.min_by_key(|&(i, _)| warp.groups[i].mask.trailing_zeros());
    let Some((i, named)) = found else { return Ok(()) };
    warp.groups.swap(0, i);
    let here = match warp.groups[0].state {
        State::WarpBarrier(_) => arrived(warp, named),
        _ => warp.groups[0].mask,
    };
    let message =
        format!("lanes {here:#010x} wait for lanes {:#010x}, which never come", named & warp.live() & !here);
    Err(Fault::new(FaultKind::Timeout, warp.groups[0].mask.trailing_zeros(), message))
}

/// The group at the front arrives at the barrier of the block at its instruction, which runs in `mask`: at once, or when the warp has
/// gathered.
pub(super) fn reach_barrier(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    mask: u32,
) -> Result<(), Fault> {
    let instr = &world.program.code[warp.groups[0].pc as usize];
    debug_assert!(matches!(instr.exec, Exec::Control(Control::Barrier)), "called at barriers alone");
    if barrier::BarrierForm::decode(instr.flags).aligned && mask != warp.live() {
        warp.groups[0].state = State::Convergence;
        return Ok(());
    }
    barrier::arrive(world, block, warp, watch)
}
