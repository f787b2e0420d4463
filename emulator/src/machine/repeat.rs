//! The same launch under several schedules.

use super::{Fault, FaultKind, Launch, Machine, Order, Where};
use crate::{
    memory::{Allocation, Written},
    program::Program,
};
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// What an allocation holds.
struct Contents {
    words: Vec<u32>,
    /// Which bytes were ever written, if that is asked.
    written: Option<Vec<u64>>,
}

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
        let mut first: Option<(u64, Vec<Contents>)> = None;
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

    fn contents(&self) -> Vec<Contents> {
        let contents = |a: &Arc<Allocation>| Contents {
            words: a.words().iter().map(|w| w.load(Relaxed)).collect(),
            written: a.written.as_ref().map(Written::contents),
        };
        self.memory.allocations().iter().map(contents).collect()
    }

    fn restore(&self, contents: &[Contents]) {
        for (allocation, Contents { words, written }) in self.memory.allocations().iter().zip(contents) {
            allocation.words().iter().zip(words).for_each(|(to, &w)| to.store(w, Relaxed));
            if let (Some(to), Some(written)) = (&allocation.written, written) {
                to.restore(written);
            }
        }
    }

    fn same(
        &self,
        program: &Program,
        launch: &Launch,
        (seed_a, a): (u64, &[Contents]),
        (seed_b, b): (u64, &[Contents]),
    ) -> Result<(), Fault> {
        for (allocation, (a, b)) in self.memory.allocations().iter().zip(a.iter().zip(b)) {
            let (a, b) = (&a.words, &b.words);
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
