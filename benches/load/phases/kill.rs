//! Kills the server while it answers, and starts it again: clients see a reset, never a text that only looks whole.

use super::Bench;
use crate::{
    Result,
    client::Client,
    ledger::{Ask, Ledger, closed_loop},
};
use std::{
    sync::atomic::AtomicUsize,
    time::{Duration, Instant},
};

const N_STREAMS: usize = 16;

pub fn run(bench: &mut Bench) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(3);
    let (mut slowest, mut all, mut n_asked) = (Duration::ZERO, Ledger::new(), 0);
    for _ in 0..bench.size.n_rounds {
        let server = bench.launch.start()?;
        slowest = slowest.max(server.start_time);
        let addr = server.addr;
        let ledger = std::thread::scope(|scope| {
            let cases = &bench.short;
            let clients = scope.spawn(move || {
                let (client_of, done) = (|i| Ask::of(&cases[i % cases.len()], true), AtomicUsize::new(0));
                closed_loop(addr, N_STREAMS, 20 * N_STREAMS, &done, client_of)
            });
            std::thread::sleep(Duration::from_millis(random.u64(30..1500)));
            let killed = server.kill();
            (clients.join(), killed)
        });
        ledger.1?;
        all.add(ledger.0.map_err(|_| "a client panicked")?);
        n_asked += 20 * N_STREAMS;
    }
    bench.report.ledger(&all, n_asked);
    let what = format!("slowest restart to healthy on the same port, of {}", bench.size.n_rounds);
    bench.report.time(&what, crate::report::ms(slowest), "2 s", slowest <= Duration::from_secs(2));
    let mut server = bench.launch.start()?;
    let client = Client::new(server.addr);
    bench.is_alive(&client, "a request after the last restart");
    stop(bench, &mut server)
}

/// SIGTERM with streams running: they end well, and the process with status 0.
fn stop(bench: &mut Bench, server: &mut crate::server::Server) -> Result<()> {
    let addr = server.addr;
    let cases = &bench.short;
    let done = AtomicUsize::new(0);
    let (ledger, time) = std::thread::scope(|scope| -> Result<_> {
        let clients = scope.spawn(|| closed_loop(addr, 8, 8, &done, |i| Ask::of(&cases[i], true)));
        std::thread::sleep(Duration::from_millis(20));
        server.signal("TERM")?;
        let started = Instant::now();
        while server.is_alive() && started.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((clients.join().map_err(|_| "a client panicked")?, started.elapsed()))
    })?;
    let is_met = time <= Duration::from_secs(10)
        && ledger.wrong.is_empty()
        && ledger.n_right + ledger.n_broken + ledger.n_refused == 8;
    let measured = format!(
        "{} after, {} of 8 whole, status {:?}",
        crate::report::ms(time),
        ledger.n_right,
        server.status()
    );
    bench.report.row(
        "SIGTERM with 8 streams",
        measured,
        "10 s, status 0",
        is_met && server.status() == Some(0),
    );
    Ok(())
}
