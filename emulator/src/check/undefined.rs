//! Uses of values that nobody defined: registers never written, shared and local memory not written in this launch, device memory
//! never written by host or kernel.
//!
//! Reading such a value is no finding: compilers read more than they use. Values computed from it are marked in turn, lane by
//! lane, until one decides something: an address, a guard or branch, a mask of lanes; or leaves the thread: a store to global
//! memory, an atomic operation, a matrix product. As long as no register of a warp is marked, its instructions are not looked
//! at: lowering knows which registers some path reads before it writes them. Tests: `tests/check_undefined.rs`.

use super::{
    brought::Brought,
    extent::{copy, first_clear, lanes_where, set, span},
    follow::{finding, follow},
    poison::{Mark, Poison},
    report::{self, Origin},
    threads::lanes,
};
use crate::{
    machine::{Access, AccessKind, Event, Fault, FaultKind, Frame, Observer, Scene, Step},
    program::{Access as UseAccess, Flow, Program, Use, Width},
    ptx::ast::Space,
};

/// What is known of a warp.
#[derive(Default)]
struct Warp {
    /// The marks of its registers, if there are any.
    poison: Option<Box<Poison>>,
    /// The lanes in which each byte of local memory holds something.
    local: Vec<u32>,
}

/// What is known of a block.
struct Block {
    /// A bit for each byte of shared memory that holds something.
    shared: Vec<u64>,
    warps: Vec<Warp>,
}

/// The checker.
#[derive(Default)]
pub struct Undefined {
    blocks: Vec<Option<Box<Block>>>,
    /// Warps that have marks.
    marked: usize,
    /// The allocation of the last global access.
    hint: usize,
    /// Of copies under way.
    brought: Brought,
}

impl Observer for Undefined {
    fn follows(&self) -> bool {
        self.marked > 0
    }

    fn instruction(&mut self, scene: &Scene<'_>, step: &Step<'_, '_>) -> Result<(), Fault> {
        if self.marked == 0 {
            return Ok(());
        }
        let Some(warp) = warp_at(&mut self.blocks, scene) else { return Ok(()) };
        let Some(poison) = &mut warp.poison else { return Ok(()) };
        follow(poison, scene, step)?;
        if poison.is_clear() {
            warp.poison = None;
            self.marked -= 1;
        }
        Ok(())
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        let reads = !matches!(access.kind, AccessKind::Store | AccessKind::CopyWrite);
        if reads {
            let lanes = self.unwritten(scene, access, 0, access.bytes);
            if lanes != 0 {
                self.read_unwritten(scene, access, lanes)?;
            }
        }
        match access.kind {
            AccessKind::Load | AccessKind::CopyRead => Ok(()),
            _ => self.write(scene, access),
        }
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        match *event {
            Event::LaunchStart => *self = Undefined::default(),
            Event::BlockStart { shared_bytes } => self.start_block(scene, shared_bytes),
            Event::BlockEnd => {
                self.brought.end_block(scene.place.block);
                if let Some(block) = self.blocks.get_mut(scene.place.block as usize) {
                    let ended = block.take();
                    let marked = |b: &Block| b.warps.iter().filter(|w| w.poison.is_some()).count();
                    self.marked -= ended.as_deref().map_or(0, marked);
                }
            }
            Event::CopyPending { offset, lane, .. } => self.brought.issued(scene.place.block, lane, offset),
            Event::Call { mask, callee, caller } => self.call(scene, mask, callee, caller),
            Event::Return { mask, callee, caller } => self.give_back(scene, mask, callee, caller),
            _ => {}
        }
        Ok(())
    }
}

fn warp_at<'a>(blocks: &'a mut [Option<Box<Block>>], scene: &Scene<'_>) -> Option<&'a mut Warp> {
    let block = blocks.get_mut(scene.place.block as usize)?.as_mut()?;
    block.warps.get_mut(scene.place.warp as usize)
}

impl Undefined {
    fn start_block(&mut self, scene: &Scene<'_>, shared_bytes: u32) {
        let number = scene.place.block as usize;
        if self.blocks.len() <= number {
            self.blocks.resize_with(number + 1, || None);
        }
        let threads: u32 = scene.launch.block.iter().product();
        let warps: Vec<Warp> = (0..threads.div_ceil(32)).map(|_| Warp::default()).collect();
        let block = Block { shared: vec![0; shared_bytes.div_ceil(64) as usize], warps };
        self.blocks[number] = Some(Box::new(block));
        let frame = Frame { function: scene.launch.kernel as u32, ..Frame::default() };
        for warp in 0..threads.div_ceil(32) {
            self.mark_undefined(scene.program, (number as u32, warp), frame, u32::MAX);
        }
    }

    /// Marks the registers that a function may read before it writes them.
    fn mark_undefined(&mut self, program: &Program, (block, warp): (u32, u32), frame: Frame, mask: u32) {
        let function = &program.functions[frame.function as usize];
        if function.undefined.is_empty() && function.undefined_predicates.is_empty() {
            return;
        }
        let Some(poison) = self.poison(block, warp) else { return };
        let mark = Mark { lanes: mask, origin: Origin::Register };
        for &register in &function.undefined {
            poison.set(frame, (u32::from(register), Width::Single), mask, mark);
        }
        for &register in &function.undefined_predicates {
            poison.set(frame, (u32::from(register), Width::Predicate), mask, mark);
        }
    }

    /// The marks of a warp, made if need be.
    fn poison(&mut self, block: u32, warp: u32) -> Option<&mut Poison> {
        let warp = self.blocks.get_mut(block as usize)?.as_mut()?.warps.get_mut(warp as usize)?;
        self.marked += usize::from(warp.poison.is_none());
        Some(warp.poison.get_or_insert_default())
    }

    /// The lanes for which some of the `bytes` bytes at `skip` bytes after their address were never written.
    #[inline(always)]
    fn unwritten(&mut self, scene: &Scene<'_>, access: &Access<'_>, skip: u32, bytes: u32) -> u32 {
        let (low, span) = span(access);
        match access.space {
            Space::Global => self.unwritten_global(scene, access, (low, span), (skip, bytes)),
            Space::Shared => {
                let Some(Some(block)) = self.blocks.get(scene.place.block as usize) else { return 0 };
                let missing = |at: u64, n: u64| first_clear(&block.shared, at, n).is_some();
                if span <= SPAN && !missing(low, span) {
                    return 0;
                }
                lanes_where(access, |_, a| missing(a + u64::from(skip), u64::from(bytes)))
            }
            Space::Local => {
                let Some(warp) = warp_at(&mut self.blocks, scene) else { return 0 };
                lanes_where(access, |lane, a| {
                    let first = a as usize + skip as usize;
                    let missing = |at: usize| warp.local.get(at).is_none_or(|w| w >> lane & 1 == 0);
                    (first..first + bytes as usize).any(missing)
                })
            }
            _ => 0,
        }
    }

    #[inline(always)]
    fn unwritten_global(
        &mut self,
        scene: &Scene<'_>,
        access: &Access<'_>,
        (low, span): (u64, u64),
        (skip, bytes): (u32, u32),
    ) -> u32 {
        let Some(at) = scene.memory.find(low, self.hint) else { return 0 };
        self.hint = at;
        let first = &scene.memory.allocations()[at];
        if first.contains(low, span)
            && (first.written.is_none() || (span <= SPAN && first.first_unwritten(low, span).is_none()))
        {
            return 0;
        }
        lanes_where(access, |_, a| {
            let (a, bytes) = (a + u64::from(skip), u64::from(bytes));
            let allocation =
                if first.contains(a, bytes) { Some(first) } else { scene.memory.range(a, bytes) };
            allocation.is_some_and(|x| x.first_unwritten(a, bytes).is_some())
        })
    }

    /// The lanes `unwritten` read memory that holds nothing.
    #[inline(never)]
    fn read_unwritten(
        &mut self,
        scene: &Scene<'_>,
        access: &Access<'_>,
        unwritten: u32,
    ) -> Result<(), Fault> {
        let place = scene.place;
        let lane = unwritten.trailing_zeros() & 31;
        let thread = 32 * place.warp + lane;
        let address = access.addresses[lane as usize];
        let origin =
            Origin::Memory { space: access.space, address, block: place.block, thread, pc: place.pc };
        if access.kind == AccessKind::CopyRead {
            if access.space == Space::Shared {
                return Err(finding(
                    scene,
                    "what a bulk copy brings to global memory",
                    Mark { lanes: unwritten, origin },
                ));
            }
            self.brought.read(scene, access, unwritten);
            return Ok(());
        }
        let flow = scene.program.flows[place.pc as usize];
        if flow == Flow::Atomic {
            let message =
                format!("atomic operation on a value never defined: {}", report::origin(scene, origin));
            return Err(Fault::new(FaultKind::Finding, lane, message));
        }
        let writes: Vec<Use> = destinations(scene.program, place.pc);
        for u in writes {
            let lanes = match flow {
                Flow::Load => self.unwritten(scene, access, u32::from(u.at) * access.element, access.element),
                _ => access.mask,
            };
            if let Some(poison) = self.poison(place.block, place.warp) {
                let mark = Mark { lanes, origin };
                poison.set(scene.frame, (u.register, u.width), access.mask, mark);
            }
        }
        Ok(())
    }

    /// A write: what is stored must be defined where others may see it; elsewhere it leaves its mark.
    fn write(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        let elements = access.bytes / access.element.max(1);
        let marks = self.stored(scene, access, elements as usize);
        let decides = access.space == Space::Global || matches!(access.kind, AccessKind::Atomic(_));
        if let Some(mark) = marks.iter().find(|m| decides && m.lanes != 0) {
            let what = match access.kind {
                AccessKind::Atomic(_) => "the operand of this atomic operation",
                _ => "the value stored to global memory",
            };
            return Err(finding(scene, what, *mark));
        }
        let place = scene.place;
        match access.space {
            Space::Global => {
                for lane in lanes(access.mask) {
                    let address = access.addresses[lane as usize];
                    let Some(at) = scene.memory.find(address, self.hint) else { continue };
                    self.hint = at;
                    let allocation = &scene.memory.allocations()[at];
                    let Some(written) = &allocation.written else { continue };
                    if access.contiguous {
                        written.set(address - allocation.base, 32 * u64::from(access.bytes), true);
                        break;
                    }
                    written.set(address - allocation.base, u64::from(access.bytes), true);
                }
            }
            Space::Shared => {
                let Some(Some(block)) = self.blocks.get_mut(place.block as usize) else { return Ok(()) };
                if access.contiguous && marks.is_empty() {
                    let (first, span) = span(access);
                    set(&mut block.shared, first, span, true);
                    return Ok(());
                }
                for lane in lanes(access.mask) {
                    let address = access.addresses[lane as usize];
                    set(&mut block.shared, address, u64::from(access.bytes), true);
                    if access.kind == AccessKind::CopyWrite {
                        let nothing = self.brought.landed(place.block, address, u64::from(access.bytes));
                        nothing.iter().for_each(|&(at, n)| set(&mut block.shared, at, n, false));
                    }
                    for (i, _) in marks.iter().enumerate().filter(|(_, m)| m.lanes >> lane & 1 == 1) {
                        let at = address + i as u64 * u64::from(access.element);
                        set(&mut block.shared, at, u64::from(access.element), false);
                    }
                }
            }
            _ => self.write_local(scene, access, &marks),
        }
        Ok(())
    }

    fn write_local(&mut self, scene: &Scene<'_>, access: &Access<'_>, marks: &[Mark]) {
        let Some(warp) = warp_at(&mut self.blocks, scene) else { return };
        for lane in lanes(access.mask) {
            let first = access.addresses[lane as usize] as usize;
            let end = first + access.bytes as usize;
            if warp.local.len() < end {
                warp.local.resize(end, 0);
            }
            for (i, byte) in warp.local[first..end].iter_mut().enumerate() {
                let mark = marks.get(i / access.element.max(1) as usize).copied().unwrap_or_default();
                *byte = *byte & !(1 << lane) | (!mark.lanes & 1 << lane);
            }
        }
    }

    /// The marks of the elements that a write stores; none if all are clear.
    #[inline(always)]
    fn stored(&mut self, scene: &Scene<'_>, access: &Access<'_>, elements: usize) -> Vec<Mark> {
        if self.marked == 0 || access.kind == AccessKind::CopyWrite {
            return Vec::new();
        }
        let Some(poison) = warp_at(&mut self.blocks, scene).and_then(|w| w.poison.as_ref()) else {
            return Vec::new();
        };
        let pc = scene.place.pc as usize;
        let sources = scene.program.uses[pc].iter().filter(|u| u.access == UseAccess::Read);
        let mut marks = vec![Mark::default(); elements];
        for u in sources {
            let mark = poison.of_use(scene.frame, u);
            match scene.program.flows[pc] {
                Flow::Store => {
                    if let Some(element) = marks.get_mut(usize::from(u.at)) {
                        *element = mark.within(access.mask);
                    }
                }
                Flow::Across if mark.lanes != 0 => {
                    marks.iter_mut().for_each(|m| *m = Mark { lanes: access.mask, ..mark });
                }
                _ => marks.iter_mut().for_each(|m| *m = m.or(mark.within(access.mask))),
            }
        }
        if marks.iter().all(|m| m.lanes == 0) { Vec::new() } else { marks }
    }

    fn call(&mut self, scene: &Scene<'_>, mask: u32, callee: Frame, caller: Frame) {
        let function = &scene.program.functions[callee.function as usize];
        let arguments = &scene.program.calls[callee.call as usize].arguments;
        if let Some(warp) = warp_at(&mut self.blocks, scene) {
            let end = (callee.local + function.local) as usize;
            if warp.local.len() < end {
                warp.local.resize(end, 0);
            }
            warp.local[callee.local as usize..end].iter_mut().for_each(|byte| *byte &= !mask);
            for (&(offset, size), p) in arguments.iter().zip(&function.params) {
                copy(&mut warp.local, mask, caller.local + offset, callee.local + p.offset, size);
            }
        }
        self.mark_undefined(scene.program, (scene.place.block, scene.place.warp), callee, mask);
    }

    fn give_back(&mut self, scene: &Scene<'_>, mask: u32, callee: Frame, caller: Frame) {
        let function = &scene.program.functions[callee.function as usize];
        let results = &scene.program.calls[callee.call as usize].results;
        if let Some(warp) = warp_at(&mut self.blocks, scene) {
            for (&(offset, size), p) in results.iter().zip(&function.returns) {
                copy(&mut warp.local, mask, callee.local + p.offset, caller.local + offset, size);
            }
        }
    }
}

/// Accesses over more bytes than this are looked at lane by lane.
const SPAN: u64 = 4096;

fn destinations(program: &Program, pc: u32) -> Vec<Use> {
    program.uses[pc as usize].iter().filter(|u| u.access == UseAccess::Write).copied().collect()
}
