//! A hub on this machine, which misbehaves as it is told.

use crate::{
    COMMIT,
    checkpoint::{Dtype, Model},
};
use halfwarp::source::{
    cache::{HubCache, ModelId},
    hub::Hub,
};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};
use tempfile::TempDir;

/// What the server holds and how it misbehaves.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Sends so many bytes of model.safetensors at most, then hangs up.
    pub cut: Option<usize>,
    /// Ignores ranges.
    pub no_ranges: bool,
    /// Sends other bytes of this file than its checksum says.
    pub corrupt: Option<&'static str>,
    /// Answers everything with this.
    pub status: Option<u16>,
    /// Asked for without this token: 401.
    pub token: Option<String>,
    /// Requests, as `PATH RANGE`.
    pub log: Vec<String>,
}

pub struct Server {
    pub address: String,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, folder) = (state.clone(), TempDir::new().unwrap());
        Model::new(Dtype::F16).write(folder.path());
        for name in ["config.json", "model.safetensors"] {
            let bytes = fs::read(folder.path().join(name)).unwrap();
            shared.lock().unwrap().files.insert(name.into(), bytes);
        }
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &mut state.lock().unwrap());
            }
        });
        Self { address, state: shared }
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub fn download(&self, cache: &TempDir, name: &str) -> Result<PathBuf, String> {
        self.download_with(cache, name, None)
    }

    pub fn download_with(&self, cache: &TempDir, name: &str, token: Option<&str>) -> Result<PathBuf, String> {
        let hub = Hub::new(&self.address, token.map(String::from), HubCache::new(cache.path()));
        hub.download(&ModelId::parse(name).unwrap(), &mut |_| {}).map_err(|e| e.to_string())
    }
}

fn answer(mut stream: TcpStream, state: &mut State) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_string();
    let (mut range, mut token) = (None, None);
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => range = Some(value.to_string()),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = Some(value.to_string())
            }
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    state.log.push(format!("{path} {}", range.as_deref().unwrap_or("-")));
    let mut reply = |status: u16, headers: &str, body: &[u8], n_sent: usize| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        )?;
        stream.write_all(&body[..n_sent.min(length)])
    };
    if let Some(status) = state.status {
        return reply(status, "", b"no", 2);
    }
    if let Some(expected) = &state.token
        && token != Some(format!("Bearer {expected}"))
    {
        return reply(401, "", b"no", 2);
    }
    if path.starts_with("/api/models/") {
        let siblings: Vec<_> = state.files.keys().map(|name| json!({"rfilename": name})).collect();
        let body = json!({"sha": COMMIT, "siblings": siblings}).to_string();
        return reply(200, "", body.as_bytes(), usize::MAX);
    }
    let name = path.split_once(COMMIT).map_or("", |(_, name)| name.trim_start_matches('/'));
    let Some(bytes) = state.files.get(name) else { return reply(404, "", b"no", 2) };
    let (large, size) = (name.ends_with(".safetensors"), bytes.len());
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let etag = match large {
        true => hex(&Sha256::digest(bytes)),
        false => hex(&Sha1::digest([format!("blob {size}\0").as_bytes(), bytes].concat())),
    };
    let mut bytes = bytes.clone();
    if state.corrupt == Some(name) {
        bytes[size / 2] ^= 1;
    }
    let headers = format!("ETag: \"{etag}\"\r\n");
    let bounds = range.filter(|_| !state.no_ranges).and_then(|range| {
        let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse::<usize>().ok()?, end.parse::<usize>().map_or(size, |end| end + 1)))
    });
    let n_sent = if large { state.cut.unwrap_or(usize::MAX) } else { usize::MAX };
    match bounds {
        Some((start, end)) => {
            let headers = format!("{headers}Content-Range: bytes {start}-{}/{size}\r\n", end - 1);
            reply(206, &headers, &bytes[start..end], n_sent)
        }
        None => reply(200, &headers, &bytes, n_sent),
    }
}
