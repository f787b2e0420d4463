//! Aligned barriers (`bar.sync`, `barrier.sync.aligned`), which all lanes of a warp must run together. Hardware lets lanes arrive one by
//! one, and counts lanes that leave as arrived; programs that rely on it are undefined. Tests: `tests/check_waits.rs`.

use super::report;
use crate::{
    machine::{Access, BarrierForm, Event, Fault, FaultKind, Observer, Scene, Step},
    program::{Control, Exec},
};
use std::collections::HashMap;

/// Lanes of a warp at an aligned barrier.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The barrier, once they have arrived.
    id: Option<u32>,
    pc: u32,
    mask: u32,
    /// Other lanes of the warp that have accessed memory since.
    worked: u32,
}

/// The checker.
#[derive(Debug, Default)]
pub struct Convergence {
    /// By block and warp.
    waiting: HashMap<(u32, u32), Waiting>,
}

impl Convergence {
    /// Lanes are at an aligned barrier: those of one warp must all be at the same.
    fn reach(&mut self, scene: &Scene<'_>, mask: u32) -> Result<&mut Waiting, Fault> {
        let pc = scene.place.pc;
        let fresh = Waiting { id: None, pc, mask, worked: 0 };
        let w = self.waiting.entry((scene.place.block, scene.place.warp)).or_insert(fresh);
        if w.pc != pc {
            return Err(divergent(scene, w, mask, "run an aligned barrier", "another"));
        }
        w.mask |= mask;
        w.worked &= !mask;
        Ok(w)
    }
}

impl Observer for Convergence {
    /// Barriers are all it wants.
    fn follows(&self) -> bool {
        false
    }

    fn instruction(&mut self, scene: &Scene<'_>, step: &Step<'_, '_>) -> Result<(), Fault> {
        if step.mask != 0 && matches!(step.instr.exec, Exec::Control(Control::Barrier)) {
            let form = BarrierForm::decode(step.instr.flags);
            if form.aligned && !form.arrive {
                self.reach(scene, step.mask)?;
            }
        }
        Ok(())
    }

    fn access(&mut self, scene: &Scene<'_>, access: &Access<'_>) -> Result<(), Fault> {
        if !self.waiting.is_empty()
            && let Some(w) = self.waiting.get_mut(&(scene.place.block, scene.place.warp))
        {
            w.worked |= access.mask & !w.mask;
        }
        Ok(())
    }

    fn event(&mut self, scene: &Scene<'_>, event: &Event) -> Result<(), Fault> {
        let key = (scene.place.block, scene.place.warp);
        match *event {
            Event::LaunchStart => self.waiting.clear(),
            Event::BarrierArrive { id, mask, arrive_only: false } => {
                let pc = scene.place.pc;
                let aligned =
                    scene.program.code.get(pc as usize).map(|i| BarrierForm::decode(i.flags).aligned);
                if aligned != Some(true) {
                    return Ok(());
                }
                self.reach(scene, mask)?.id = Some(id);
            }
            Event::BarrierComplete { id } => {
                self.waiting.retain(|&(block, _), w| block != scene.place.block || w.id != Some(id));
            }
            Event::Exit { mask } => {
                if let Some(w) = self.waiting.get(&key).filter(|w| w.worked & mask != 0) {
                    let this = "leave the kernel without it";
                    return Err(divergent(scene, w, mask, this, "an aligned barrier"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Lanes `mask` do `this` while those of `w` wait at `there`.
fn divergent(scene: &Scene<'_>, w: &Waiting, mask: u32, this: &str, there: &str) -> Fault {
    let thread = 32 * scene.place.warp + (w.mask.trailing_zeros() & 31);
    let message = format!(
        "divergent barrier: lanes {mask:#010x} {this} while lanes {:#010x} of their warp wait at {there}: {}",
        w.mask,
        report::place(scene, scene.place.block, thread, w.pc)
    );
    Fault::new(FaultKind::Finding, mask.trailing_zeros() & 31, message)
}
