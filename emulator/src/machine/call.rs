//! Calls of device functions, and branches by table.

use super::{
    Fault, FaultKind, Slot,
    run::World,
    warp::{Frame, Warp},
};
use crate::{
    memory::FUNCTION_BASE,
    program::{Instr, Program},
};

/// Bytes of local memory of a thread: as much as hardware gives.
const LOCAL_LIMIT: u32 = 512 << 10;

/// The group at the front calls the function of its call site.
pub(super) fn direct(world: World<'_>, warp: &mut Warp, instr: &Instr) -> Result<(), Fault> {
    match world.program.calls[instr.imm as usize].function {
        Some(function) => enter(world.program, warp, instr.imm as u32, function),
        None => unreachable!("lowering resolves the targets of direct calls"),
    }
}

/// The lanes of the group at the front call the functions whose addresses they hold: one group for each.
pub(super) fn indirect(world: World<'_>, warp: &mut Warp, instr: &Instr) -> Result<(), Fault> {
    let (frame, mask) = (warp.groups[0].frame, warp.groups[0].mask);
    let registers = super::Registers { slots: &mut warp.slots[frame.slot as usize..], predicates: &mut [] };
    let addresses = *registers.double(instr.r[0]);
    let lane = mask.trailing_zeros();
    let together = same_as(&addresses, lane, mask);
    warp.leave_behind(together, 0);
    let address = addresses[lane as usize];
    let function = address.wrapping_sub(FUNCTION_BASE) as usize;
    let site = &world.program.calls[instr.imm as usize];
    let sizes = |list: &[(u32, u32)]| list.iter().map(|p| p.1).collect::<Vec<_>>();
    match world.program.functions.get(function).filter(|f| !f.entry) {
        Some(f)
            if f.params.iter().map(|p| p.size).eq(sizes(&site.arguments))
                && f.returns.iter().map(|p| p.size).eq(sizes(&site.results)) =>
        {
            enter(world.program, warp, instr.imm as u32, function)
        }
        Some(f) => Err(Fault::new(
            FaultKind::InvalidPc,
            lane,
            format!("function {} does not match the prototype of the call", f.name),
        )),
        None => Err(Fault::new(
            FaultKind::InvalidPc,
            lane,
            format!("call of {address:#x}, which is not a function"),
        )),
    }
}

/// `brx.idx`: one group for each target.
pub(super) fn branch_table(world: World<'_>, warp: &mut Warp, instr: &Instr) -> Result<(), Fault> {
    let (frame, mask) = (warp.groups[0].frame, warp.groups[0].mask);
    let indices = warp.slots[frame.slot as usize + instr.r[0] as usize].0.map(u64::from);
    let lane = mask.trailing_zeros();
    let together = same_as(&indices, lane, mask);
    warp.leave_behind(together, 0);
    let table = &world.program.tables[instr.imm as usize];
    let index = indices[lane as usize];
    match table.get(index as usize) {
        Some(&target) => {
            warp.groups[0].pc = target;
            Ok(())
        }
        None => Err(Fault::new(
            FaultKind::InvalidPc,
            lane,
            format!("branch to entry {index} of a table of {}", table.len()),
        )),
    }
}

fn same_as(values: &[u64; 32], lane: u32, mask: u32) -> u32 {
    (0..32)
        .filter(|&l| mask >> l & 1 == 1 && values[l as usize] == values[lane as usize])
        .fold(0, |m, l| m | 1 << l)
}

fn enter(program: &Program, warp: &mut Warp, call: u32, function: usize) -> Result<(), Fault> {
    let group = &warp.groups[0];
    let (caller, mask, pc) = (group.frame, group.mask, group.pc);
    let from = &program.functions[caller.function as usize];
    let to = &program.functions[function];
    let frame = Frame {
        function: function as u32,
        // 64-bit registers begin at even numbers.
        slot: (caller.slot + u32::from(from.registers)).next_multiple_of(2),
        predicate: caller.predicate + u32::from(from.predicates),
        local: caller.local + from.local.next_multiple_of(16),
        return_pc: pc + 1,
        call,
    };
    if frame.local + to.local > LOCAL_LIMIT {
        let message =
            format!("calls nest too deep: {} needs more than {LOCAL_LIMIT} bytes of local memory", to.name);
        return Err(Fault::new(FaultKind::LaunchFailed, mask.trailing_zeros(), message));
    }
    warp.enter(to, frame, mask);
    for (&(offset, size), p) in program.calls[call as usize].arguments.iter().zip(&to.params) {
        copy_local(&mut warp.info.local, mask, caller.local + offset, frame.local + p.offset, size);
    }
    let group = &mut warp.groups[0];
    group.callers.push(caller);
    (group.frame, group.pc) = (frame, to.start);
    Ok(())
}

/// The group at the front returns to its caller.
pub(super) fn give_back(world: World<'_>, warp: &mut Warp) -> Result<(), Fault> {
    let group = &mut warp.groups[0];
    let (frame, mask) = (group.frame, group.mask);
    let Some(caller) = group.callers.pop() else { unreachable!("a function that returns has a caller") };
    (group.frame, group.pc) = (caller, frame.return_pc);
    let from = &world.program.functions[frame.function as usize];
    for (&(offset, size), p) in world.program.calls[frame.call as usize].results.iter().zip(&from.returns) {
        copy_local(&mut warp.info.local, mask, frame.local + p.offset, caller.local + offset, size);
    }
    Ok(())
}

/// Copies `size` bytes of local memory; both offsets are multiples of four.
fn copy_local(local: &mut [Slot], mask: u32, from: u32, to: u32, size: u32) {
    for word in 0..size.div_ceil(4) {
        let value = local[(from / 4 + word) as usize];
        let target = &mut local[(to / 4 + word) as usize].0;
        (0..32).filter(|l| mask >> l & 1 == 1).for_each(|l| target[l] = value.0[l]);
    }
}
