//! One well-behaved client: a completion asked for and what became of it, and the raw bytes of the others.

use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A whole text.
    Text { text: String, n_tokens: usize, first: Duration, gaps: Vec<Duration> },
    /// An error in OpenAI's shape.
    Refused { status: u16, retry_after: bool, after: Duration },
    /// The connection ended without a terminator, or never was.
    Broken,
    /// Neither a whole text nor an error nor an ending: what must not be.
    Wrong(String),
}

pub struct Client {
    addr: SocketAddr,
    agent: ureq::Agent,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(120)))
            .http_status_as_error(false)
            .build();
        Self { addr, agent: config.into() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn is_healthy(&self) -> bool {
        self.agent.get(self.url("/health")).call().is_ok_and(|answer| answer.status() == 200)
    }

    /// A metric's value, summed over its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let mut answer = self.agent.get(self.url("/metrics")).call().ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values: Vec<f64> =
            text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Asks for the completion of `body`.
    pub fn complete(&self, body: &Value, stream: bool) -> Answer {
        let started = Instant::now();
        let mut body = body.clone();
        body["stream"] = stream.into();
        let request = self.agent.post(self.url("/v1/completions")).header("content-type", "application/json");
        let Ok(mut answer) = request.send(body.to_string()) else { return Answer::Broken };
        let status = answer.status().as_u16();
        if status != 200 {
            let retry_after = answer.headers().contains_key("retry-after");
            let Ok(text) = answer.body_mut().read_to_string() else { return Answer::Broken };
            let after = started.elapsed();
            return match serde_json::from_str::<Value>(&text) {
                Ok(error) if error["error"]["message"].is_string() => {
                    Answer::Refused { status, retry_after, after }
                }
                _ => Answer::Wrong(format!("status {status} with {text:?}")),
            };
        }
        if stream {
            return events(started, BufReader::new(answer.body_mut().as_reader()));
        }
        let Ok(text) = answer.body_mut().read_to_string() else { return Answer::Broken };
        let first = started.elapsed();
        let Ok(value) = serde_json::from_str::<Value>(&text) else { return Answer::Wrong(text) };
        match (value["choices"][0]["text"].as_str(), value["usage"]["completion_tokens"].as_u64()) {
            (Some(text), Some(n)) => {
                Answer::Text { text: text.into(), n_tokens: n as usize, first, gaps: Vec::new() }
            }
            _ => Answer::Wrong(text),
        }
    }
}

/// Reads the events of a stream, up to its terminator.
fn events(started: Instant, reader: impl BufRead) -> Answer {
    let (mut text, mut n_tokens, mut times, mut is_finished) = (String::new(), 0, Vec::new(), false);
    for line in reader.lines() {
        let Ok(line) = line else { return Answer::Broken };
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            let total = started.elapsed();
            let first = times.first().map_or(total, |&first| first);
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            return match is_finished {
                true => Answer::Text { text, n_tokens, first, gaps },
                false => Answer::Wrong("[DONE] without a finish_reason".into()),
            };
        }
        let Ok(event) = serde_json::from_str::<Value>(data) else { return Answer::Wrong(data.into()) };
        if event["error"].is_object() {
            return Answer::Broken;
        }
        let choice = &event["choices"][0];
        if let Some(piece) = choice["text"].as_str() {
            times.push(started.elapsed());
            n_tokens += 1;
            text += piece;
        }
        is_finished |= choice["finish_reason"].is_string();
    }
    Answer::Broken
}

/// The bytes of a request for the completion of `body`.
pub fn request_bytes(addr: SocketAddr, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// A connection whose reads and writes end within `timeout`.
pub fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// Sends `bytes` and returns the status of the answer; none where the connection was closed without one.
pub fn status_of(addr: SocketAddr, bytes: &[u8]) -> io::Result<Option<u16>> {
    let mut stream = connect(addr, Duration::from_secs(40))?;
    // The server may answer and close before it has all of it.
    let _ = stream.write_all(bytes);
    let mut head = [0; 16];
    let mut n = 0;
    while n < 12 {
        match stream.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&head[..n]);
    Ok(text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()))
}
