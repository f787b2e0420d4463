//! A client that is nothing but a socket, so that tests decide over every byte.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The JSON of an answer that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The message of an error with this status, about this parameter, in OpenAI's shape.
    #[track_caller]
    pub fn fails(&self, status: u16, param: Option<&str>) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let value = self.json();
        let error = value["error"].as_object().unwrap_or_else(|| panic!("{value}"));
        let names: Vec<_> = error.keys().map(String::as_str).collect();
        assert_eq!(names, ["message", "type", "param", "code"]);
        assert!(error["type"].is_string(), "{value}");
        assert_eq!(error["param"].as_str(), param, "{value}");
        error["message"].as_str().unwrap_or_else(|| panic!("{value}")).to_string()
    }

    /// What the events of a stream hold.
    #[track_caller]
    pub fn events(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let text = String::from_utf8(self.body.clone()).expect("a stream is UTF-8");
        assert!(text.ends_with("\n\n"), "{text:?}");
        let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
        blocks.map(|block| block.strip_prefix("data: ").expect(block).to_string()).collect()
    }

    /// The chunks of a stream that must have ended well.
    #[track_caller]
    pub fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        assert!(!events.iter().any(|event| event == "[DONE]"), "{events:?}");
        events.iter().map(|event| serde_json::from_str(event).expect(event)).collect()
    }
}

/// A connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::from(TcpStream::connect(address).expect("the server accepts"))
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }
}

impl Connection {
    /// Sends bytes; a server that has refused already may have closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next line; none where the connection has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(n) if n > 0 => Some(String::from_utf8_lossy(&line).trim_end().to_string()),
            _ => None,
        }
    }

    /// The head of the next answer.
    pub fn head(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().expect("a status");
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Some(Answer { status, headers, body: Vec::new() })
    }

    /// The next answer, as a whole; none where the connection ended before or in it.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        } else {
            let n = answer.header("content-length").map_or(0, |n| n.parse().expect("a length"));
            answer.body.resize(n, 0);
            self.0.read_exact(&mut answer.body).ok()?;
        }
        Some(answer)
    }

    /// The next chunk of a body; none inside at its end, none outside where the connection ends.
    pub fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let n = usize::from_str_radix(&self.line()?, 16).expect("a size");
        let mut chunk = vec![0; n + 2];
        self.0.read_exact(&mut chunk).ok()?;
        chunk.truncate(n);
        Some((n > 0).then_some(chunk))
    }

    /// Whether the server has closed it, with nothing more said.
    pub fn is_closed(&mut self) -> bool {
        self.line().is_none()
    }

    /// Closes it the way a process does that was killed in the middle: with a reset.
    pub fn reset(self) {
        let stream = socket2::Socket::from(self.0.into_inner());
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        text += "Host: localhost\r\n";
    }
    if method == "POST" && !has("content-type") {
        text += "Content-Type: application/json\r\n";
    }
    if method == "POST" && !has("content-length") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

/// One request on a connection of its own.
#[track_caller]
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut connection = Connection::open(address);
    connection.send(request(method, path, headers, body));
    connection.answer().expect("an answer")
}
