//! What the emulator says when a process ends: findings, and counters if they were asked for.

use crate::counters::{Record, Totals, table};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, io};

/// The exit code of a process with findings.
pub const EXIT_FINDINGS: i32 = 99;

/// What happened in a process.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What the checks found, and what stopped kernels, in order.
    pub findings: Vec<String>,
    /// The counts of each launch, if they were counted.
    pub records: Vec<Record>,
    /// How often each function of the driver was called, if counted.
    pub calls: BTreeMap<&'static str, u64>,
}

/// The counters of a process, as JSON.
#[derive(Serialize)]
struct Json<'a> {
    device: &'a str,
    launches: &'a [Record],
    totals: Totals,
    calls: &'a BTreeMap<&'static str, u64>,
}

impl Report {
    /// The text for people who have seen the findings: the table of counters if `counted`, then how many findings there are.
    pub fn summary(&self, counted: bool) -> String {
        let mut text = String::new();
        if counted {
            text.push_str(&table(&self.records));
        }
        // Writing to a string cannot fail.
        let _ = match self.findings.len() {
            0 => writeln!(text, "cuda-emulator: no findings"),
            n => writeln!(text, "cuda-emulator: {n} finding{}", if n == 1 { "" } else { "s" }),
        };
        text
    }

    /// The counters as JSON.
    pub fn json(&self, device: &str) -> io::Result<String> {
        let totals = Totals::of(&self.records);
        let json = Json { device, launches: &self.records, totals, calls: &self.calls };
        Ok(serde_json::to_string_pretty(&json)? + "\n")
    }

    /// The exit code that the findings ask for.
    pub fn exit_code(&self) -> Option<i32> {
        (!self.findings.is_empty()).then_some(EXIT_FINDINGS)
    }
}
