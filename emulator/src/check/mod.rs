//! Checks that make a launch stricter than hardware.
//!
//! [`Checker`] makes the observers of a machine (see [`crate::machine::Observer`]): races, uses of values never written, asynchronous copies misused. What it
//! finds is a fault that names what was found, where, and the other party. The interpreter itself finds accesses out of
//! bounds and misaligned, barriers that not all reach, and deadlocks. Called by `driver` and by tests; tests: `tests/check_*.rs`.

mod brought;
mod clock;
mod convergence;
mod copies;
mod dependence;
mod extent;
mod follow;
mod places;
mod poison;
mod proxies;
mod races;
mod relations;
mod releases;
mod report;
mod sets;
mod shadow;
mod threads;
mod undefined;

pub use convergence::Convergence;
pub use copies::Copies;
pub use dependence::Dependence;
pub use proxies::Proxies;
pub use races::Races;
pub use undefined::Undefined;

use crate::machine::{Machine, Observer};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Races in shared and global memory.
    pub races: bool,
    /// Two lanes that store equal values to one place in one instruction count as a race.
    pub equal_values: bool,
    /// Uses of registers and of memory that nobody wrote.
    pub undefined: bool,
    /// Asynchronous copies that nobody waits for, or of what no proxy fence let through, divergent barriers, and dependent launches that do not wait.
    pub waits: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { races: true, equal_values: false, undefined: true, waits: true }
    }
}

/// Makes the observers.
#[derive(Debug, Clone, Default)]
pub struct Checker {
    options: Options,
    dependent: Arc<AtomicBool>,
}

impl Checker {
    /// A checker of these things.
    pub fn new(options: Options) -> Checker {
        Checker { options, dependent: Arc::default() }
    }

    /// Has a machine watched, from before it allocates memory.
    pub fn watch(&self, machine: &mut Machine) {
        if self.options.undefined {
            machine.memory.track_written();
        }
        machine.settings.strict = self.options.waits;
        machine.watch.observers = self.observers();
    }

    /// Says of the launches from now on whether they may start before the one before them ends.
    pub fn set_dependent(&self, dependent: bool) {
        self.dependent.store(dependent, Ordering::Relaxed);
    }

    /// The observers for a machine; they stay for all its launches.
    pub fn observers(&self) -> Vec<Box<dyn Observer>> {
        let mut all: Vec<Box<dyn Observer>> = Vec::new();
        if self.options.races {
            all.push(Box::new(Races::new(self.options.equal_values)));
        }
        if self.options.waits {
            all.push(Box::new(Copies::default()));
            all.push(Box::new(Proxies::default()));
            all.push(Box::new(Convergence::default()));
            all.push(Box::new(Dependence::new(self.dependent.clone())));
        }
        if self.options.undefined {
            all.push(Box::new(Undefined::default()));
        }
        all
    }
}
