//! More than there is room for, and a server that is about to leave: whoever asks is told, and probes are answered.

use crate::{
    client::{Answer, Connection, ask, request},
    rig::{Rig, engine, limited, options, serve, wait_until},
    watched::watched,
};
use halfwarp::{
    scheduler::SchedulerOptions,
    server::{Limits, ServerOptions},
};
use serde_json::json;
use std::time::{Duration, Instant};

const KEYS: [&str; 2] = ["key-a", "key-b"];

fn headers(key: &str) -> [(&'static str, String); 1] {
    [("Authorization", format!("Bearer {key}"))]
}

fn ask_as(rig: &Rig, key: &str, method: &str, path: &str, body: &str) -> Answer {
    let headers = headers(key);
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    ask(rig.address, method, path, &headers, body)
}

/// A connection with a request for a text, which is not answered yet.
fn begin(rig: &Rig, key: &str, body: &str) -> Connection {
    let headers = headers(key);
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut connection = Connection::open(rig.address);
    connection.send(request("POST", "/v1/completions", &headers, body));
    connection
}

/// The median time of ten answers to a probe, all of them good.
fn probe_time(rig: &Rig, path: &str) -> Duration {
    let time = |_| {
        let started = Instant::now();
        ask_as(rig, KEYS[0], "GET", path, "");
        started.elapsed()
    };
    assert_eq!(ask_as(rig, KEYS[0], "GET", path, "").status, 200, "{path}");
    let mut times: Vec<_> = (0..10).map(time).collect();
    times.sort_unstable();
    times[5]
}

fn rig_with(n_connections: usize) -> (Rig, std::sync::mpsc::Sender<()>) {
    let (engine, _calls, permit) = watched(4 * 512);
    let options = ServerOptions {
        api_keys: KEYS.map(String::from).into(),
        limits: Limits { n_connections, ..Limits::default() },
        ..options()
    };
    let texts = SchedulerOptions { n_running: 2, n_waiting: 14, ..SchedulerOptions::default() };
    (serve(engine, texts, options), permit)
}

#[test]
fn beyond_the_limit_of_connections_probes_are_answered_and_others_told() {
    let (rig, permit) = rig_with(8);
    let body = json!({"prompt": [5, 6, 7], "max_tokens": 2}).to_string();
    let mut held: Vec<_> = (0..8).map(|_| begin(&rig, KEYS[0], &body)).collect();
    wait_until(Duration::from_secs(10), "all are accepted", || rig.scheduler().n_open() == 8);
    for path in ["/health", "/ready", "/metrics"] {
        let time = probe_time(&rig, path);
        assert!(time < Duration::from_millis(100), "{path}: {time:?}");
    }
    let told = ask_as(&rig, KEYS[0], "POST", "/v1/completions", &body);
    told.fails(503, None);
    assert_eq!(
        (told.header("retry-after"), &told.json()["error"]["code"], told.header("connection")),
        (Some("1"), &json!("overloaded"), Some("close"))
    );
    // Another key has nothing under way.
    let mut other = begin(&rig, KEYS[1], &body);
    wait_until(Duration::from_secs(10), "it is accepted", || rig.scheduler().n_open_of(1) == 1);
    drop(permit);
    other.answer().unwrap().ok();
    for connection in &mut held {
        connection.answer().unwrap().ok();
    }
    held.clear();
    wait_until(Duration::from_secs(10), "there is a place again", || {
        ask_as(&rig, KEYS[0], "POST", "/v1/completions", &body).header("connection").is_none()
    });
}

#[test]
fn probes_are_answered_beside_bodies_that_never_end_and_connections_that_say_nothing() {
    let (rig, _permit) = rig_with(32);
    let slow = |i: usize| {
        let mut connection = Connection::open(rig.address);
        if i.is_multiple_of(2) {
            let authorization = format!("Bearer {}", KEYS[0]);
            let headers = [("Authorization", authorization.as_str()), ("Content-Length", "100000")];
            connection.send(request("POST", "/v1/completions", &headers, "{"));
        }
        connection
    };
    let _connections: Vec<_> = (0..48).map(slow).collect();
    for path in ["/health", "/ready", "/metrics"] {
        let time = probe_time(&rig, path);
        assert!(time < Duration::from_millis(100), "{path}: {time:?}");
    }
}

/// With as many connections as there are places beside the limit, a probe waits until the first of them has had its time.
#[test]
fn connections_beyond_the_limit_are_short() {
    let (rig, _permit) = rig_with(1);
    let _silent: Vec<_> = (0..65).map(|_| Connection::open(rig.address)).collect();
    let started = Instant::now();
    ask(rig.address, "GET", "/health", &[], "").ok();
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn a_server_that_leaves_says_so_before_it_refuses_connections() {
    let limits = Limits { notice_time: Duration::from_secs(4), ..Limits::default() };
    let mut rig = serve(engine(), SchedulerOptions::default(), limited(limits));
    rig.get("/ready").ok();
    let started = Instant::now();
    rig.shut_down();
    wait_until(Duration::from_secs(1), "it is not ready", || rig.get("/ready").status == 503);
    assert_eq!(rig.get("/ready").json()["error"]["code"], "shutting_down");
    rig.get("/health").ok();
    rig.complete(json!({"prompt": "a", "max_tokens": 1})).ok();
    assert!(started.elapsed() < Duration::from_millis(3900), "this machine is too slow for the test");
    assert!(rig.outcome().is_ok());
    assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(std::net::TcpStream::connect(rig.address).is_err());
}

#[test]
fn a_server_that_nobody_probed_leaves_at_once() {
    let mut rig = serve(engine(), SchedulerOptions::default(), options());
    rig.get("/health").ok();
    let started = Instant::now();
    rig.shut_down();
    assert!(rig.outcome().is_ok());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
