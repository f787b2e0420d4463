//! The report: a table of what was measured against its bar, and a plot of latency and memory over time.

use crate::{Result, ledger::Ledger, server::Sample};
use plotters::prelude::*;
use std::{
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

pub struct Report {
    folder: Option<PathBuf>,
    /// Whether times have to meet their bars: not on a machine that does other things besides.
    times_count: bool,
    started: Instant,
    rows: Vec<Row>,
    phases: Vec<(f64, String)>,
    /// Seconds since the start, and milliseconds to the first token.
    firsts: Vec<(f64, f64)>,
    /// Seconds since the start, and MiB.
    memory: Vec<(f64, f64)>,
}

struct Row {
    phase: String,
    what: String,
    measured: String,
    bar: String,
    is_met: bool,
}

impl Report {
    pub fn new(folder: &Option<PathBuf>, times_count: bool) -> Self {
        Self {
            folder: folder.clone(),
            times_count,
            started: Instant::now(),
            rows: Vec::new(),
            phases: Vec::new(),
            firsts: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// Starts a phase.
    pub fn phase(&mut self, name: &str) {
        self.phases.push((self.started.elapsed().as_secs_f64(), name.into()));
        eprintln!("== {name} ({:.0} s)", self.started.elapsed().as_secs_f64());
    }

    /// Adds a measurement and whether it meets its bar.
    pub fn row(&mut self, what: &str, measured: impl ToString, bar: impl ToString, is_met: bool) {
        let phase = self.phases.last().map_or_else(String::new, |(_, name)| name.clone());
        let row =
            Row { phase, what: what.into(), measured: measured.to_string(), bar: bar.to_string(), is_met };
        eprintln!(
            "{} {}: {} (bar: {})",
            if is_met { "ok    " } else { "MISSED" },
            row.what,
            row.measured,
            row.bar
        );
        self.rows.push(row);
    }

    /// Adds a time and whether it meets its bar, which the bounded profile only shows.
    pub fn time(&mut self, what: &str, measured: impl ToString, bar: &str, is_met: bool) {
        match self.times_count || is_met {
            true => self.row(what, measured, bar, is_met),
            false => self.row(what, measured, format!("{bar}, in the full profile"), true),
        }
    }

    /// Adds a measurement that has no bar.
    pub fn note(&mut self, what: &str, measured: impl ToString) {
        self.row(what, measured, "none", true);
    }

    /// Rows on what became of `n` requests: none lost, none wrong.
    pub fn ledger(&mut self, ledger: &Ledger, n: usize) {
        let Ledger { n_right, n_refused, n_broken, wrong, .. } = ledger;
        let counts =
            format!("{n_right} right, {n_refused} refused, {n_broken} broken, {} wrong", wrong.len());
        let n_lost = n.abs_diff(ledger.n_ended());
        self.row(&format!("{n} requests"), counts, "0 lost, 0 wrong", n_lost == 0 && wrong.is_empty());
        for what in wrong.iter().take(3) {
            eprintln!("       wrong: {}", what.chars().take(300).collect::<String>());
        }
        let since = |at: Instant| (at - self.started).as_secs_f64();
        self.firsts.extend(ledger.firsts.iter().map(|&(at, first)| (since(at), first.as_secs_f64() * 1e3)));
    }

    /// Adds what the server took to the plot.
    pub fn memory(&mut self, samples: &[Sample]) {
        let since = |at: Instant| (at - self.started).as_secs_f64();
        self.memory.extend(samples.iter().map(|s| (since(s.at), s.anonymous as f64 / (1 << 20) as f64)));
    }

    /// Prints the table, writes both where that was asked for, and says whether all bars are met.
    pub fn finish(mut self) -> Result<bool> {
        let n_missed = self.rows.iter().filter(|row| !row.is_met).count();
        let table = self.table(n_missed);
        println!("{table}");
        if let Some(folder) = self.folder.take() {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("load.md"), &table)?;
            let plot = folder.join("load.svg");
            let area = SVGBackend::new(&plot, (1000, 700)).into_drawing_area();
            self.draw(&area).map_err(|error| format!("{}: {error}", plot.display()))?;
            area.present().map_err(|error| format!("{}: {error}", plot.display()))?;
        }
        Ok(n_missed == 0)
    }

    fn table(&self, n_missed: usize) -> String {
        let mut text = String::from("# Load and faults\n\n");
        let _ = writeln!(text, "`cargo run --release --example load {}`", arguments());
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let n_cores = std::thread::available_parallelism().map_or(0, usize::from);
        let seconds = self.started.elapsed().as_secs();
        let _ = writeln!(
            text,
            "on {n_cores} cores of {}, {seconds} s, {n_missed} bars missed.\n\n| phase | what | measured | bar | |\n|---|---|---|---|---|",
            cpu.unwrap_or("an unknown CPU")
        );
        for Row { phase, what, measured, bar, is_met } in &self.rows {
            let verdict = if *is_met { "met" } else { "**missed**" };
            let _ = writeln!(text, "| {phase} | {what} | {measured} | {bar} | {verdict} |");
        }
        text
    }

    fn draw(&self, area: &DrawingArea<SVGBackend, plotters::coord::Shift>) -> Result<(), String> {
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let (upper, lower) = area.split_vertically(350);
        self.chart(&upper, "time to first token, ms", &self.firsts, true)?;
        self.chart(&lower, "the server's anonymous memory, MiB", &self.memory, false)
    }

    /// Points over time; where their sizes differ much, over a logarithmic axis.
    fn chart(
        &self,
        area: &DrawingArea<SVGBackend, plotters::coord::Shift>,
        title: &str,
        points: &[(f64, f64)],
        is_log: bool,
    ) -> Result<(), String> {
        let text = |error: DrawingAreaErrorKind<_>| format!("{error:?}");
        let scale = |y: f64| if is_log { y.max(1.0).log10() } else { y };
        let end = self.started.elapsed().as_secs_f64();
        let top = points.iter().map(|point| scale(point.1)).fold(1.0, f64::max) * 1.1;
        let mut builder = ChartBuilder::on(area);
        builder.caption(title, ("sans-serif", 18)).margin(10).x_label_area_size(40).y_label_area_size(60);
        let mut chart = builder.build_cartesian_2d(0.0..end, 0.0..top).map_err(text)?;
        let label = |y: &f64| format!("{:.0}", if is_log { 10f64.powf(*y) } else { *y });
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("seconds").disable_x_mesh().y_label_formatter(&label).draw().map_err(text)?;
        for (at, name) in &self.phases {
            let line = PathElement::new([(*at, 0.0), (*at, top)], BLACK.mix(0.3));
            chart.draw_series([line]).map_err(text)?;
            chart.draw_series([Text::new(name.clone(), (*at, top), ("sans-serif", 11))]).map_err(text)?;
        }
        // More dots than these are a blot, and a large file.
        let dots = points
            .iter()
            .step_by(points.len() / 2000 + 1)
            .map(|&(x, y)| Circle::new((x, scale(y)), 1, BLUE.filled()));
        chart.draw_series(dots).map_err(text)?;
        Ok(())
    }
}

/// The arguments of this run, without paths of this machine.
fn arguments() -> String {
    let args: Vec<String> =
        std::env::args().skip(1).map(|arg| arg.rsplit('/').next().unwrap_or("").into()).collect();
    if args.is_empty() { String::new() } else { format!("-- {}", args.join(" ")) }
}

/// A duration in milliseconds, for people.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
