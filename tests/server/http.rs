//! Requests that are not what they seem, too large, or of another kind.

use crate::{
    client::{Connection, ask, request},
    rig::{engine, options, serve, tales},
};
use halfwarp::{scheduler::SchedulerOptions, server::ServerOptions};
use serde_json::json;
use std::time::{Duration, Instant};

/// Sends bytes and returns what comes back until the server closes, which it must.
#[track_caller]
fn until_closed(bytes: &str) -> Vec<u16> {
    let mut connection = Connection::open(tales().address);
    connection.send(bytes);
    let mut statuses = Vec::new();
    while let Some(answer) = connection.answer() {
        statuses.push(answer.status);
        assert!(statuses.len() < 10, "it answers for ever");
    }
    statuses
}

#[test]
fn h01_a_request_that_could_be_read_in_two_ways_is_the_last_of_its_connection() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\t\r\n",
    ] {
        let statuses = until_closed(&format!("{head}{headers}\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}"));
        // Read as chunked, or refused; and nothing after it is answered.
        assert!(statuses == [200] || statuses == [400], "{headers:?}: {statuses:?}");
    }
    for headers in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
    ] {
        let statuses = until_closed(&format!("{head}{headers}\r\n{{}}{smuggled}"));
        assert!(statuses == [400] || statuses.is_empty(), "{headers:?}: {statuses:?}");
    }
}

#[test]
fn h02_a_body_beyond_the_limit_is_refused() {
    let announced = request("POST", "/v1/completions", &[("Content-Length", "2147483648")], "");
    assert_eq!(until_closed(&announced), [413]);

    let mut endless = Connection::open(tales().address);
    endless.send(
        request("POST", "/v1/completions", &[("Transfer-Encoding", "chunked"), ("Content-Length", "0")], "")
            .replace("Content-Length: 0\r\n", ""),
    );
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let n_sent = (0..1000).take_while(|_| endless.send(&chunk)).count();
    assert!(n_sent < 1000, "somebody reads 64 MB");
    if let Some(answer) = endless.answer() {
        answer.fails(413, None);
    }

    let bad = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n";
    assert_eq!(until_closed(bad), [400]);
}

/// A client of the usual kind sends all of its request before it reads a byte of the answer.
#[test]
fn h02_a_refusal_reaches_a_client_that_sends_all_of_its_body_first() {
    let key = ["the-key".to_string()].into();
    let rig = serve(engine(), SchedulerOptions::default(), ServerOptions { api_keys: key, ..options() });
    let kind = |kind| ("Content-Type", kind);
    let (good, bad) = (("Authorization", "Bearer the-key"), ("Authorization", "Bearer another"));
    let json = kind("application/json");
    for (status, headers, n_bytes) in [
        (413, &[good, json][..], 6_000_000),
        (401, &[bad, json], 1_800_000),
        (415, &[good, kind("text/plain")], 1_800_000),
        (403, &[good, json, ("Origin", "https://evil.example")], 1_800_000),
        (404, &[good, json], 6_000_000),
    ] {
        let path = if status == 404 { "/nothing" } else { "/v1/completions" };
        let bytes = request("POST", path, headers, &"x".repeat(n_bytes));
        for i in 0..10 {
            let mut connection = Connection::open(rig.address);
            assert!(connection.send(&bytes), "{status}, run {i}: the server reads it");
            connection.answer().unwrap_or_else(|| panic!("{status} is lost in run {i}")).fails(status, None);
        }
    }
}

/// What is dropped is bounded in time: a client that sends no more, and does not close either, keeps its place for no longer.
#[test]
fn h02_a_refused_client_that_stays_does_not_keep_its_place() {
    let mut rig = serve(engine(), SchedulerOptions::default(), options());
    let mut connection = Connection::open(rig.address);
    connection.send(request("POST", "/v1/completions", &[("Content-Length", "100000000")], "{"));
    connection.answer().unwrap().fails(413, None);
    assert!(connection.is_closed(), "for its part, at once");
    // Which waits for all connections.
    let started = Instant::now();
    rig.shut_down();
    assert!(rig.outcome().is_ok());
    let time = started.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(6)).contains(&time), "{time:?}");
}

#[test]
fn h03_a_head_beyond_the_limit_is_refused() {
    let long = "x".repeat(1 << 20);
    let many: String = (0..10_000).map(|i| format!("X-{i}: y\r\n")).collect();
    for (bytes, expected) in [
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"), [431].as_slice()),
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), &[431]),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), &[414, 431]),
    ] {
        for _ in 0..5 {
            let mut connection = Connection::open(tales().address);
            assert!(connection.send(&bytes), "the server reads it");
            let answer = connection.answer().expect("it is told");
            assert!(expected.contains(&answer.status), "{}", answer.status);
        }
    }
    tales().get("/health").ok();
}

#[test]
fn h04_a_body_of_another_kind_is_refused() {
    let post = |headers: &[(&str, &str)]| {
        ask(tales().address, "POST", "/v1/completions", headers, "{\"max_tokens\":1}")
    };
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""]
    {
        assert!(post(&[("Content-Type", kind)]).fails(415, None).contains("application/json"));
    }
    post(&[("Content-Type", "application/json; charset=utf-8")]).ok();
    post(&[("Content-Type", "Application/JSON")]).ok();
    for coding in ["gzip", "br", "deflate, gzip"] {
        assert!(post(&[("Content-Encoding", coding)]).fails(415, None).contains("compressed"));
    }
    let bare = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(until_closed(bare), [415]);
}

#[test]
fn paths_and_methods_that_are_not_there_are_errors_of_the_same_shape() {
    tales().get("/").fails(404, None);
    tales().get("/v1/embeddings").fails(404, None);
    tales().get("/v1/completions").fails(405, None);
    tales().post("/health", "{}").fails(405, None);
    ask(tales().address, "DELETE", "/v1/models", &[], "").fails(405, None);
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut connection = Connection::open(tales().address);
    let body = json!({"prompt": "a", "max_tokens": 2, "stream": true}).to_string();
    let completion = request("POST", "/v1/completions", &[], &body);
    for _ in 0..3 {
        connection.send(&completion);
        assert!(!connection.answer().unwrap().chunks().is_empty());
        connection.send(request("GET", "/v1/models", &[], ""));
        connection.answer().unwrap().ok();
    }
    // Both at once, answered in order.
    let started = Instant::now();
    connection.send(request("GET", "/health", &[], "") + &request("GET", "/v1/models", &[], ""));
    assert_eq!(connection.answer().unwrap().ok()["status"], "ok");
    assert_eq!(connection.answer().unwrap().ok()["object"], "list");
    assert!(started.elapsed().as_secs() < 5);
}
