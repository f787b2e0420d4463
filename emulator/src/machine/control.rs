//! Instructions that change where lanes go on, or make them wait.

use super::{
    Event, Fault, Watch,
    block::BlockInfo,
    call, cluster, gather,
    run::World,
    warp::{State, Warp},
};
use crate::program::Control;

/// Everything that ends a straight run: `mask` are the lanes of the group at the front that do it, the others go on behind it.
pub(super) fn control(
    world: World<'_>,
    block: &mut BlockInfo,
    warp: &mut Warp,
    watch: &mut Watch,
    control: Control,
    mask: u32,
) -> Result<(), Fault> {
    let instr = &world.program.code[warp.groups[0].pc as usize];
    let scene = world.scene(block.number, warp.info.index, warp.groups[0].pc);
    if control == Control::WarpBarrier {
        return gather::wait(warp, instr.r[0], mask, State::WarpBarrier);
    }
    warp.leave_behind(mask, 1);
    match control {
        Control::Branch => {
            if instr.imm as u32 <= warp.groups[0].pc {
                warp.yields |= std::mem::take(&mut warp.info.polled);
                warp.spins += 1;
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
            block.barriers.leave(warp.info.index, mask);
            watch.event(&scene, &Event::Exit { mask })?;
            crate::ops::leave(world.settings, world.program, &mut block.transfers, &warp.info, mask)?;
            warp.groups.swap_remove(0);
            Ok(())
        }
        Control::Barrier => gather::reach_barrier(world, block, warp, watch, mask),
        Control::ClusterWait => {
            let event = cluster::wait(warp, mask)?;
            event.map_or(Ok(()), |event| watch.event(&scene, &event))
        }
        Control::WarpBarrier => unreachable!("dealt with above"),
    }
}
