//! Requests at random times: at a part of what the server can take, and at three times that.

use super::Bench;
use crate::{
    Result,
    client::Client,
    ledger::{Ask, Ledger, closed_loop, open_loop},
    server::Server,
};
use std::{
    sync::atomic::AtomicUsize,
    time::{Duration, Instant},
};

/// Requests a second that the server answers when it always has 16 to do.
pub fn capacity(bench: &Bench, server: &Server) -> f64 {
    let n = 4 * bench.long.len().min(24);
    let started = Instant::now();
    let cases = &bench.long;
    closed_loop(server.addr, 16, n, &AtomicUsize::new(0), |i| Ask::of(&cases[i % cases.len()], true));
    n as f64 / started.elapsed().as_secs_f64()
}

pub fn realistic(bench: &mut Bench) -> Result<()> {
    let server = bench.realistic.start()?;
    let capacity = capacity(bench, &server);
    bench.report.note("what is asked", format!("{} prompts in turn", bench.long.len()));
    bench.report.note("capacity, requests a second", format!("{capacity:.1}"));
    for share in [0.5, 0.8] {
        let ledger = open_loop(server.addr, share * capacity, bench.size.realistic, &bench.long);
        bench.report.ledger(&ledger, ledger.n_ended());
        let what = format!("refused or broken at {:.0} % of capacity", share * 100.0);
        let n_failed = ledger.n_refused + ledger.n_broken;
        bench.report.row(&what, n_failed, 0, n_failed == 0);
        let (p50, p99) = (ledger.first_ms(0.5), ledger.first_ms(0.99));
        let what = format!("time to first token at {:.0} %", share * 100.0);
        let measured = format!("p50 {p50:.1} ms, p99 {p99:.1} ms");
        match share < 0.6 {
            true => bench.report.time(&what, measured, "p99 <= 3 p50", p99 <= 3.0 * p50),
            false => bench.report.note(&what, measured),
        }
        bench.report.note("between tokens", super::percentiles(&ledger.gaps));
    }
    Ok(())
}

pub fn overload(bench: &mut Bench) -> Result<()> {
    let mut launch = bench.realistic.clone();
    launch.args.extend(["--max-queue".into(), "16".into()]);
    let server = launch.start()?;
    let capacity = capacity(bench, &server);
    let baseline = quiet(bench, &server);
    let ledger = open_loop(server.addr, 3.0 * capacity, bench.size.overload, &bench.long);
    let ended = Instant::now();
    bench.report.ledger(&ledger, ledger.n_ended());
    let n_busy = ledger.refusals.len();
    let worst = ledger.refusals.iter().max().copied().unwrap_or_default();
    let measured = format!(
        "{n_busy} refused, {}, most {}",
        super::percentiles(&ledger.refusals),
        crate::report::ms(worst)
    );
    let p99 = crate::ledger::quantile(ledger.refusals.iter().copied(), 0.99);
    bench.report.time("excess at 3x capacity", measured, "answered within 50 ms, 99 of 100", p99 <= 50.0);
    let is_met = n_busy > 0 && ledger.all_say_retry;
    bench.report.row("of those with Retry-After", if is_met { "all" } else { "not all" }, "all", is_met);
    bench.report.row("broken", ledger.n_broken, 0, ledger.n_broken == 0);
    let client = Client::new(server.addr);
    let mut again = f64::INFINITY;
    while ended.elapsed() < Duration::from_secs(5) && again > 1.5 * baseline {
        again = quiet(bench, &server);
    }
    let measured =
        format!("{baseline:.1} ms before, {again:.1} ms {:.1} s after", ended.elapsed().as_secs_f64());
    bench.report.time("back to the usual time", measured, "5 s", again <= 1.5 * baseline);
    bench.is_idle_within(&client, Duration::from_secs(1));
    Ok(())
}

/// The median time to the first token with one client.
fn quiet(bench: &Bench, server: &Server) -> f64 {
    let cases = &bench.long;
    let ledger: Ledger =
        closed_loop(server.addr, 1, 8, &AtomicUsize::new(0), |i| Ask::of(&cases[i % cases.len()], true));
    ledger.first_ms(0.5)
}
