//! Many short requests over 32 connections: none lost, none wrong, and no memory kept of them.

use super::Bench;
use crate::{
    Result,
    ledger::{Ask, Ledger, closed_loop},
    server::{Sample, Watch},
    texts,
};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const N_CLIENTS: usize = 32;
/// Requests until all that is kept on purpose has been touched: pages of the cache, threads' stacks.
const SETTLED_AFTER: usize = 1000;
/// MiB of growth that are allowed from then on.
const MAX_GROWTH: f64 = 5.0;

/// Half of them streamed, one in ten invalid.
fn load(bench: &Bench, addr: SocketAddr, n: usize, done: &AtomicUsize) -> Ledger {
    let invalid = texts::invalid();
    closed_loop(addr, N_CLIENTS, n, done, |i| match i % 10 {
        9 => Ask { body: &invalid[i / 10 % invalid.len()], expected: None, stream: i % 20 == 9 },
        _ => Ask::of(&bench.short[i * 7 % bench.short.len()], i % 2 == 0),
    })
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.launch.start()?;
    bench.report.note("from the start to healthy", crate::report::ms(server.start_time));
    let (watch, done, n) = (Watch::new(server.pid()), AtomicUsize::new(0), bench.size.n_count);
    let started = Instant::now();
    let (ledger, settled_at) = std::thread::scope(|scope| {
        let settled = scope.spawn(|| {
            while done.load(Ordering::Relaxed) < SETTLED_AFTER.min(n) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Instant::now()
        });
        let ledger = load(bench, server.addr, n, &done);
        (ledger, settled.join())
    });
    let time = started.elapsed();
    bench.report.ledger(&ledger, n);
    bench.report.row("refused of the valid ones", n_busy(&ledger), 0, n_busy(&ledger) == 0);
    bench.report.note("requests a second", format!("{:.0}", n as f64 / time.as_secs_f64()));
    let settled_at = settled_at.map_err(|_| "the clock's thread panicked")?;
    growth(bench, &watch.samples(), settled_at);
    Ok(())
}

fn n_busy(ledger: &Ledger) -> usize {
    ledger.statuses.iter().filter(|&&status| status != 400).count()
}

/// Anonymous memory at the end against that after the first requests, as medians; files and threads too.
fn growth(bench: &mut Bench, samples: &[Sample], settled_at: Instant) {
    bench.report.memory(samples);
    let later: Vec<_> = samples.iter().filter(|sample| sample.at >= settled_at).collect();
    let n = (later.len() / 5).max(1);
    let median = |part: &[&Sample]| {
        let mut sizes: Vec<u64> = part.iter().map(|sample| sample.anonymous).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).map_or(f64::NAN, |&size| size as f64 / f64::from(1 << 20))
    };
    let (first, last) =
        (median(&later[..n.min(later.len())]), median(&later[later.len().saturating_sub(n)..]));
    let growth = last - first;
    let measured = format!("{growth:+.2} MiB ({first:.1} to {last:.1})");
    bench.report.row(
        "growth of anonymous memory after the first 1,000 requests",
        measured,
        format!("{MAX_GROWTH} MiB"),
        growth <= MAX_GROWTH,
    );
    let most = |of: fn(&Sample) -> usize| samples.iter().map(of).max().unwrap_or(0);
    bench
        .report
        .note("most files and threads", format!("{}, {}", most(|s| s.n_files), most(|s| s.n_threads)));
}

/// The same load for a long time: the last minutes are as quick as the first.
pub fn soak(bench: &mut Bench) -> Result<()> {
    let server = bench.launch.start()?;
    let (watch, started, done) = (Watch::new(server.pid()), Instant::now(), AtomicUsize::new(0));
    let mut parts = Vec::new();
    while started.elapsed() < bench.size.soak {
        parts.push(load(bench, server.addr, 1000, &done));
        std::thread::sleep(Duration::from_secs(2));
    }
    let medians: Vec<f64> = parts.iter().map(|part| part.first_ms(0.5)).collect();
    let mut all = Ledger::new();
    parts.into_iter().for_each(|part| all.add(part));
    bench.report.ledger(&all, done.into_inner());
    let fifth = (medians.len() / 5).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&medians[..fifth]), mean(&medians[medians.len() - fifth..]));
    let measured = format!("{first:.1} ms, {last:.1} ms");
    bench.report.row(
        "time to first token, first and last fifth",
        measured,
        "within 10 %",
        last <= 1.1 * first,
    );
    let settled_at = started + Duration::from_secs(5);
    growth(bench, &watch.samples(), settled_at);
    Ok(())
}
