//! Bytes that mean harm, in random order, while others are served: no death, no wrong answer.

use super::Bench;
use crate::{
    Result,
    client::{Client, request_bytes, status_of},
    ledger::{Ask, Ledger, closed_loop},
    texts,
};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// What is sent, and the statuses that may answer it; nothing at all stands for a closed connection.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    statuses: &'static [Option<u16>],
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let mut server = bench.launch.start()?;
    let addr = server.addr;
    let mut all: Vec<Attack> = attacks(addr);
    all.extend(texts::invalid().iter().map(|body| Attack {
        name: "an invalid parameter",
        bytes: request_bytes(addr, body),
        statuses: &[Some(400)],
    }));
    let n_attacks = bench.size.n_hostile * all.len();
    let (is_over, others) = (AtomicBool::new(false), Mutex::new(Ledger::new()));
    let wrong = std::thread::scope(|scope| {
        for id in 0..4 {
            let (is_over, others, cases) = (&is_over, &others, &bench.short);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let ledger = closed_loop(addr, 1, 10, &AtomicUsize::new(0), |i| {
                        Ask::of(&cases[id * 10 + i], true)
                    });
                    if let Ok(mut others) = others.lock() {
                        others.add(ledger);
                    }
                }
            });
        }
        let mut random = fastrand::Rng::with_seed(8);
        let mut wrong = Vec::new();
        for _ in 0..bench.size.n_hostile {
            random.shuffle(&mut all);
            for attack in &all {
                match status_of(addr, &attack.bytes) {
                    Ok(status) if attack.statuses.contains(&status) => {}
                    other => wrong.push(format!("{}: {other:?}", attack.name)),
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        wrong
    });
    for what in wrong.iter().take(10) {
        eprintln!("       {what}");
    }
    let measured = format!("{} of {n_attacks} answered otherwise than they must be", wrong.len());
    bench.report.row("hostile requests", measured, 0, wrong.is_empty());
    let ledger = others.into_inner().unwrap_or_default();
    bench.report.ledger(&ledger, ledger.n_ended());
    let n_failed = ledger.n_refused + ledger.n_broken;
    bench.report.row("others refused or broken", n_failed, 0, n_failed == 0);
    bench.report.row("alive", server.is_alive(), true, server.is_alive());
    bench.is_alive(&Client::new(addr), "a request afterwards");
    Ok(())
}

fn attacks(addr: SocketAddr) -> Vec<Attack> {
    const REFUSED: &[Option<u16>] = &[Some(400), None];
    let head = |rest: &str| {
        format!("POST /v1/completions HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n{rest}")
            .into_bytes()
    };
    let with_body = |body: &str| head(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let attack = |name, bytes, statuses| Attack { name, bytes, statuses };
    let many = |n: usize| (0..n).map(|i| format!("x{i}: y\r\n")).collect::<String>();
    vec![
        attack("two lengths", head("Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"), REFUSED),
        attack("a length of 2 GiB", head("Content-Length: 2147483648\r\n\r\n{"), &[Some(413)]),
        attack("a negative chunk", head("Transfer-Encoding: chunked\r\n\r\n-2\r\n"), REFUSED),
        attack("a space before the colon", head("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), REFUSED),
        attack(
            "a header of 1 MiB",
            head(&format!("x: {}\r\n\r\n", "y".repeat(1 << 20))),
            &[Some(431), Some(400), None],
        ),
        attack("10,000 headers", head(&format!("{}\r\n", many(10_000))), &[Some(431), Some(400), None]),
        attack(
            "a path of 1 MiB",
            format!("GET /{} HTTP/1.1\r\nHost: {addr}\r\n\r\n", "a".repeat(1 << 20)).into_bytes(),
            &[Some(414), Some(431), Some(400), None],
        ),
        attack("deep nesting", with_body(&"[".repeat(100_000)), &[Some(400)]),
        attack(
            "a key of 1 MiB",
            with_body(&format!("{{\"{}\": 1}}", "k".repeat(1 << 20))),
            &[Some(200), Some(400)],
        ),
        attack("a key twice", with_body(r#"{"prompt": "x", "n": 1, "n": 2}"#), &[Some(400)]),
        attack("garbage behind", with_body(r#"{"prompt": "x"} x"#), &[Some(400)]),
        attack("no JSON", with_body("\u{0}\u{1}\u{2}"), &[Some(400)]),
        attack(
            "a body of 3 MiB",
            with_body(&format!(r#"{{"prompt": "{}"}}"#, "\\n".repeat(3 << 19))),
            &[Some(413)],
        ),
        attack(
            "a foreign host",
            b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec(),
            &[Some(403)],
        ),
        attack(
            "a foreign origin",
            format!("GET /v1/models HTTP/1.1\r\nHost: {addr}\r\nOrigin: https://evil.example\r\n\r\n")
                .into_bytes(),
            &[Some(403)],
        ),
        attack(
            "an unknown path",
            format!("GET /etc/passwd HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes(),
            &[Some(404)],
        ),
        attack(
            "a wrong method",
            format!("PUT /v1/models HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes(),
            &[Some(405)],
        ),
        attack("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), REFUSED),
    ]
}
