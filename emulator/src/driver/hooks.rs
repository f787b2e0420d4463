//! Where the checks, the counters and the report plug in.
//!
//! [`Hooks::watch_for`] gives the observers of a launch, [`Hooks::after_launch`] takes them back with its outcome, and
//! [`Hooks::host`] hears of what the host does with device memory. Findings are texts, in order.

use super::{
    code::{Code, Error},
    options::Options,
    work::KernelWork,
};
use crate::machine::{Fault, Watch};

/// Something that the host does with device memory, in the order in which it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the checks read what the driver tells")]
pub enum HostEvent {
    /// Memory of this base and length is allocated. Its contents are undefined.
    Allocated(u64, u64),
    /// The memory of this base and length is freed.
    Freed(u64, u64),
    /// Bytes were written: address and length.
    Written(u64, u64),
    /// Bytes were read: address and length.
    Read(u64, u64),
    /// Bytes were copied inside device memory: to, from, length.
    Copied(u64, u64, u64),
}

/// The observers that outlive a launch, and what was found.
#[derive(Default)]
pub struct Hooks {
    findings: Vec<String>,
    last_error: Option<String>,
}

impl Hooks {
    /// The observers of a launch.
    pub fn watch_for(&mut self, _options: &Options, _kernel: &KernelWork) -> Watch {
        Watch::default()
    }

    /// Takes the observers of a launch back, with its outcome.
    pub fn after_launch(
        &mut self,
        options: &Options,
        _kernel: &KernelWork,
        _watch: Watch,
        outcome: &Result<(), Fault>,
    ) {
        if let Err(fault) = outcome {
            self.finding(options, fault.to_string());
        }
    }

    /// An allocation is alive when its context or the process ends.
    pub fn leak(&mut self, options: &Options, what: &str) {
        if options.check.is_some() {
            self.finding(options, format!("leak: {what} was never freed"));
        }
    }

    /// The host did something with device memory.
    pub fn host(&mut self, _options: &Options, _event: HostEvent) {}

    /// The process ends: the time for reports.
    pub fn at_exit(&mut self, _options: &Options) {}

    /// A call fails: kept for `cuda_emulator_last_error`.
    pub fn failed_call(&mut self, name: &str, error: &Error) {
        if error.code != Code::NOT_READY {
            self.last_error = Some(format!("{name}: {} (code {})", error.message, error.code.0));
        }
    }

    /// Adds a finding, and tells the user of it.
    pub fn finding(&mut self, options: &Options, text: String) {
        if !options.quiet {
            eprintln!("cuda-emulator: {text}");
        }
        self.findings.push(text);
    }

    /// All findings so far, and none from now on.
    pub fn take_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }

    /// The last call that failed, and why.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}
