//! Clients that read or write slowly, or want more than there is.

use crate::{
    client::{Connection, request},
    rig::{engine, limited, options, serve, wait_until},
    watched::watched,
};
use halfwarp::{scheduler::SchedulerOptions, server::Limits};
use serde_json::json;
use std::time::{Duration, Instant};

fn quick() -> Limits {
    Limits {
        head_time: Duration::from_millis(400),
        body_time: Duration::from_millis(700),
        write_time: Duration::from_millis(500),
        ..Limits::default()
    }
}

#[test]
fn s05_a_client_that_does_not_read_is_dropped_and_the_others_do_not_notice() {
    let rig = serve(engine(), SchedulerOptions::default(), limited(quick()));
    let body =
        json!({"prompt": "a", "max_tokens": 500, "ignore_eos": true, "stream": true, "n": 4, "logprobs": 5})
            .to_string();
    let mut slow: Vec<Connection> = (0..3)
        .map(|_| {
            // A small window, so that the socket fills.
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&rig.address.into()).unwrap();
            let mut connection = Connection::from(std::net::TcpStream::from(socket));
            connection.send(request("POST", "/v1/completions", &[], &body));
            connection
        })
        .collect();
    wait_until(Duration::from_secs(20), "all run", || rig.scheduler().n_open() == 12);
    for _ in 0..5 {
        let started = Instant::now();
        rig.complete(json!({"prompt": "b", "max_tokens": 2})).ok();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
    wait_until(Duration::from_secs(120), "the texts end, or are cancelled", || rig.scheduler().n_open() == 0);
    std::thread::sleep(Duration::from_secs(1));
    for connection in &mut slow {
        assert!(connection.answer().is_none(), "the answer was cut off: it is not complete");
    }
}

#[test]
fn s06_heads_and_bodies_that_come_too_slowly_end_their_connections() {
    let rig = serve(engine(), SchedulerOptions::default(), limited(quick()));
    let mut heads: Vec<Connection> = (0..100).map(|_| Connection::open(rig.address)).collect();
    let mut body = Connection::open(rig.address);
    body.send(request("POST", "/v1/completions", &[("Content-Length", "1000")], ""));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1200) {
        for connection in &mut heads {
            connection.send("G");
        }
        body.send("{");
        rig.complete(json!({"prompt": "a", "max_tokens": 1})).ok();
        std::thread::sleep(Duration::from_millis(100));
    }
    for mut connection in heads {
        // A word or none, but an end.
        while connection.line().is_some() {}
    }
    body.answer().expect("it is told").fails(408, None);
    assert!(body.is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let rig = serve(engine(), SchedulerOptions::default(), limited(quick()));
    let mut never_used = Connection::open(rig.address);
    let mut used = Connection::open(rig.address);
    used.send(request("GET", "/health", &[], ""));
    used.answer().unwrap().ok();
    let started = Instant::now();
    while used.line().is_some() {}
    while never_used.line().is_some() {}
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_full_queue_is_told_at_once_with_a_time_to_come_back() {
    let (engine, _calls, permit) = watched(4 * 512);
    let texts = SchedulerOptions { n_running: 1, n_waiting: 1, ..SchedulerOptions::default() };
    let rig = serve(engine, texts, options());
    let body = json!({"prompt": "a", "max_tokens": 2});
    let mut accepted: Vec<Connection> = (0..2)
        .map(|_| {
            let mut connection = Connection::open(rig.address);
            connection.send(request("POST", "/v1/completions", &[], &body.to_string()));
            connection
        })
        .collect();
    wait_until(Duration::from_secs(10), "both are accepted", || rig.scheduler().n_open() == 2);
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let started = Instant::now();
            let answer = rig.complete(body.clone());
            let time = started.elapsed();
            answer.fails(503, None);
            assert_eq!(
                (answer.header("retry-after"), &answer.json()["error"]["code"]),
                (Some("1"), &json!("queue_full"))
            );
            time
        })
        .collect();
    times.sort_unstable();
    assert!(times[4] < Duration::from_millis(50), "{times:?}");
    let too_many = json!({"prompt": ["a", "b", "c"], "max_tokens": 1});
    rig.complete(too_many).fails(400, Some("n"));
    drop(permit);
    for connection in &mut accepted {
        connection.answer().unwrap().ok();
    }
    rig.complete(body).ok();
}

#[test]
fn a_prompt_that_takes_too_long_to_read_is_given_up() {
    let limits = Limits { parse_time: Duration::ZERO, ..Limits::default() };
    let rig = serve(engine(), SchedulerOptions::default(), limited(limits));
    // One that is read at once, and one that is read on another thread.
    for prompt in ["a".to_string(), "a ".repeat(4000)] {
        let answer = rig.complete(json!({"prompt": prompt, "max_tokens": 1}));
        assert!(answer.fails(504, None).contains("longer than 0 s to read"));
    }
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let (engine, _calls, permit) = watched(4 * 512);
    let limits = Limits { answer_time: Duration::from_millis(200), ..Limits::default() };
    let rig = serve(engine, SchedulerOptions::default(), limited(limits));
    let answer = rig.complete(json!({"prompt": "a", "max_tokens": 2}));
    assert!(answer.fails(504, None).contains("0.2 s"));
    drop(permit);
    wait_until(Duration::from_secs(10), "the text is cancelled", || rig.scheduler().n_open() == 0);
}

#[test]
fn a_shutdown_refuses_what_comes_late_and_lets_the_rest_end() {
    let (engine, _calls, permit) = watched(4 * 512);
    let mut rig = serve(engine, SchedulerOptions::default(), options());
    let body = json!({"prompt": "a", "max_tokens": 3, "ignore_eos": true}).to_string();
    let mut running = Connection::open(rig.address);
    running.send(request("POST", "/v1/completions", &[], &body));
    wait_until(Duration::from_secs(10), "it runs", || rig.scheduler().n_open() == 1);
    let mut late = Connection::open(rig.address);
    let bytes = request("POST", "/v1/completions", &[], &body);
    let (head, rest) = bytes.split_at(bytes.len() - 20);
    late.send(head);
    std::thread::sleep(Duration::from_millis(200));
    rig.shut_down();
    std::thread::sleep(Duration::from_millis(200));
    late.send(rest);
    let answer = late.answer().expect("it is told");
    answer.fails(503, None);
    assert_eq!(
        (answer.header("connection"), &answer.json()["error"]["code"]),
        (Some("close"), &json!("shutting_down"))
    );
    drop(permit);
    assert_eq!(running.answer().unwrap().ok()["usage"]["completion_tokens"], 3);
    assert!(rig.outcome().is_ok());
}

#[test]
fn a_shutdown_waits_for_a_limited_time() {
    let (engine, _calls, permit) = watched(4 * 512);
    let limits = Limits { drain_time: Duration::from_millis(300), ..Limits::default() };
    let mut rig = serve(engine, SchedulerOptions::default(), limited(limits));
    let mut running = Connection::open(rig.address);
    running.send(request(
        "POST",
        "/v1/completions",
        &[],
        &json!({"prompt": "a", "stream": true}).to_string(),
    ));
    wait_until(Duration::from_secs(10), "it runs", || rig.scheduler().n_open() == 1);
    let started = Instant::now();
    rig.shut_down();
    assert!(rig.outcome().is_ok());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    running.head().unwrap();
    while let Some(chunk) = running.chunk() {
        assert!(!String::from_utf8_lossy(&chunk.expect("it has no good end")).contains("[DONE]"));
    }
    // The scheduler's thread still waits for its call.
    drop(permit);
}
