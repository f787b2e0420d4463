//! Half of the clients vanish at a random point, half of those with a reset: nobody else notices, and all slots are free at once.

use super::Bench;
use crate::{
    Result,
    client::{Client, connect, request_bytes},
    ledger::Ledger,
    texts::Case,
};
use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const N_CLIENTS: usize = 32;

pub fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.launch.start()?;
    let n = bench.size.n_cut;
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Ledger::new()));
    std::thread::scope(|scope| {
        for id in 0..N_CLIENTS {
            let (next, all, cases) = (&next, &all, &bench.short);
            scope.spawn(move || {
                let (client, mut random) = (Client::new(server.addr), fastrand::Rng::with_seed(id as u64));
                while next.fetch_add(1, Ordering::Relaxed) < n {
                    let case = &cases[random.usize(..cases.len())];
                    if random.bool() {
                        // That the server closes or resets is all one to a client that leaves.
                        let _ = cut(server.addr, case, &mut random);
                        continue;
                    }
                    let answer = client.complete(&case.body, random.bool());
                    if let Ok(mut all) = all.lock() {
                        all.count(Some(&case.expected), answer);
                    }
                }
            });
        }
    });
    let ledger = all.into_inner().unwrap_or_default();
    bench.report.ledger(&ledger, ledger.n_ended());
    let n_failed = ledger.n_refused + ledger.n_broken;
    bench.report.row("survivors refused or broken", n_failed, 0, n_failed == 0);
    let client = Client::new(server.addr);
    bench.is_idle_within(&client, Duration::from_secs(1));
    let cancelled = client.metric("halfwarp:requests_cancelled_total").unwrap_or(f64::NAN);
    let n_cut = n - ledger.n_ended();
    let measured = format!("{cancelled} of {n_cut} that left");
    bench.report.row(
        "counted as cancelled",
        measured,
        "some, no more than left",
        cancelled > 0.0 && cancelled <= n_cut as f64,
    );
    bench.is_alive(&client, "a request afterwards");
    Ok(())
}

/// Begins a request and leaves.
fn cut(addr: SocketAddr, case: &Case, random: &mut fastrand::Rng) -> std::io::Result<()> {
    let mut body = case.body.clone();
    body["stream"] = random.bool().into();
    // Long enough to be cut in.
    body["max_tokens"] = 100.into();
    let bytes = request_bytes(addr, &body);
    let mut stream = connect(addr, Duration::from_secs(20))?;
    let n_sent = match random.usize(..4) {
        0 => random.usize(..bytes.len()),
        _ => bytes.len(),
    };
    stream.write_all(&bytes[..n_sent])?;
    match random.usize(..3) {
        0 => {}
        1 => std::thread::sleep(Duration::from_millis(random.u64(..100))),
        _ => drop(stream.read(&mut [0; 300])?),
    }
    if random.bool() {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
