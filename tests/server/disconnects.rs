//! S04: a client that goes away takes its texts along, wherever they were.

use crate::{
    client::{Connection, request},
    rig::{Rig, options, serve, wait_until},
    watched::{Call, watched},
};
use halfwarp::scheduler::SchedulerOptions;
use serde_json::{Value, json};
use std::{
    sync::mpsc::{Receiver, Sender},
    time::Duration,
};

/// Within one forward call, on a machine that is busy.
const SOON: Duration = Duration::from_secs(5);

/// One text at a time, each forward call on the test's word.
fn held() -> (Rig, Receiver<Call>, Sender<()>) {
    let (engine, calls, permit) = watched(4 * 512);
    let texts = SchedulerOptions { n_running: 1, ..SchedulerOptions::default() };
    (serve(engine, texts, options()), calls, permit)
}

fn send(rig: &Rig, body: Value) -> Connection {
    let mut connection = Connection::open(rig.address);
    connection.send(request("POST", "/v1/completions", &[], &body.to_string()));
    connection
}

fn long(stream: bool) -> Value {
    json!({"prompt": [11, 12, 13], "max_tokens": 400, "ignore_eos": true, "stream": stream})
}

/// Closes with a FIN, or with a reset.
fn cut(connection: Connection, with_reset: bool) {
    if with_reset { connection.reset() } else { drop(connection) }
}

#[test]
fn s04_a_client_that_goes_while_tokens_come_frees_its_place_within_a_step() {
    for (i, (stream, with_reset)) in
        [(true, false), (true, true), (false, false), (false, true)].into_iter().enumerate()
    {
        let (rig, calls, permit) = held();
        let connection = send(&rig, long(stream));
        for _ in 0..3 {
            permit.send(()).unwrap();
        }
        // The fourth call is under way when the client goes.
        (0..4).for_each(|_| drop(calls.recv_timeout(SOON).unwrap()));
        cut(connection, with_reset);
        std::thread::sleep(Duration::from_millis(200));
        permit.send(()).unwrap();
        wait_until(SOON, "the text is cancelled", || rig.scheduler().n_open() == 0);
        assert!(
            calls.recv_timeout(Duration::from_millis(50)).is_err(),
            "case {i}: no call more was made for it"
        );
        assert_eq!((rig.metric("requests_cancelled_total"), rig.metric("kv_cache_usage_perc")), (1.0, 0.0));
        drop(permit);
        let answer = rig.complete(json!({"prompt": "a", "max_tokens": 2}));
        assert_eq!(answer.ok()["usage"]["completion_tokens"], 2, "the place is free");
    }
}

#[test]
fn s04_a_client_that_goes_during_its_prompt_is_noticed_between_two_chunks() {
    let (rig, calls, permit) = held();
    let prompt: Vec<u32> = (0..500).map(|i| 11 + i).collect();
    let connection = send(&rig, json!({"prompt": prompt, "max_tokens": 1}));
    let first = calls.recv_timeout(SOON).unwrap();
    assert!(first[0].1 < 500, "the prompt is cut");
    drop(connection);
    std::thread::sleep(Duration::from_millis(200));
    permit.send(()).unwrap();
    wait_until(SOON, "the text is cancelled", || rig.scheduler().n_open() == 0);
    assert!(calls.try_recv().is_err(), "the rest of the prompt is not computed");
}

#[test]
fn s04_a_text_whose_client_goes_while_it_waits_never_begins_and_its_neighbour_goes_on() {
    let (rig, calls, permit) = held();
    let expected = {
        let (alone, _calls, permit) = held();
        drop(permit);
        alone.complete(json!({"prompt": [21, 22, 23], "max_tokens": 8, "temperature": 0})).ok()["choices"][0]
            ["text"]
            .clone()
    };
    let mut running = send(&rig, json!({"prompt": [21, 22, 23], "max_tokens": 8, "temperature": 0}));
    calls.recv_timeout(SOON).unwrap();
    let waiting: Vec<_> = [true, false].map(|stream| send(&rig, long(stream))).into();
    wait_until(SOON, "both wait", || rig.scheduler().n_open() == 3);
    for (connection, with_reset) in waiting.into_iter().zip([false, true]) {
        cut(connection, with_reset);
    }
    std::thread::sleep(Duration::from_millis(200));
    drop(permit);
    assert_eq!(running.answer().unwrap().ok()["choices"][0]["text"], expected);
    wait_until(SOON, "nothing is left", || rig.scheduler().n_open() == 0);
    assert!(
        calls.iter().take(7).count() == 7 && calls.try_recv().is_err(),
        "eight calls for the neighbour, none else"
    );
    assert_eq!(rig.metric("requests_cancelled_total"), 2.0);
}

#[test]
fn a_client_that_goes_before_its_body_is_complete_costs_nothing() {
    let (rig, ..) = held();
    for with_reset in [false, true] {
        let mut connection = Connection::open(rig.address);
        connection.send(request("POST", "/v1/completions", &[("Content-Length", "1000")], "{\"prompt\":"));
        cut(connection, with_reset);
    }
    rig.get("/ready").ok();
    assert_eq!(rig.scheduler().n_open(), 0);
}
