//! Where the checks, the counters and the report plug in.
//!
//! [`Hooks::watch_for`] gives the observers of a launch, [`Hooks::after_launch`] takes them back with its outcome,
//! [`Hooks::at_exit`] reports. Findings are texts, in order.

use super::options::Options;
use crate::driver::objects::{
    code::{Code, Error},
    work::KernelWork,
};
use crate::{
    check::Checker,
    machine::{Fault, Machine, Watch},
    report::Report,
};

/// Beginnings of the names of calls whose failures the user is told of: those that a program which is right does not see fail.
const TOLD: [&str; 4] = ["cuLaunch", "cuModuleLoad", "cuLibraryLoad", "cuGraphInstantiate"];

/// The observers that outlive a launch, and what was found.
#[derive(Default)]
pub struct Hooks {
    checker: Option<Checker>,
    /// The observers, between launches.
    watch: Watch,
    report: Report,
    last_error: Option<String>,
}

impl Hooks {
    /// The driver begins with these options, with nothing allocated.
    pub fn begin(&mut self, options: &Options, machine: &mut Machine) {
        if options.check.is_some() {
            let checker = Checker::new(Default::default());
            checker.watch(machine);
            self.watch = std::mem::take(&mut machine.watch);
            self.checker = Some(checker);
        }
    }

    /// The observers of a launch.
    pub fn watch_for(&mut self, options: &Options, kernel: &KernelWork) -> Watch {
        if let Some(checker) = &self.checker {
            checker.set_dependent(kernel.programmatic);
        }
        let mut watch = std::mem::take(&mut self.watch);
        watch.counters = options.counters.is_some().then(Box::default);
        watch
    }

    /// Takes the observers of a launch back, with its outcome.
    pub fn after_launch(
        &mut self,
        options: &Options,
        kernel: &KernelWork,
        mut watch: Watch,
        outcome: &Result<(), Fault>,
    ) {
        print(&mut std::io::stdout(), &mut watch.output);
        print(&mut std::io::stderr(), &mut watch.errors);
        if let Some(counters) = watch.counters.take() {
            self.report.records.push(counters.finish(&kernel.program, &kernel.launch));
        }
        if let Err(fault) = outcome {
            self.finding(options, fault.to_string());
        }
        self.watch = watch;
    }

    /// An allocation is alive when its context or the process ends.
    pub fn leak(&mut self, options: &Options, what: &str) {
        if options.check.is_some() {
            self.finding(options, format!("leak: {what} was never freed"));
        }
    }

    /// The process ends: the time for reports. Gives the exit code that the findings ask for.
    pub fn at_exit(&mut self, options: &Options, device: &str) -> Option<i32> {
        if options.report || options.counters.as_deref() == Some("-") {
            eprint!("{}", self.report.summary(options.counters.as_deref() == Some("-")));
        }
        if let Some(file) = options.counters.as_deref().filter(|&f| f != "-") {
            let written = self.report.json(device).and_then(|json| std::fs::write(file, json));
            if let Err(error) = written {
                eprintln!("cuda-emulator: cannot write the counters to {file}: {error}");
            }
        }
        self.report.exit_code().filter(|_| options.report || options.check.is_some())
    }

    /// A function of the API is called.
    pub fn call(&mut self, options: &Options, name: &'static str) {
        if options.counters.is_some() && !name.starts_with("cuda_emulator") {
            *self.report.calls.entry(name).or_default() += 1;
        }
    }

    /// A call fails: kept for `cuda_emulator_last_error`, and told to the user of the tool where a code alone says little.
    pub fn failed_call(&mut self, options: &Options, name: &str, error: &Error) {
        if error.code != Code::NOT_READY {
            let text = format!("{name}: {} (code {})", error.message, error.code.0);
            // When `cuInit` fails, options are not known yet.
            let tell = options.report && TOLD.iter().any(|t| name.starts_with(t)) || name == "cuInit";
            if tell && !options.quiet {
                eprintln!("cuda-emulator: {text}");
            }
            self.last_error = Some(text);
        }
    }

    /// Adds a finding, and tells the user of it at once: the process may be killed.
    pub fn finding(&mut self, options: &Options, text: String) {
        if !options.quiet {
            eprintln!("cuda-emulator: {text}");
        }
        self.report.findings.push(text);
    }

    /// The counters so far, as JSON.
    pub fn counters(&self, device: &str) -> crate::driver::objects::code::Result<String> {
        let json = self.report.json(device);
        json.map_err(|e| Code::UNKNOWN.because(format!("the counters cannot be written: {e}")))
    }

    /// Begins the counters anew.
    pub fn forget_counters(&mut self) {
        self.report.records.clear();
        self.report.calls.clear();
    }

    /// All findings so far, and none from now on.
    pub fn take_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.report.findings)
    }

    /// The last call that failed, and why.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

/// Writes what kernels printed, and forgets it. A stream that is closed loses it, as it would what the host prints.
fn print(to: &mut impl std::io::Write, text: &mut Vec<u8>) {
    let _ = to.write_all(text).and_then(|()| to.flush());
    text.clear();
}
