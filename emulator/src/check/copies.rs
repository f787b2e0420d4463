//! Asynchronous copies into shared memory: bytes that are on their way may not be touched before somebody waits for them.
//! Tests: `tests/check_waits.rs`.

use super::report;
use crate::{
    machine::{Access, AccessKind, Event, Fault, FaultKind, Observer, Scene},
    ptx::ast::Space,
};

/// What is known of a word of shared memory.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// Who copies to it: the instruction and the thread.
    pending: Option<(u32, u32)>,
}

/// A block.
#[derive(Debug, Default)]
struct Block {
    words: Vec<Word>,
    /// Words with a copy under way.
    pending: u32,
}

/// The checker.
#[derive(Debug, Default)]
pub struct Copies {
    blocks: Vec<Option<Block>>,
}

impl Copies {
    fn block(&mut self, scene: &Scene<'_>) -> Option<&mut Block> {
        self.blocks.get_mut(scene.place.block as usize)?.as_mut()
    }
}

fn words(offset: u64, bytes: u32) -> std::ops::Range<usize> {
    (offset / 4) as usize..(offset + u64::from(bytes)).div_ceil(4) as usize
}

impl Observer for Copies {
    fn follows(&self) -> bool {
        false
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if access.space != Space::Shared || access.kind == AccessKind::CopyWrite {
            return Ok(());
        }
        let Some(block) = self.block(scene) else { return Ok(()) };
        if block.pending == 0 {
            return Ok(());
        }
        for lane in super::threads::lanes(access.mask) {
            let address = access.addresses[lane as usize];
            for at in words(address, access.bytes) {
                let Some(word) = block.words.get(at) else { continue };
                if let Some((pc, thread)) = word.pending {
                    let who = report::place(scene, scene.place.block, thread, pc);
                    let message = format!(
                        "missing wait: shared memory at offset {:#x} is the target of an asynchronous copy that nobody waited for, issued by {who}",
                        4 * at
                    );
                    return Err(Fault::new(FaultKind::Finding, lane, message));
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        match *event {
            Event::LaunchStart => self.blocks.clear(),
            Event::BlockStart { shared_bytes } => {
                let number = scene.place.block as usize;
                if self.blocks.len() <= number {
                    self.blocks.resize_with(number + 1, || None);
                }
                let words = vec![Word::default(); shared_bytes.div_ceil(4) as usize];
                self.blocks[number] = Some(Block { words, pending: 0 });
            }
            Event::BlockEnd => {
                if let Some(block) = self.blocks.get_mut(scene.place.block as usize) {
                    *block = None;
                }
            }
            Event::CopyPending { offset, bytes, lane } => return self.issue(scene, offset, bytes, lane),
            Event::CopyLanded { offset, bytes, .. } => {
                let Some(block) = self.block(scene) else { return Ok(()) };
                for at in words(u64::from(offset), bytes) {
                    if block.words.get_mut(at).is_some_and(|w| w.pending.take().is_some()) {
                        block.pending -= 1;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Copies {
    fn issue(&mut self, scene: &Scene<'_>, offset: u32, bytes: u32, lane: u32) -> Result<(), Fault> {
        let by = (scene.place.pc, 32 * scene.place.warp + lane);
        let Some(block) = self.block(scene) else { return Ok(()) };
        for at in words(u64::from(offset), bytes) {
            let Some(word) = block.words.get_mut(at) else { continue };
            if let Some((pc, thread)) = word.pending {
                let who = report::place(scene, scene.place.block, thread, pc);
                let message = format!(
                    "missing wait: asynchronous copy to shared memory at offset {:#x}, the target of another one that nobody waited for, issued by {who}",
                    4 * at
                );
                return Err(Fault::new(FaultKind::Finding, lane, message));
            }
            word.pending = Some(by);
            block.pending += 1;
        }
        Ok(())
    }
}
