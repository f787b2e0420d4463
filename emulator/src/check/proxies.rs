//! Bulk copies out of shared memory: what they read may not be written before somebody waits for them, and threads that wrote it must
//! have fenced.
//!
//! Stores of threads reach a bulk copy through another path than other threads' loads: after the store, the thread that wrote, the
//! one that issues the copy or a third must fence; other threads than the writer after they waited at a barrier that came after
//! the store, and a third before a barrier at which the issuer waits. Data that `cp.async` brought is not looked at.
//! Tests: `tests/check_proxies.rs`.

use super::{report, threads::lanes};
use crate::{
    machine::{Access, AccessKind, Event, Fault, FaultKind, Observer, Scene},
    ptx::ast::Space,
};

/// The last store of a thread to a word.
#[derive(Debug, Clone, Copy)]
struct Write {
    thread: u32,
    time: u64,
    pc: u32,
}

/// What is known of a block.
#[derive(Default)]
struct Block {
    words: Vec<Option<Write>>,
    /// What copies under way may still read.
    sources: Vec<Source>,
    threads: Vec<Thread>,
}

/// What a copy under way may still read.
#[derive(Debug, Clone, Copy)]
struct Source {
    offset: u32,
    bytes: u32,
    thread: u32,
    pc: u32,
}

/// What a thread did last.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    /// When it went on after a barrier.
    synchronised: u64,
    /// When it fenced.
    fenced: u64,
    /// When a thread that fenced had gone on after a barrier before that: itself, or one that it has waited for since.
    before_fence: u64,
}

impl Thread {
    /// The thread goes on after a barrier, at which the latest fence of all was `fence`.
    fn wait(&mut self, time: u64, fence: u64) {
        (self.synchronised, self.before_fence) = (time, self.before_fence.max(fence));
    }
}

/// The checker.
#[derive(Default)]
pub struct Proxies {
    blocks: Vec<Option<Block>>,
    /// Accesses and fences so far.
    time: u64,
}

impl Block {
    fn words(&mut self, address: u64, bytes: u32) -> &mut [Option<Write>] {
        let end = self.words.len();
        let first = (address as usize / 4).min(end);
        let last = (address as usize + bytes as usize).div_ceil(4).min(end);
        &mut self.words[first..last]
    }

    fn thread(&self, thread: u32) -> Thread {
        self.threads.get(thread as usize).copied().unwrap_or_default()
    }

    /// A finding if the bytes are among those that copies under way may still read.
    fn overwritten(&self, scene: &Scene<'_>, lane: u32, address: u64, bytes: u32) -> Result<(), Fault> {
        let meets = |s: &&Source| {
            address < u64::from(s.offset) + u64::from(s.bytes)
                && u64::from(s.offset) < address + u64::from(bytes)
        };
        let Some(source) = self.sources.iter().find(meets) else { return Ok(()) };
        let who = report::place(scene, scene.place.block, source.thread, source.pc);
        let message = format!(
            "missing wait: write to shared memory at offset {address:#x}, which a bulk copy under way may still read, issued by \
             {who}"
        );
        Err(Fault::new(FaultKind::Finding, lane, message))
    }

    /// The latest `before_fence` among the lanes `mask` of the first `n` threads from a warp on; beyond 32, of all of them.
    fn latest_fence(&self, warp: u32, mask: u32, n: usize) -> u64 {
        let threads = self.threads.iter().skip(32 * warp as usize).take(n).enumerate();
        let takes_part = |&(i, _): &(usize, &Thread)| mask >> (i % 32) & 1 == 1;
        threads.filter(takes_part).map(|(_, t)| t.before_fence).max().unwrap_or(0)
    }

    /// The threads of these lanes of a warp.
    fn each_thread(&mut self, warp: u32, mask: u32, change: impl Fn(&mut Thread)) {
        let all = self.threads.iter_mut().skip(32 * warp as usize).take(32).enumerate();
        all.filter(|(lane, _)| mask >> lane & 1 == 1).for_each(|(_, thread)| change(thread));
    }
}

impl Observer for Proxies {
    fn follows(&self) -> bool {
        false
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if access.space != Space::Shared || matches!(access.kind, AccessKind::Load | AccessKind::CopyRead) {
            return Ok(());
        }
        let Some(Some(block)) = self.blocks.get_mut(scene.place.block as usize) else { return Ok(()) };
        self.time += 1;
        let write =
            |lane: u32| Write { thread: 32 * scene.place.warp + lane, time: self.time, pc: scene.place.pc };
        if access.contiguous && access.bytes >= 4 && block.sources.is_empty() {
            let words = block.words(access.addresses[0], 32 * access.bytes);
            for (lane, words) in (0..).zip(words.chunks_mut(access.bytes as usize / 4)) {
                words.fill(Some(write(lane)));
            }
            return Ok(());
        }
        for lane in lanes(access.mask) {
            let address = access.addresses[lane as usize & 31];
            block.overwritten(scene, lane, address, access.bytes)?;
            match access.kind {
                AccessKind::CopyWrite => block.words(address, access.bytes).fill(None),
                _ => block.words(address, access.bytes).fill(Some(write(lane))),
            }
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        let number = scene.place.block as usize;
        match *event {
            Event::LaunchStart => *self = Proxies::default(),
            Event::BlockStart { shared_bytes } => {
                if self.blocks.len() <= number {
                    self.blocks.resize_with(number + 1, || None);
                }
                let threads = scene.launch.block.iter().product::<u32>() as usize;
                let words = vec![None; shared_bytes.div_ceil(4) as usize];
                self.blocks[number] =
                    Some(Block { words, sources: Vec::new(), threads: vec![Thread::default(); threads] });
            }
            Event::BlockEnd => {
                if let Some(block) = self.blocks.get_mut(number) {
                    *block = None;
                }
            }
            Event::CopySource { offset, bytes, lane } => {
                let Some(Some(block)) = self.blocks.get_mut(number) else { return Ok(()) };
                check(block, scene, lane, u64::from(offset), bytes)?;
                let thread = 32 * scene.place.warp + lane;
                block.sources.push(Source { offset, bytes, thread, pc: scene.place.pc });
            }
            Event::CopySourceRead { offset, bytes, lane } => {
                let Some(Some(block)) = self.blocks.get_mut(number) else { return Ok(()) };
                let thread = 32 * scene.place.warp + lane;
                let same = |s: &Source| (s.offset, s.bytes, s.thread) == (offset, bytes, thread);
                if let Some(at) = block.sources.iter().position(same) {
                    block.sources.remove(at);
                }
            }
            Event::CopyPending { offset, bytes, lane } => {
                let Some(Some(block)) = self.blocks.get_mut(number) else { return Ok(()) };
                block.overwritten(scene, lane, u64::from(offset), bytes)?;
            }
            _ => self.order(scene, event),
        }
        Ok(())
    }
}

impl Proxies {
    /// Fences and barriers.
    fn order(&mut self, scene: &Scene<'_>, event: &Event) {
        self.time += 1;
        let (time, warp) = (self.time, scene.place.warp);
        let Some(Some(block)) = self.blocks.get_mut(scene.place.block as usize) else { return };
        match *event {
            Event::ProxyFence { mask } => block.each_thread(warp, mask, |thread| {
                (thread.fenced, thread.before_fence) = (time, thread.synchronised);
            }),
            Event::BarrierComplete { .. } => {
                let fence = block.latest_fence(0, u32::MAX, usize::MAX);
                block.threads.iter_mut().for_each(|t| t.wait(time, fence));
            }
            Event::WarpBarrier { mask } => {
                let fence = block.latest_fence(warp, mask, 32);
                block.each_thread(warp, mask, |thread| thread.wait(time, fence));
            }
            // Whoever arrived: all of the block may have.
            Event::MbarrierWait { mask, .. } => {
                let fence = block.latest_fence(0, u32::MAX, usize::MAX);
                block.each_thread(warp, mask, |thread| thread.wait(time, fence));
            }
            _ => {}
        }
    }
}

/// A bulk copy that `lane` issues reads these bytes.
fn check(block: &mut Block, scene: &Scene<'_>, lane: u32, address: u64, bytes: u32) -> Result<(), Fault> {
    let issuer = block.thread(32 * scene.place.warp + lane).before_fence;
    let words: Vec<Option<Write>> = block.words(address, bytes).to_vec();
    let unfenced = |w: &Write| w.time > issuer && w.time > block.thread(w.thread).fenced;
    let Some((i, write)) = words.iter().enumerate().find_map(|(i, w)| w.filter(unfenced).map(|w| (i, w)))
    else {
        return Ok(());
    };
    let line = scene.program.lines.get(write.pc as usize).map_or(0, |l| l.ptx);
    let message = format!(
        "missing fence.proxy.async: bulk copy reads shared offset {:#x}, which thread {} wrote at PTX line {line}, without such a fence since by \
         either thread",
        address as usize / 4 * 4 + 4 * i,
        write.thread
    );
    Err(Fault::new(FaultKind::Finding, lane, message))
}
