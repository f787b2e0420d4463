//! Too few files, too little memory, a stopped process, a log that cannot be written: refusals, not aborts.

use super::Bench;
use crate::{
    Result,
    client::Client,
    ledger::{Ask, Ledger, closed_loop},
    server::Server,
};
use std::{sync::atomic::AtomicUsize, time::Duration};

pub fn run(bench: &mut Bench) -> Result<()> {
    for (what, before) in [
        ("64 open files", "ulimit -n 64"),
        ("1 GiB of address space", "ulimit -v 1048576"),
        ("a full disk for its log", "exec 2>/dev/full"),
    ] {
        let mut launch = bench.launch.clone();
        launch.before = Some(before.into());
        let mut server = match launch.start() {
            Ok(server) => server,
            Err(error) => {
                bench.report.row(what, error, "it starts", false);
                continue;
            }
        };
        // More connections than it has files: some are refused.
        let ledger = burst(bench, &server, 100);
        report(bench, what, &mut server, &ledger);
    }
    let mut server = bench.launch.start()?;
    let ledger = std::thread::scope(|scope| -> Result<_> {
        let clients = scope.spawn(|| burst(bench, &server, 16));
        std::thread::sleep(Duration::from_millis(50));
        server.signal("STOP")?;
        std::thread::sleep(Duration::from_secs(2));
        server.signal("CONT")?;
        Ok(clients.join().map_err(|_| "a client panicked")?)
    })?;
    report(bench, "stopped for 2 s", &mut server, &ledger);
    Ok(())
}

fn burst(bench: &Bench, server: &Server, n_clients: usize) -> Ledger {
    let cases = &bench.short;
    closed_loop(server.addr, n_clients, 3 * n_clients, &AtomicUsize::new(0), |i| {
        Ask::of(&cases[i % cases.len()], i % 2 == 0)
    })
}

fn report(bench: &mut Bench, what: &str, server: &mut Server, ledger: &Ledger) {
    let Ledger { n_right, n_refused, n_broken, wrong, .. } = ledger;
    let measured = format!("{n_right} right, {n_refused} refused, {n_broken} broken, {} wrong", wrong.len());
    let is_met = wrong.is_empty() && *n_right > 0 && server.is_alive();
    bench.report.row(what, measured, "alive, 0 wrong", is_met);
    let client = Client::new(server.addr);
    bench.is_alive(&client, &format!("a request after {what}"));
}
