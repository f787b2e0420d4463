//! `barrier.cluster`: the barrier of a cluster, in two halves. A cluster is one block: launches of larger ones are refused.

use super::{
    Event, Fault, FaultKind,
    block::BlockInfo,
    warp::{State, Warp, WarpInfo},
};

/// The lanes of a warp between the two halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Halfway {
    /// Lanes that have arrived where others have not.
    arrived: u32,
    /// Lanes that may pass, because all have arrived.
    free: u32,
}

/// In place of the offset of an `mbarrier` object, this stands for the barrier of the cluster.
pub const CLUSTER_BARRIER: u32 = u32::MAX;

/// Lanes arrive.
pub fn arrive(warp: &mut WarpInfo, block: &mut BlockInfo, mask: u32) -> Result<(), Fault> {
    let again = mask & (warp.halfway.arrived | warp.halfway.free);
    if again != 0 {
        let message = "barrier.cluster.arrive a second time, without barrier.cluster.wait in between";
        return Err(Fault::new(FaultKind::IllegalInstruction, again.trailing_zeros(), message));
    }
    warp.halfway.arrived |= mask;
    block.cluster_arrived = true;
    Ok(())
}

/// The group at the front waits: those of its lanes pass that may. Gives what to tell the watchers.
pub(super) fn wait(warp: &mut Warp, mask: u32) -> Result<Option<Event>, Fault> {
    let halfway = &mut warp.info.halfway;
    let stray = mask & !(halfway.arrived | halfway.free);
    if stray != 0 {
        let message = "barrier.cluster.wait without barrier.cluster.arrive before it";
        return Err(Fault::new(FaultKind::IllegalInstruction, stray.trailing_zeros(), message));
    }
    let free = mask & halfway.free;
    halfway.free &= !free;
    if free == 0 {
        warp.groups[0].state = State::Cluster;
        return Ok(None);
    }
    if free != mask {
        let mut rest = warp.groups[0].clone();
        (rest.mask, rest.state) = (mask & !free, State::Cluster);
        warp.groups.push(rest);
    }
    (warp.groups[0].mask, warp.groups[0].pc) = (free, warp.groups[0].pc + 1);
    Ok(Some(Event::MbarrierWait { offset: CLUSTER_BARRIER, mask: free }))
}

/// If all threads that have not left have arrived, lets them pass; whether it did.
pub(super) fn release(block: &mut BlockInfo, warps: &mut [Warp]) -> bool {
    if !block.cluster_arrived || warps.iter().any(|w| w.live() & !w.info.halfway.arrived != 0) {
        return false;
    }
    block.cluster_arrived = false;
    for warp in warps {
        let halfway = &mut warp.info.halfway;
        halfway.free |= std::mem::take(&mut halfway.arrived);
        warp.groups.iter_mut().filter(|g| g.state == State::Cluster).for_each(|g| g.state = State::Ready);
    }
    true
}
