//! Clients that crawl, in reading and in writing, beside others that do not.

use super::{Bench, rates};
use crate::{
    Result,
    client::{Client, connect, request_bytes},
    ledger::open_loop,
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const N_READERS: usize = 50;
const N_WRITERS: usize = 200;

pub fn run(bench: &mut Bench) -> Result<()> {
    let mut launch = bench.realistic.clone();
    launch.args.extend(["--max-connections".into(), "512".into()]);
    let server = launch.start()?;
    let rate = 0.5 * rates::capacity(bench, &server);
    let before = open_loop(server.addr, rate, bench.size.slow, &bench.long);
    let is_over = AtomicBool::new(false);
    let client = Client::new(server.addr);
    let streams = slow_streams(server.addr);
    bench.report.note("streams read one byte a second", streams.len());
    // Their texts are computed at once, and that takes its time; what is measured is their reading.
    bench.is_idle_within(&client, Duration::from_secs(60));
    let (ledger, closed) = std::thread::scope(|scope| {
        let readers = scope.spawn(|| read_slowly(streams, &is_over));
        let writers = scope.spawn(|| write_slowly(server.addr, &is_over));
        let ledger = open_loop(server.addr, rate, bench.size.slow, &bench.long);
        is_over.store(true, Ordering::Relaxed);
        (ledger, (readers.join(), writers.join()))
    });
    bench.report.ledger(&ledger, ledger.n_ended());
    let n_failed = ledger.n_refused + ledger.n_broken;
    bench.report.row("others refused or broken", n_failed, 0, n_failed == 0);
    let p99 = [&before, &ledger].map(|ledger| ledger.first_ms(0.99));
    let measured = format!("{:.1} ms, without the slow ones {:.1} ms", p99[1], p99[0]);
    bench.report.time("others' p99 to the first token", measured, "2x", p99[1] <= 2.0 * p99[0]);
    let (readers, writers) = closed;
    readers.map_err(|_| "a slow reader panicked")?;
    let closed_after = writers.map_err(|_| "a slow writer panicked")?;
    let measured = match closed_after {
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
        None => "not closed while the phase lasted".into(),
    };
    let is_met = closed_after.is_some_and(|time| time <= Duration::from_secs(12))
        || bench.size.slow < Duration::from_secs(12);
    bench.report.row("headers that crawl are closed after", measured, "10 s", is_met);
    let case = bench.long[0].clone();
    bench.is_right(&client, "a request afterwards", &case);
    Ok(())
}

/// Streams that nobody has read from yet.
fn slow_streams(addr: SocketAddr) -> Vec<TcpStream> {
    let body = json!({"prompt": "Once", "max_tokens": 64, "stream": true, "ignore_eos": true});
    let ask = |_| {
        let mut stream = connect(addr, Duration::from_secs(5)).ok()?;
        stream.write_all(&request_bytes(addr, &body)).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    (0..N_READERS).filter_map(ask).collect()
}

/// Reads a byte a second from each.
fn read_slowly(mut streams: Vec<TcpStream>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            // Whether a byte is there or not: the next one is asked for in a second.
            let _ = stream.read(&mut [0]);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Connections that send a byte of their header every five seconds. Returns when the last one was closed.
fn write_slowly(addr: SocketAddr, is_over: &AtomicBool) -> Option<Duration> {
    let started = Instant::now();
    let open = |_| {
        let stream = connect(addr, Duration::from_secs(5)).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    };
    let mut streams: Vec<TcpStream> = (0..N_WRITERS).filter_map(open).collect();
    let mut n_sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        if started.elapsed() >= Duration::from_secs(5 * n_sent) {
            for stream in &mut streams {
                let _ = stream.write(&b"POST /v1/completions"[n_sent as usize % 20..][..1]);
            }
            n_sent += 1;
        }
        // Closed once a read gives an end or an answer.
        streams.retain_mut(|stream| {
            stream.read(&mut [0; 64]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        if streams.is_empty() {
            return Some(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
