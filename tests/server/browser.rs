//! A page in Chromium that asks a server of another origin.

use crate::rig::{Rig, engine, options, serve};
use halfwarp::{scheduler::SchedulerOptions, server::ServerOptions};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
};

/// Serves `page.html` to whoever asks, on a port of its own.
fn serve_page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let page = include_str!("page.html");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all((head + page).as_bytes());
        }
    });
    address
}

fn server(cors_origins: Vec<String>) -> Rig {
    let options = ServerOptions { api_keys: vec!["sk-test".into()], cors_origins, ..options() };
    serve(engine(), SchedulerOptions::default(), options)
}

/// The browser, where HALFWARP_TEST_CHROMIUM names one.
fn chromium(url: &str) -> Option<Value> {
    let Some(program) = std::env::var_os("HALFWARP_TEST_CHROMIUM") else {
        eprintln!("skipped: HALFWARP_TEST_CHROMIUM names no Chromium");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--virtual-time-budget=20000", "--timeout=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(url)
        .output()
        .expect("the browser starts");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = page.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (seen, _) = seen.unwrap_or_else(|| panic!("{page} {}", String::from_utf8_lossy(&output.stderr)));
    Some(
        serde_json::from_str(&seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            .expect(&page),
    )
}

#[test]
fn a_page_of_an_allowed_origin_asks_as_openai_js_does_and_others_cannot() {
    let page = serve_page();
    let (open, closed) = (server(vec![format!("http://{page}")]), server(Vec::new()));
    let url = format!("http://{page}/?url=http://{}&url=http://{}", open.address, closed.address);
    let Some(seen) = chromium(&url) else { return };
    assert_eq!((&seen["right"]["status"], &seen["right"]["id"]), (&200.into(), &true.into()), "{seen}");
    assert_eq!((&seen["wrong"]["status"], &seen["wrong"]["id"]), (&400.into(), &true.into()), "{seen}");
    assert!(seen["wrong"]["text"].as_str().unwrap().contains("max_tokens"), "{seen}");
    assert_eq!(seen["stream"], true, "{seen}");
    assert!(seen["closed"]["refused"].as_str().unwrap().contains("Failed to fetch"), "{seen}");
}
