//! The same launch under several schedules.

use super::{Fault, FaultKind, Launch, Machine, Order, Where};
use crate::program::Program;
use std::sync::atomic::Ordering::Relaxed;

impl Machine {
    /// Runs a launch once for each seed, each time from the same contents of memory, and compares what it leaves there. Memory then holds
    /// what the first run left. A fault of kind `Finding` if results differ.
    pub fn launch_repeatedly(
        &mut self,
        program: &Program,
        launch: &Launch,
        seeds: &[u64],
    ) -> Result<(), Fault> {
        let order = self.settings.order;
        let before = self.contents();
        let mut first: Option<(u64, Vec<Vec<u32>>)> = None;
        let (mut outcome, mut printed) = (Ok(()), 0);
        for &seed in seeds {
            self.restore(&before);
            self.settings.order = Order::Random(seed);
            outcome = self.launch(program, launch);
            if first.is_some() {
                self.watch.output.truncate(printed);
            }
            printed = self.watch.output.len();
            if outcome.is_ok() {
                let after = self.contents();
                match &first {
                    Some((other, expected)) => {
                        outcome = self.same(program, launch, (*other, expected), (seed, &after));
                    }
                    None => first = Some((seed, after)),
                }
            }
            if outcome.is_err() {
                break;
            }
        }
        if let (Some((_, after)), Ok(())) = (&first, &outcome) {
            self.restore(after);
        }
        self.settings.order = order;
        outcome
    }

    fn contents(&self) -> Vec<Vec<u32>> {
        let words = |a: &std::sync::Arc<crate::memory::Allocation>| {
            a.words().iter().map(|w| w.load(Relaxed)).collect()
        };
        self.memory.allocations().iter().map(words).collect()
    }

    fn restore(&self, contents: &[Vec<u32>]) {
        for (allocation, words) in self.memory.allocations().iter().zip(contents) {
            allocation.words().iter().zip(words).for_each(|(to, &w)| to.store(w, Relaxed));
        }
    }

    fn same(
        &self,
        program: &Program,
        launch: &Launch,
        (seed_a, a): (u64, &[Vec<u32>]),
        (seed_b, b): (u64, &[Vec<u32>]),
    ) -> Result<(), Fault> {
        for (allocation, (a, b)) in self.memory.allocations().iter().zip(a.iter().zip(b)) {
            let Some(word) = (0..a.len()).find(|&w| a[w] != b[w]) else { continue };
            let count = (0..a.len()).filter(|&w| a[w] != b[w]).count();
            let message = format!(
                "results depend on the schedule: {count} words of the {} bytes at {:#x} differ, the first at offset {}: {:#010x} with \
                 seed {seed_a}, {:#010x} with seed {seed_b}",
                allocation.len,
                allocation.base,
                4 * word,
                a[word],
                b[word]
            );
            let mut fault = Fault::new(FaultKind::Finding, 0, message);
            fault.place = Where::new(program, launch, [0; 3], 0, program.functions[launch.kernel].start);
            return Err(fault);
        }
        Ok(())
    }
}
