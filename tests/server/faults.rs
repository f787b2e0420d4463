//! What fails takes nobody along; a device that is lost ends the server, after everybody was told.

use crate::{
    client::{Connection, request},
    rig::{options, serve, start, wait_until},
    watched::{FATAL, PANIC, POISON, TOO_BIG, watched},
};
use halfwarp::{scheduler::SchedulerOptions, server::ServerError};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn body(prompt: [u32; 3], n: usize) -> Value {
    json!({"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": true})
}

#[test]
fn n02_logits_that_are_no_numbers_fail_their_request_alone() {
    let (engine, calls, permit) = watched(8 * 512);
    let rig = serve(engine, SchedulerOptions::default(), options());
    // The first one holds the others up, so that they run together.
    let mut connections: Vec<Connection> = (0..8)
        .map(|i| {
            let mut connection = Connection::open(rig.address);
            let prompt = [20 + i, 12, if i == 3 { POISON } else { 13 }];
            connection.send(request("POST", "/v1/completions", &[], &body(prompt, 6).to_string()));
            connection
        })
        .collect();
    wait_until(Duration::from_secs(10), "all are accepted", || rig.scheduler().n_open() == 8);
    drop(permit);
    let answers: Vec<_> = connections.iter_mut().map(|c| c.answer().unwrap()).collect();
    assert!(calls.iter().take(3).any(|call| call.len() > 5), "they ran together");
    for (i, answer) in answers.iter().enumerate() {
        if i == 3 {
            let message = answer.fails(500, None);
            assert!(message.contains("non-finite logits at position 3"), "{message}");
            continue;
        }
        let alone = rig.complete(body([20 + i as u32, 12, 13], 6)).ok();
        assert_eq!(answer.ok()["choices"], alone["choices"]);
    }
    rig.get("/health").ok();
}

#[test]
fn g02_memory_that_runs_out_fails_one_request_and_the_server_lives() {
    let (engine, _calls, permit) = watched(4 * 512);
    drop(permit);
    let rig = serve(engine, SchedulerOptions::default(), options());
    let answer = rig.complete(body([TOO_BIG, 5, 6], 2));
    let message = answer.fails(503, None);
    assert!(message.contains("needs 1024 MiB, 1 MiB are free"), "{message}");
    assert_eq!(
        (answer.header("retry-after"), &answer.json()["error"]["code"]),
        (Some("1"), &json!("out_of_memory"))
    );
    rig.complete(body([7, 8, 9], 2)).ok();
    rig.get("/health").ok();
}

#[test]
fn g03_a_lost_device_is_told_to_everybody_and_ends_the_server() {
    for (token, reason) in [(FATAL, "a token that is fatal"), (PANIC, "a token that panics")] {
        let (engine, _calls, permit) = watched(4 * 512);
        let texts = SchedulerOptions { n_running: 2, ..SchedulerOptions::default() };
        let mut rig = serve(engine, texts, options());
        // The first call is held up with one text; the next one has the token in it.
        let mut connections = Vec::new();
        for (i, (last, stream)) in
            [(11, false), (token, false), (12, true), (13, false)].into_iter().enumerate()
        {
            let mut value = body([5, 6, last], 20);
            value["stream"] = json!(stream);
            let mut connection = Connection::open(rig.address);
            connection.send(request("POST", "/v1/completions", &[], &value.to_string()));
            connections.push(connection);
            wait_until(Duration::from_secs(10), "it is accepted", || rig.scheduler().n_open() == i + 1);
        }
        drop(permit);
        let started = Instant::now();
        for (i, connection) in connections.iter_mut().enumerate() {
            let answer = connection.answer().expect("an answer");
            if i == 2 {
                let events = answer.events();
                assert!(events[events.len() - 1].contains(reason), "{events:?}");
            } else {
                assert!(answer.fails(500, None).contains(reason));
            }
        }
        rig.get("/health").fails(503, None);
        rig.get("/ready").fails(503, None);
        assert!(rig.complete(body([1, 2, 3], 1)).fails(503, None).contains(reason));
        let Err(ServerError::Device { error }) = rig.outcome() else { panic!("it ended well") };
        assert!(error.contains(reason), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[test]
fn a_server_without_its_model_says_that_it_is_loading() {
    let rig = start(options(), None);
    for path in ["/health", "/ready", "/v1/models", "/metrics"] {
        let answer = rig.get(path);
        assert_eq!(answer.fails(503, None), "Loading model");
        assert_eq!(answer.json()["error"]["type"], "unavailable_error");
        assert!(answer.header("retry-after").is_some());
    }
    rig.complete(json!({"prompt": "a"})).fails(503, None);
}

#[test]
fn a_device_that_does_not_get_on_is_not_ready_but_healthy() {
    let (engine, calls, permit) = watched(4 * 512);
    let limits = halfwarp::server::Limits { stall_time: Duration::from_millis(400), ..Default::default() };
    let rig = serve(engine, SchedulerOptions::default(), crate::rig::limited(limits));
    rig.get("/ready").ok();
    let mut connection = Connection::open(rig.address);
    connection.send(request("POST", "/v1/completions", &[], &body([1, 2, 3], 2).to_string()));
    calls.recv_timeout(Duration::from_secs(10)).unwrap();
    wait_until(Duration::from_secs(10), "it is not ready", || rig.get("/ready").status == 503);
    rig.get("/health").ok();
    drop(permit);
    connection.answer().unwrap().ok();
    wait_until(Duration::from_secs(10), "it is ready again", || rig.get("/ready").status == 200);
}
