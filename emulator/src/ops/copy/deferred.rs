//! What barriers of a block wait for besides threads: bulk copies into shared memory, and arrivals that follow copies.
//!
//! Each lands at the latest moment that the program allows: when a thread looks at the barrier, and what has not landed yet
//! would end the phase that the thread asks for. The watchers are told when a thread has seen that phase over.

use super::{Transfers, mbarrier, single};
use crate::{
    machine::{Access, AccessKind, Context, Event, Fault, FaultKind, Ordering, Scope},
    ops::memory::{each_lane, tell},
    ptx::ast::Space,
};

/// What a barrier waits for.
#[derive(Debug, Clone)]
pub struct Deferred {
    /// Offset of the barrier in shared memory.
    barrier: u32,
    what: What,
    /// The phase that it belonged to, once it has landed.
    phase: Option<u64>,
    /// Turns until it lands by itself.
    early: Option<u32>,
    /// The instruction and the thread that asked for it.
    pub pc: u32,
    /// See `pc`.
    pub thread: u32,
}

#[derive(Debug, Clone)]
enum What {
    /// A bulk copy into shared memory at this offset, of these words.
    Load(u32, Vec<u32>),
    /// An arrival of a lane of a warp when its copies before this serial number have landed.
    Arrival(u32, u32, u64),
}

impl What {
    fn apply(&self, object: &mut mbarrier::Object) -> Result<(), String> {
        match self {
            What::Load(_, words) => object.complete(4 * words.len() as u32),
            What::Arrival(..) => object.arrive(1),
        }
    }
}

fn push(cx: &mut Context<'_, '_>, lane: u32, barrier: u32, what: What) {
    let early = cx.block.transfers.early(cx.settings.order, cx.block.number);
    let (pc, thread) = (cx.pc, cx.thread(lane));
    cx.block.transfers.deferred.push(Deferred { barrier, what, phase: None, early, pc, thread });
}

/// Lanes arrive at the barrier when their copies so far have landed.
pub fn arrival(cx: &mut Context<'_, '_>, lanes: u32, barrier: u32) {
    let (warp, serial) = (cx.warp.index, cx.block.transfers.serial);
    single::track(&mut cx.block.transfers, warp, lanes);
    each_lane(lanes).for_each(|l| push(cx, l as u32, barrier, What::Arrival(warp, l as u32, serial)));
}

/// A lane copies words to shared memory at `offset`.
pub fn load(
    cx: &mut Context<'_, '_>,
    lane: u32,
    barrier: u32,
    offset: u32,
    words: Vec<u32>,
) -> Result<(), Fault> {
    let bytes = 4 * words.len() as u32;
    push(cx, lane, barrier, What::Load(offset, words));
    cx.event(&Event::CopyPending { offset, bytes, lane })
}

fn waits_for(barrier: u32) -> impl Fn(&Deferred) -> bool {
    move |d| d.barrier == barrier && d.phase.is_none()
}

/// Whether what has not landed would end the phase of the barrier at `offset` (or is wrong, which landing it will show).
pub fn would_end_phase(transfers: &Transfers, offset: u32) -> bool {
    let Some(mut object) = transfers.objects.get(&offset).copied() else { return false };
    let phase = object.phase;
    let mut waiting = transfers.deferred.iter().filter(|d| waits_for(offset)(d));
    waiting.any(|d| d.what.apply(&mut object).is_err() || object.phase != phase)
}

/// Lands, in order, what ends the phase of the barrier at `offset`.
pub fn end_phase(cx: &mut Context<'_, '_>, lane: u32, offset: u32) -> Result<(), Fault> {
    let phase = mbarrier::object(cx, lane as usize, offset)?.phase;
    while let Some(at) = cx.block.transfers.deferred.iter().position(waits_for(offset)) {
        let now = land(&mut cx.block.transfers, &mut cx.block.shared, at).map_err(|message| {
            let d = &cx.block.transfers.deferred[at];
            let line = cx.program.lines.get(d.pc as usize).map_or(0, |l| l.ptx);
            let message =
                format!("mbarrier at shared offset {offset:#x}: {message}, by the copy of PTX line {line}");
            cx.fault(FaultKind::IllegalInstruction, 1 << lane, message)
        })?;
        if now != phase {
            break;
        }
    }
    Ok(())
}

/// Lands one; gives the barrier's phase after it.
fn land(transfers: &mut Transfers, shared: &mut [u32], at: usize) -> Result<u64, String> {
    let Transfers { deferred, objects, single, .. } = transfers;
    let d = &mut deferred[at];
    let mut object = objects.get(&d.barrier).copied().ok_or("no longer an object")?;
    let phase = object.phase;
    d.what.apply(&mut object)?;
    match &d.what {
        What::Load(offset, words) => {
            let first = *offset as usize / 4;
            shared[first..first + words.len()].copy_from_slice(words);
        }
        What::Arrival(warp, lane, serial) => single::land_before(single, shared, *warp, *lane, *serial),
    }
    d.phase = Some(phase);
    mbarrier::put(objects, shared, d.barrier, object);
    Ok(object.phase)
}

/// Lets those land whose moment has come; a wrong one waits until somebody looks.
pub fn drift(transfers: &mut Transfers, shared: &mut [u32]) {
    for at in 0..transfers.deferred.len() {
        match &mut transfers.deferred[at].early {
            Some(0) => {
                transfers.deferred[at].early = None;
                if transfers.deferred[at].phase.is_none() {
                    let _ = land(transfers, shared, at);
                }
            }
            Some(turns) => *turns -= 1,
            None => {}
        }
    }
}

/// A lane has seen the phase before the current one over: tells the watchers what landed in it.
pub fn tell_landed(cx: &mut Context<'_, '_>, lane: u32, barrier: u32) -> Result<(), Fault> {
    let now = mbarrier::object(cx, lane as usize, barrier)?.phase;
    let seen = |d: &mut Deferred| d.barrier == barrier && d.phase.is_some_and(|p| p < now);
    let landed: Vec<Deferred> = cx.block.transfers.deferred.extract_if(.., seen).collect();
    for d in &landed {
        match &d.what {
            What::Load(offset, words) => tell_write(cx, lane, *offset, 4 * words.len() as u32)?,
            What::Arrival(warp, issuer, serial) => {
                for (offset, bytes) in single::forget_before(&mut cx.block.transfers, *warp, *issuer, *serial)
                {
                    tell_write(cx, lane, offset, bytes)?;
                }
            }
        }
    }
    // Who waits later learns of the landing through the barrier.
    if landed.is_empty() {
        Ok(())
    } else {
        cx.event(&Event::MbarrierArrive { offset: barrier, mask: 1 << lane })
    }
}

fn tell_write(cx: &mut Context<'_, '_>, lane: u32, offset: u32, bytes: u32) -> Result<(), Fault> {
    if !super::watched(cx) {
        return Ok(());
    }
    let access = Access {
        kind: AccessKind::CopyWrite,
        space: Space::Shared,
        ordering: Ordering::Weak,
        scope: Scope::System,
        bytes,
        mask: 1 << lane,
        addresses: &[u64::from(offset); 32],
        contiguous: false,
        element: bytes.min(16),
        values: &[],
    };
    tell(cx, &access)?;
    cx.event(&Event::CopyLanded { offset, bytes, lane })
}

/// What nobody waited for: of copies, the first.
pub fn left(transfers: &Transfers) -> Option<&Deferred> {
    transfers.deferred.iter().find(|d| match d.what {
        What::Load(..) => true,
        What::Arrival(warp, lane, serial) => single::pending_before(transfers, warp, lane, serial),
    })
}
