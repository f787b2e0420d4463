//! What a body may cost: memory and time of the whole program, for bodies of the largest size that is accepted.

use crate::{
    client::{Connection, ask, request},
    program::Program,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BODY_LEN: usize = 2 << 20;
const MIB: u64 = 1 << 20;

/// Paths and bodies, each as large as it may be.
fn hostile() -> Vec<(&'static str, &'static str, String)> {
    let completions = "/v1/completions";
    let fill = |prefix: &str, part: &str, suffix: &str| {
        let n = (BODY_LEN - prefix.len() - suffix.len()) / part.len();
        format!("{prefix}{}{suffix}", part.repeat(n))
    };
    let texts: Vec<String> = vec!["a <|endoftext|> ".repeat(1000); 64];
    vec![
        ("a long prompt", completions, fill("{\"prompt\":\"", "a ", "\"}")),
        ("prompts that just fit", completions, json!({"prompt": texts, "max_tokens": 1}).to_string()),
        ("many ids", completions, fill("{\"prompt\":[", "1,", "1]}")),
        ("many lists", completions, fill("{\"prompt\":[", "[],", "[]]}")),
        ("many objects", completions, fill("{\"prompt\":[", "{\"\":0},", "{}]}")),
        ("many strings", completions, fill("{\"stop\":[", "\"a\",", "\"a\"]}")),
        ("a field that nobody knows", completions, fill("{\"zzz\":[", "{\"\":[0]},", "0],\"max_tokens\":1}")),
        ("many fields", completions, {
            let fields: String = (0..130_000).map(|i| format!("\"{i}\":[],")).collect();
            format!("{{{fields}\"n\":1}}")
        }),
        ("a long message", "/v1/chat/completions", {
            let text = "<".repeat(BODY_LEN / 600);
            json!({"messages": vec![json!({"role": "user", "content": text}); 512]}).to_string()
        }),
        ("a text to tokenize", "/tokenize", fill("{\"content\":\"", "a ", "\"}")),
        ("ids to turn to text", "/detokenize", fill("{\"tokens\":[", "1,", "1]}")),
    ]
}

/// A number of kilobytes in the program's status, in bytes.
fn status(program: &Program, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Seconds that the program has computed.
fn cpu_seconds(program: &Program) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", program.child.id())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // SAFETY: a plain query.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / ticks
}

/// A program with a template for chat, that has answered once.
fn program() -> Program {
    // Without spaces, at which the arguments are split.
    let template = "{{messages|map(attribute='content')|join}}";
    let program = Program::start(&format!("--port 0 -t 1 --log-format off --chat-template {template}"));
    ask(program.address, "POST", "/v1/completions", &[], "{\"prompt\":\"a\",\"max_tokens\":2}").ok();
    program
}

#[test]
#[cfg(target_os = "linux")]
fn a_body_costs_little_memory_and_time() {
    for (what, path, body) in hostile() {
        assert!(body.len() <= BODY_LEN, "{what}: {} bytes", body.len());
        let program = program();
        let (before, cpu_before) = (status(&program, "VmHWM"), cpu_seconds(&program));
        let answer = ask(program.address, "POST", path, &[], &body);
        assert!([200, 400].contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        let (memory, cpu) = (status(&program, "VmHWM") - before, cpu_seconds(&program) - cpu_before);
        println!("{what}: {} in {cpu:.2} s with {} MiB more", answer.status, memory / MIB);
        assert!(memory <= 64 * MIB, "{what}: {} MiB", memory / MIB);
        assert!(cpu <= 1.0, "{what}: {cpu} s");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_comes_back_after_a_storm() {
    let program = program();
    let before = status(&program, "VmRSS");
    let bodies = hostile();
    let mut connections: Vec<_> = (0..64)
        .map(|i| {
            let (_, path, body) = &bodies[i % bodies.len()];
            let mut connection = Connection::open(program.address);
            connection.send(request("POST", path, &[], body));
            connection
        })
        .collect();
    for (i, connection) in connections.iter_mut().enumerate() {
        let answer = connection.answer().expect("an answer");
        let what = bodies[i % bodies.len()].0;
        assert!([200, 400, 503, 504].contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    }
    drop(connections);
    let started = Instant::now();
    let above = || status(&program, "VmRSS").saturating_sub(before) / MIB;
    while above() > 128 && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{} MiB above idle, {} MiB at most", above(), (status(&program, "VmHWM") - before) / MIB);
    assert!(above() <= 128, "{} MiB above idle", above());
}

/// Words are remembered once they are split: as many as they like, of the longest that are, on each of the threads.
#[test]
#[cfg(target_os = "linux")]
fn words_that_are_remembered_take_little_memory() {
    let program = program();
    let before = status(&program, "VmRSS");
    // Letters alone, so that a word is one.
    let letters = |n: u32| n.to_string().bytes().map(|digit| (digit + 49) as char).collect::<String>();
    let send = |body: u32| {
        let words: Vec<String> = (0..1000).map(|i| "abc".repeat(80) + &letters(1000 * body + i)).collect();
        let body = json!({"content": words.join(" ")}).to_string();
        ask(program.address, "POST", "/tokenize", &[], &body).ok();
    };
    // Four at once, so that all threads have their share.
    for body in (0..48).step_by(4) {
        std::thread::scope(|scope| (0..4).for_each(|i| _ = scope.spawn(move || send(body + i))));
    }
    let above = status(&program, "VmRSS").saturating_sub(before) / MIB;
    println!("{above} MiB above idle");
    assert!(above <= 128, "{above} MiB above idle");
}

/// Four clients leave behind what would keep all threads that read bodies busy.
#[test]
fn a_client_that_has_gone_does_not_hold_up_others() {
    let program = program();
    let slow = hostile().into_iter().find(|(what, ..)| *what == "prompts that just fit").unwrap().2;
    for _ in 0..32 {
        let mut connection = Connection::open(program.address);
        connection.send(request("POST", "/v1/completions", &[], &slow));
        connection.reset();
    }
    let body: Value = json!({"prompt": vec![5; 400], "max_tokens": 1, "user": "x".repeat(6000)});
    let started = Instant::now();
    ask(program.address, "POST", "/v1/completions", &[], &body.to_string()).ok();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
