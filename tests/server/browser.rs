//! A page in Chromium that asks a server of another origin.

use crate::rig::{Rig, engine, options, serve};
use halfwarp::{scheduler::SchedulerOptions, server::ServerOptions};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

/// Serves `page.html` on a port of its own; what the page has seen comes through the channel.
fn serve_page() -> (SocketAddr, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (told, seen)) = (listener.local_addr().unwrap(), mpsc::channel());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream, &told));
        }
    });
    (address, seen)
}

fn answer(mut stream: TcpStream, told: &Sender<Value>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 65536]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        match serde_json::from_str(body) {
            Ok(value) if head.starts_with("POST") => drop(told.send(value)),
            _ if head.starts_with("POST") => continue,
            _ => {}
        }
        let page = include_str!("page.html");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        return drop(stream.write_all((head + page).as_bytes()));
    }
}

fn server(cors_origins: Vec<String>) -> Rig {
    let options = ServerOptions { api_keys: vec!["sk-test".into()], cors_origins, ..options() };
    serve(engine(), SchedulerOptions::default(), options)
}

#[test]
fn a_page_of_an_allowed_origin_asks_as_openai_js_does_and_others_cannot() {
    let Some(program) = std::env::var_os("HALFWARP_TEST_CHROMIUM") else {
        return eprintln!("skipped: HALFWARP_TEST_CHROMIUM names no Chromium");
    };
    let (page, seen) = serve_page();
    let (open, closed) = (server(vec![format!("http://{page}")]), server(Vec::new()));
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(format!("http://{page}/?url=http://{}&url=http://{}", open.address, closed.address))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let seen = seen.recv_timeout(Duration::from_secs(60));
    let _ = browser.kill();
    let _ = browser.wait();
    let seen = seen.expect("the page says what it has seen");
    assert_eq!((&seen["right"]["status"], &seen["right"]["id"]), (&200.into(), &true.into()), "{seen}");
    assert_eq!((&seen["wrong"]["status"], &seen["wrong"]["id"]), (&400.into(), &true.into()), "{seen}");
    assert!(seen["wrong"]["text"].as_str().unwrap().contains("max_tokens"), "{seen}");
    assert_eq!(seen["stream"], true, "{seen}");
    assert!(seen["closed"]["refused"].as_str().unwrap().contains("Failed to fetch"), "{seen}");
}
