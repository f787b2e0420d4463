//! `halfwarp serve` as a process: how it starts, what it logs, how it ends.

use crate::client::{Answer, Connection, ask, request};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    /// What it writes to standard error, line by line.
    lines: Receiver<String>,
}

/// `halfwarp serve` with arguments that are separated by spaces, and no settings from the environment.
pub fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALFWARP_") {
            command.env_remove(name);
        }
    }
    command.arg("serve").args(args.split_whitespace()).env("HALFWARP_DEVICE", "cpu");
    command.env("HF_HUB_OFFLINE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    /// Starts it and waits until it is healthy.
    pub fn start(args: &str) -> Self {
        Self::spawn(command(args))
    }

    /// [`start`](Self::start) for a command that is there.
    pub fn spawn(mut command: Command) -> Self {
        let started = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let first = lines.recv_timeout(PATIENCE).expect("a line");
        let address = first.strip_prefix("listening on http://").expect(&first).parse().expect(&first);
        while ask(address, "GET", "/health", &[], "").status != 200 {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, address, lines }
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        ask(self.address, "POST", path, headers, &body.to_string())
    }

    /// A stream that has begun and goes on for a while.
    pub fn stream(&self, max_tokens: usize) -> Connection {
        let body = json!({"prompt": "a", "max_tokens": max_tokens, "ignore_eos": true, "stream": true});
        let mut connection = Connection::open(self.address);
        connection.send(request("POST", "/v1/completions", &[], &body.to_string()));
        assert_eq!(connection.head().unwrap().status, 200);
        connection.chunk().unwrap().expect("a token");
        connection
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: plain system call; the process is our child, and not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next line of the log about a request.
    fn logged(&self) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line");
            if let Ok(value) = serde_json::from_str(&line) {
                return value;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of a stream, and whether it ended as HTTP says.
pub fn rest(connection: &mut Connection) -> (String, bool) {
    let mut text = String::new();
    loop {
        match connection.chunk() {
            Some(Some(chunk)) => text += &String::from_utf8_lossy(&chunk),
            Some(None) => return (text, true),
            None => return (text, false),
        }
    }
}

#[track_caller]
fn fails(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let line = stderr.lines().last().unwrap_or_default();
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
}

#[test]
fn o01_a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fails(command(&format!("--port {port}")), &["error: ", &format!("127.0.0.1:{port}"), "in use"]);
}

#[test]
fn h08_an_open_address_without_a_key_is_refused_with_the_reason() {
    fails(command("--host 0.0.0.0 --port 0"), &["without an API key", "--insecure-no-auth"]);
    fails(command("--host :: --port 0"), &["without an API key"]);
    let program = Program::start_open("--host 0.0.0.0 --port 0 --insecure-no-auth");
    assert!(program.0.address.ip().is_unspecified());
}

/// A program whose address is the unspecified one: its health is asked for on loopback.
struct Open(Program);

impl Program {
    fn start_open(args: &str) -> Open {
        Open(Self::spawn(command(args)))
    }
}

#[test]
fn bad_settings_are_named() {
    fails(command("--port 0 --model no/such/model"), &["no/such/model"]);
    fails(command("--port 0 --chat-template no/such/file"), &["no/such/file"]);
    fails(command("--port 0 --api-key-file no/such/file"), &["no/such/file"]);
    fails(command("--port 0 --n-cache 100"), &["holds 128 tokens", "512"]);
    fails(command("--port 0 --host no.such.host.invalid"), &["no.such.host.invalid"]);
}

/// On an emulated device whose 200th kernel fails: some 30 load the model, 33 make a token.
#[cfg(all(feature = "cuda", target_os = "linux"))]
#[test]
fn g03_a_lost_device_ends_the_program_with_1() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(crate::libcuda::emulator(), folder.path().join("libcuda.so")).unwrap();
    let mut command = command("--port 0 --device cuda --log-format off");
    command.env("LD_LIBRARY_PATH", folder.path()).env("CUDA_EMULATOR_LAUNCH_FAILURE", "200");
    let mut program = Program::spawn(command);
    let body = json!({"prompt": "Once", "max_tokens": 60, "ignore_eos": true});
    let message = program.post("/v1/completions", &[], &body).fails(500, None);
    assert!(message.contains("CUDA_ERROR_LAUNCH_FAILED"), "{message}");
    assert_eq!(program.exit_code(), Some(1));
    let said = program.lines.try_iter().last().unwrap_or_default();
    assert!(said.contains("CUDA_ERROR_LAUNCH_FAILED"), "{said}");
}

#[test]
fn o01_a_server_that_was_killed_is_healthy_again_on_its_port() {
    let mut program = Program::start("--port 0 --log-format off");
    let port = program.address.port();
    for _ in 0..5 {
        let mut stream = program.stream(500);
        program.signal(libc::SIGKILL);
        let (text, is_complete) = rest(&mut stream);
        assert!(!is_complete && !text.contains("[DONE]"), "{text}");
        program.exit_code();
        let started = Instant::now();
        program = Program::start(&format!("--port {port} --log-format off"));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[test]
fn o01_a_first_sigterm_lets_streams_end_and_takes_no_more() {
    let mut program = Program::start("--port 0 --log-format off");
    let mut idle = Connection::open(program.address);
    idle.send(request("GET", "/health", &[], ""));
    idle.answer().unwrap().ok();
    let mut streams: Vec<_> = (0..8).map(|_| program.stream(60)).collect();
    let started = Instant::now();
    program.signal(libc::SIGTERM);
    for stream in &mut streams {
        let (text, is_complete) = rest(stream);
        assert!(is_complete && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    assert!(idle.is_closed());
    assert_eq!(program.exit_code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(std::net::TcpStream::connect(program.address).is_err());
}

#[test]
fn o01_a_second_signal_ends_the_program_at_once() {
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let mut program = Program::start("--port 0 --log-format off");
        let mut streams: Vec<_> = (0..4).map(|_| program.stream(500)).collect();
        program.signal(signal);
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        program.signal(signal);
        assert_eq!(program.exit_code(), Some(code));
        assert!(started.elapsed() < Duration::from_secs(1));
        assert!(!rest(&mut streams[0]).1, "cut off, not ended");
    }
}

#[test]
fn h09_the_log_has_one_escaped_line_a_request_without_prompts_and_keys() {
    let mut command = command("--port 0 --log-format json");
    command.env("HALFWARP_API_KEY", "sk-secret-key");
    let program = Program::spawn(command);
    let key = ("Authorization", "Bearer sk-secret-key");
    let evil = "x\r\nINFO forged\u{1b}[31m\u{0}";
    let body = json!({"prompt": "a secret prompt", "max_tokens": 2, "user": evil});
    program.post("/v1/completions", &[key, ("User-Agent", "a\u{9b}31m")], &body).ok();
    program
        .post("/v1/completions", &[key], &json!({"prompt": "a secret prompt", "model": evil}))
        .fails(404, Some("model"));
    program.post("/v1/completions", &[("Authorization", "Bearer sk-guess")], &body).fails(401, None);
    ask(program.address, "GET", "/%0d%0aforged%1b\u{e9}", &[key], "").fails(404, None);
    program
        .post(
            "/v1/completions",
            &[key],
            &json!({"prompt": "a secret prompt", "stream": true, "max_tokens": 3, "ignore_eos": true}),
        )
        .chunks();
    let mut lines: Vec<Value> = (0..5).map(|_| program.logged()).collect();
    // A line comes when the answer is gone, which may be after the next request has come.
    lines.sort_by_key(|line| line["id"].as_str().unwrap().to_string());
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 404, 401, 404, 200], "{lines:?}");
    let streamed = &lines[4];
    assert_eq!(
        (&streamed["model"], &streamed["method"], &streamed["finish"]),
        (&json!("tales"), &json!("POST"), &json!("length"))
    );
    assert_eq!((&streamed["completion_tokens"], &streamed["client_gone"]), (&json!(3), &json!(false)));
    for name in [
        "id",
        "prompt_tokens",
        "cached_tokens",
        "queue_ms",
        "prefill_ms",
        "decode_ms",
        "total_ms",
        "timestamp",
    ] {
        assert!(!streamed[name].is_null(), "{name} in {streamed}");
    }
    for line in &lines {
        let text = line.to_string();
        assert!(
            !["secret", "forged\u{1b}", "sk-", "guess", "\\u0000"].iter().any(|bad| text.contains(bad)),
            "{text}"
        );
    }
    let gone = program.stream_with_key("sk-secret-key");
    gone.reset();
    let line = program.logged();
    assert_eq!((&line["client_gone"], &line["status"]), (&json!(true), &json!(200)));
}

impl Program {
    fn stream_with_key(&self, key: &str) -> Connection {
        let body = json!({"prompt": "a", "max_tokens": 500, "ignore_eos": true, "stream": true});
        let mut connection = Connection::open(self.address);
        let headers = [("Authorization", &*format!("Bearer {key}"))];
        connection.send(request("POST", "/v1/completions", &headers, &body.to_string()));
        connection.head().unwrap();
        connection
    }
}

/// A program whose standard error is `stderr`.
fn with_stderr(stderr: impl Into<Stdio>) -> (Child, SocketAddr) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = command(&format!("--port {port}")).stderr(stderr).spawn().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let started = Instant::now();
    while std::net::TcpStream::connect(address).is_err() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    while ask(address, "GET", "/health", &[], "").status != 200 && started.elapsed() < PATIENCE {}
    (child, address)
}

#[test]
fn a_log_that_cannot_be_written_fails_no_request() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return eprintln!("skipped: no /dev/full");
    };
    let (mut child, address) = with_stderr(full);
    for _ in 0..3 {
        ask(address, "POST", "/v1/completions", &[], "{\"max_tokens\":2}").ok();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let (mut child, address) = with_stderr(Stdio::piped());
    let mut connection = Connection::open(address);
    // Far more than a pipe holds.
    for _ in 0..2000 {
        connection.send(request("GET", "/v1/models", &[], ""));
        connection.answer().unwrap().ok();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
