//! Who may ask: keys, names, pages.

use crate::{
    client::{Answer, Connection, ask, request},
    rig::{Rig, engine, options, serve, tales, wait_until},
};
use halfwarp::{
    scheduler::SchedulerOptions,
    server::{Server, ServerError, ServerOptions},
};
use serde_json::json;
use std::{sync::OnceLock, time::Duration};

const KEY: &str = "sk-Alpha-0123456789";
const OTHER_KEY: &str = "sk-Beta-9876543210";
const PAGE: &str = "https://good.example";

/// A server with two keys and a page that may ask.
fn locked() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| {
        let options = ServerOptions {
            api_keys: vec![KEY.into(), OTHER_KEY.into()],
            cors_origins: vec![PAGE.into()],
            allowed_hosts: vec!["model.internal".into()],
            ..options()
        };
        serve(engine(), SchedulerOptions::default(), options)
    })
}

fn models(headers: &[(&str, &str)]) -> Answer {
    ask(locked().address, "GET", "/v1/models", headers, "")
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[test]
fn h05_only_the_exact_key_is_let_in() {
    let flipped: String = KEY
        .chars()
        .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    for wrong in [
        bearer("sk-wrong"),
        bearer(&flipped),
        bearer(&format!("{KEY}x")),
        bearer(&KEY[1..]),
        format!("Bearer{KEY}"),
        format!("Bearer x {KEY}"),
        format!("Basic {KEY}"),
        KEY.into(),
        "Bearer ".into(),
        String::new(),
    ] {
        let answer = models(&[("Authorization", &wrong)]);
        answer.fails(401, None);
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    models(&[]).fails(401, None);
    models(&[("Authorization", &bearer(KEY)), ("Authorization", &bearer(KEY))]).fails(401, None);
    for key in [KEY, OTHER_KEY] {
        for value in [bearer(key), format!("bearer {key}"), format!("BEARER   {key} ")] {
            models(&[("Authorization", &value)]).ok();
        }
    }
    for path in ["/metrics", "/v1/models/tales", "/tokenize", "/nothing"] {
        ask(locked().address, "GET", path, &[], "").fails(401, None);
    }
    for path in ["/health", "/ready"] {
        ask(locked().address, "GET", path, &[], "").ok();
    }
}

#[test]
fn h05_a_key_is_asked_for_before_the_body_is_read() {
    let mut connection = Connection::open(locked().address);
    // A body is announced and never sent.
    connection.send(request("POST", "/v1/completions", &[("Content-Length", "1000000")], ""));
    connection.answer().unwrap().fails(401, None);
    assert!(connection.is_closed());
}

#[test]
fn h07_a_server_on_loopback_answers_to_its_own_names_only() {
    let rig = tales();
    let get = |host: &str| ask(rig.address, "GET", "/health", &[("Host", host)], "");
    let port = rig.address.port();
    for own in ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "[::1]"] {
        get(own).ok();
        get(&format!("{own}:{port}")).ok();
        // Whoever forwards a port may have another one.
        get(&format!("{own}:{}", port ^ 1)).ok();
    }
    for foreign in [
        "evil.example:8080",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "localhost..",
        "localhost:80:80",
        "localhost:evil.example",
        "evil.example:localhost",
    ] {
        assert!(get(foreign).fails(403, None).contains("--allowed-host"), "{foreign}");
    }
    let mut connection = Connection::open(rig.address);
    connection.send("GET /health HTTP/1.1\r\n\r\n");
    connection.answer().unwrap().fails(400, None);
    for path in ["/health", "/ready", "/metrics", "/v1/models"] {
        let mut connection = Connection::open(rig.address);
        connection.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(connection.head().unwrap().status, 200, "{path}");
        let mut connection = Connection::open(rig.address);
        connection.send(format!("GET {path} HTTP/1.0\r\nHost: evil.example\r\n\r\n"));
        assert_eq!(connection.head().unwrap().status, 403, "{path}");
    }
    let mut connection = Connection::open(rig.address);
    connection.send("GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.answer().unwrap().fails(403, None);
    ask(locked().address, "GET", "/health", &[("Host", "model.internal")], "").ok();
}

#[test]
fn h07_pages_are_refused_unless_they_are_allowed_by_their_exact_origin() {
    for origin in ["https://evil.example", "null", "https://good.example.evil.example", "http://good.example"]
    {
        for method in ["GET", "OPTIONS"] {
            let answer = ask(locked().address, method, "/health", &[("Origin", origin)], "");
            answer.fails(403, None);
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    ask(tales().address, "GET", "/health", &[("Origin", PAGE)], "").fails(403, None);
    let preflight = ask(
        locked().address,
        "OPTIONS",
        "/v1/completions",
        &[("Origin", PAGE), ("Access-Control-Request-Method", "POST")],
        "",
    );
    assert_eq!(preflight.status, 204);
    let key = bearer(KEY);
    let answer = models(&[("Origin", PAGE), ("Authorization", &key)]);
    answer.ok();
    for answer in [&preflight, &answer] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("x-request-id, x-ignored-fields, retry-after")
    );
    assert_eq!(models(&[("Authorization", &key)]).header("access-control-allow-origin"), None);
}

/// What openai-node 6 asks for in a browser.
#[test]
fn h07_a_preflight_allows_the_headers_that_the_openai_client_sends() {
    let asked = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,\
                 x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,\
                 x-stainless-runtime-version,x-stainless-timeout";
    let headers = [
        ("Origin", PAGE),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", asked),
    ];
    let preflight = ask(locked().address, "OPTIONS", "/v1/chat/completions", &headers, "");
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some(asked));
    let foreign = [("Origin", "https://evil.example"), headers[1], headers[2]];
    let refused = ask(locked().address, "OPTIONS", "/v1/chat/completions", &foreign, "");
    assert_eq!((refused.status, refused.header("access-control-allow-headers")), (403, None));
}

#[tokio::test]
async fn h08_an_address_that_others_can_reach_needs_a_key() {
    let address = "0.0.0.0:0".parse().unwrap();
    let Err(error) = Server::bind(address, options()) else { panic!("it is open") };
    assert!(matches!(error, ServerError::Open { .. }));
    assert!(error.to_string().contains("--insecure-no-auth"), "{error}");
    assert!(Server::bind(address, ServerOptions { insecure_no_auth: true, ..options() }).is_ok());
    assert!(Server::bind(address, ServerOptions { api_keys: vec![KEY.into()], ..options() }).is_ok());
    for key in ["", "a b", "a\nb", "ключ"] {
        assert!(Server::bind(address, ServerOptions { api_keys: vec![key.into()], ..options() }).is_err());
    }
}

#[test]
fn o03_what_one_key_asked_is_not_cached_for_another() {
    let ask_as = |key: &str| {
        let key = bearer(key);
        let body = json!({"prompt": (0..200).map(|i| i * 7 + 11).collect::<Vec<u32>>(), "max_tokens": 1})
            .to_string();
        let answer = ask(locked().address, "POST", "/v1/completions", &[("Authorization", &key)], &body).ok();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(ask_as(KEY), 0);
    let n_shared = ask_as(KEY);
    assert!(n_shared >= 160, "within one key sharing is fine");
    assert_eq!(ask_as(OTHER_KEY), 0);
    let n_computed = || locked().scheduler().load().n_prompt_tokens;
    wait_until(Duration::from_secs(5), "all of it is computed", || n_computed() == 600 - n_shared);
}
