//! Programmatic dependent launches: a launch that may start before the one before it ends touches what that one writes only
//! after `griddepcontrol.wait`. Launches run one after another here, so that the values are right all the same; hardware may
//! give old ones. Tests: `tests/check_dependence.rs`.

use super::{report, sets::Mix, shadow, threads::lanes};
use crate::{
    machine::{Access, AccessKind, Event, Fault, FaultKind, Observer, Scene},
    memory::each_word,
    ptx::ast::Space,
};
use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes written, by page.
type Written = HashMap<u64, Box<[u64; 64]>, BuildHasherDefault<Mix>>;

/// The checker. It keeps account of what every launch writes.
#[derive(Debug, Default)]
pub struct Dependence {
    /// Whether the next launch may start before the one before it ends.
    next: Arc<AtomicBool>,
    /// What the launch before wrote, and its kernel.
    before: Option<(String, Written)>,
    now: Written,
    dependent: bool,
    /// Of each warp of the grid, the lanes that have waited.
    waited: Vec<u32>,
    warps: u32,
}

impl Dependence {
    /// A checker that asks `next` of each launch whether it may start before the one before it ends.
    pub fn new(next: Arc<AtomicBool>) -> Dependence {
        Dependence { next, ..Dependence::default() }
    }

    fn warp(&mut self, scene: &Scene<'_>) -> &mut u32 {
        let at = (scene.place.block * self.warps + scene.place.warp) as usize;
        if self.waited.len() <= at {
            self.waited.resize(at + 1, 0);
        }
        &mut self.waited[at]
    }

    fn check(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        let early = access.mask & !*self.warp(scene);
        let Some((kernel, written)) = &self.before else { return Ok(()) };
        for lane in lanes(early) {
            let address = access.addresses[lane as usize];
            let mut found = false;
            let page = |word: u64| written.get(&(word / 64)).map_or(0, |p| p[(word % 64) as usize]);
            each_word(address, u64::from(access.bytes), |word, bits| {
                found |= page(word as u64) & bits != 0;
            });
            if found {
                let message = format!(
                    "missing griddepcontrol.wait: access of {}, which the launch of {kernel} before writes: this launch may start while that still runs",
                    report::memory(scene, Space::Global, address)
                );
                return Err(Fault::new(FaultKind::Finding, lane, message));
            }
        }
        Ok(())
    }
}

impl Observer for Dependence {
    fn follows(&self) -> bool {
        false
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if access.space != Space::Global {
            return Ok(());
        }
        if self.dependent {
            self.check(scene, access)?;
        }
        if !matches!(access.kind, AccessKind::Load | AccessKind::CopyRead) {
            for lane in lanes(access.mask) {
                each_word(access.addresses[lane as usize], u64::from(access.bytes), |word, bits| {
                    let page = self.now.entry(word as u64 / 64).or_insert_with(|| Box::new([0; 64]));
                    page[word % 64] |= bits;
                });
            }
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        match *event {
            Event::LaunchStart => {
                self.dependent = self.next.load(Ordering::Relaxed) && self.before.is_some();
                self.now.clear();
                self.waited.clear();
                let threads: u32 = scene.launch.block.iter().product();
                self.warps = threads.div_ceil(32).max(1);
            }
            Event::LaunchEnd => {
                let name = scene.program.functions[scene.launch.kernel].name.clone();
                let mut written = mem::take(&mut self.now);
                // A dependent launch that ends does not end the wait of the next for the launches before.
                if let Some((_, older)) = self.before.take().filter(|_| self.dependent) {
                    for (page, bits) in older {
                        let mine = written.entry(page).or_insert_with(|| Box::new([0; 64]));
                        mine.iter_mut().zip(bits.iter()).for_each(|(a, b)| *a |= b);
                    }
                }
                self.before = Some((name, written));
            }
            Event::DependencyWait { mask } => *self.warp(scene) |= mask,
            Event::BarrierComplete { .. } => {
                // Threads of a block that meet learn that one of them has waited.
                let first = (scene.place.block * self.warps) as usize;
                let end = (first + self.warps as usize).min(self.waited.len());
                if let Some(block) = self.waited.get_mut(first..end)
                    && block.iter().any(|&w| w != 0)
                {
                    block.fill(u32::MAX);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

const _: () = assert!(shadow::PAGE == 64 * 64, "a page has a bit for each byte");
