//! Downloads, from a hub on this machine: what arrives is a model that is found again, and what does not arrive whole is
//! never taken for one.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Dtype, Model};
use halfwarp::{
    Weights,
    source::{
        Progress,
        cache::{HubCache, ModelId},
        hub::Hub,
    },
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

const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

/// What the server holds and how it misbehaves.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Sends so many bytes of model.safetensors at most, then hangs up.
    cut: Option<usize>,
    /// Ignores ranges.
    no_ranges: bool,
    /// Sends other bytes of this file than its checksum says.
    corrupt: Option<&'static str>,
    /// Answers everything with this.
    status: Option<u16>,
    /// Asked for without this token: 401.
    token: Option<String>,
    /// Requests, as `PATH RANGE`.
    log: Vec<String>,
}

struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn new() -> Self {
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

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn download(&self, cache: &TempDir, name: &str) -> Result<PathBuf, String> {
        self.download_with(cache, name, None)
    }

    fn download_with(&self, cache: &TempDir, name: &str, token: Option<&str>) -> Result<PathBuf, String> {
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

/// Everything under `cache` that could be taken for a model: what finding `org/model` gives.
fn found(cache: &TempDir) -> Option<PathBuf> {
    HubCache::new(cache.path()).find(&ModelId::parse("org/model").unwrap()).unwrap_or(None)
}

#[test]
fn a_downloaded_model_is_found_again() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| {
        s.files.insert("vocab.txt".into(), b"a\nb\n".to_vec());
        s.files.insert("README.md".into(), b"not needed".to_vec());
        s.files.insert("../evil".into(), b"no".to_vec());
    });
    let folder = server.download(&cache, "org/model").unwrap();
    assert_eq!(folder, cache.path().join("models--org--model/snapshots").join(COMMIT));
    assert_eq!(found(&cache), Some(folder.clone()));
    Weights::open(&folder).unwrap();
    assert_eq!(fs::read(folder.join("vocab.txt")).unwrap(), b"a\nb\n");
    assert!(!folder.join("README.md").exists());
    assert_eq!(fs::read_to_string(cache.path().join("models--org--model/refs/main")).unwrap(), COMMIT);
    let n_requests = server.state.lock().unwrap().log.len();
    server.download(&cache, "org/model").unwrap();
    assert_eq!(server.state.lock().unwrap().log.len(), n_requests + 1, "only the list is asked for again");
}

#[test]
fn short_names_are_asked_for_where_they_have_moved() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let folder = server.download(&cache, "gpt2").unwrap();
    assert!(folder.starts_with(cache.path().join("models--openai-community--gpt2")), "{}", folder.display());
}

#[test]
fn progress_begins_with_what_is_missing_and_ends_at_the_size_of_each_file() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let sizes = server.state.lock().unwrap().files.clone().into_iter();
    let sizes: BTreeMap<_, _> = sizes.map(|(name, bytes)| (name, bytes.len() as u64)).collect();
    let hub = Hub::new(&server.address, None, HubCache::new(cache.path()));
    let download = || {
        let (mut begun, mut last) = (Vec::new(), BTreeMap::new());
        let outcome = hub.download(&ModelId::parse("org/model").unwrap(), &mut |progress| match *progress {
            Progress::Begins { name, n_files, n_bytes, folder } => {
                assert!(last.is_empty(), "said after {last:?}");
                assert!(name == "org/model" && folder.starts_with(cache.path()), "{progress:?}");
                begun.push((n_files, n_bytes));
            }
            Progress::File { file, n_done, n_bytes } => {
                assert_eq!(n_bytes, sizes[file]);
                last.insert(file.to_string(), n_done);
            }
        });
        (begun, last, outcome.is_ok())
    };
    let all = sizes.values().sum::<u64>();
    server.set(|s| s.cut = Some(1000));
    let (begun, last, ok) = download();
    assert_eq!((begun, last["model.safetensors"], ok), (vec![(2, all)], 1000, false));
    server.set(|s| s.cut = None);
    let (begun, last, ok) = download();
    assert_eq!((begun, ok), (vec![(1, sizes["model.safetensors"] - 1000)], true));
    assert_eq!(last, BTreeMap::from([("model.safetensors".into(), sizes["model.safetensors"])]));
    assert_eq!(download(), (vec![], BTreeMap::new(), true), "nothing is missing");
}

#[test]
fn a_cut_download_is_no_model_and_is_resumed() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(1000));
    let text = server.download(&cache, "org/model").unwrap_err();
    assert!(text.contains("model.safetensors") && text.contains("1000"), "{text}");
    assert_eq!(found(&cache), None);
    assert!(
        !cache.path().join("models--org--model/snapshots").join(COMMIT).join("model.safetensors").exists()
    );
    server.set(|s| s.cut = None);
    let folder = server.download(&cache, "org/model").unwrap();
    Weights::open(&folder).unwrap();
    let log = server.state.lock().unwrap().log.clone();
    assert!(log.iter().any(|line| line.ends_with("model.safetensors bytes=1000-")), "{log:?}");
}

#[test]
fn a_server_without_ranges_is_asked_from_the_start() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(1000));
    server.download(&cache, "org/model").unwrap_err();
    server.set(|s| {
        s.cut = None;
        s.no_ranges = true;
    });
    Weights::open(&server.download(&cache, "org/model").unwrap()).unwrap();
}

#[test]
fn wrong_bytes_are_deleted() {
    for file in ["model.safetensors", "config.json"] {
        let (server, cache) = (Server::new(), TempDir::new().unwrap());
        server.set(|s| s.corrupt = Some(file));
        let text = server.download(&cache, "org/model").unwrap_err();
        assert!(text.contains(&format!("{file}: the checksum is ")) && text.contains("deleted"), "{text}");
        assert_eq!(found(&cache), None);
        server.set(|s| s.corrupt = None);
        Weights::open(&server.download(&cache, "org/model").unwrap()).unwrap();
    }
}

#[test]
fn two_downloads_do_not_write_into_one_file() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(1000));
    server.download(&cache, "org/model").unwrap_err();
    let blobs = cache.path().join("models--org--model/blobs");
    let mut files = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let partial = files.find(|path| path.extension().is_some_and(|end| end == "incomplete")).unwrap();
    let other = fs::File::open(&partial).unwrap();
    other.lock().unwrap();
    server.set(|s| s.cut = None);
    let text = server.download(&cache, "org/model").unwrap_err();
    assert!(text.contains(partial.to_str().unwrap()) && text.contains("another process"), "{text}");
    assert_eq!(fs::metadata(&partial).unwrap().len(), 1000);
    drop(other);
    Weights::open(&server.download(&cache, "org/model").unwrap()).unwrap();
}

#[test]
fn refusals_of_the_hub_are_explained() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    for (status, word) in
        [(404, "no such model"), (401, "needs HF_TOKEN"), (429, "too many"), (503, "status 503")]
    {
        server.set(|s| s.status = Some(status));
        let text = server.download(&cache, "org/model").unwrap_err();
        assert!(text.contains(&format!("status {status}")) && text.contains(word), "{text}");
        assert_eq!(found(&cache), None);
    }
}

#[test]
fn the_token_is_sent() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.token = Some("hf_secret".into()));
    let text = server.download(&cache, "org/model").unwrap_err();
    assert!(text.contains("status 401"), "{text}");
    server.download_with(&cache, "org/model", Some("hf_secret")).unwrap();
}

#[test]
fn shards_are_downloaded() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let model = Model::new(Dtype::F16);
    server.set(|s| {
        s.files.remove("model.safetensors");
        let mut map = serde_json::Map::new();
        for (i, part) in model.tensors.chunks(15).enumerate() {
            let name = format!("model-{i}.safetensors");
            part.iter().for_each(|t| drop(map.insert(t.name.clone(), json!(name))));
            let shard = Model { config: json!({}), tensors: part.to_vec() };
            s.files.insert(name, shard.file(0));
        }
        let index = json!({"weight_map": map}).to_string();
        s.files.insert("model.safetensors.index.json".into(), index.into_bytes());
    });
    Weights::open(&server.download(&cache, "org/model@refs/pr/1").unwrap()).unwrap();
    assert!(server.state.lock().unwrap().log[0].contains("/revision/refs%2Fpr%2F1"));
}

#[test]
fn a_model_in_other_formats_is_refused_before_its_weights_are_fetched() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| {
        s.files.remove("model.safetensors");
        s.files.insert("tf_model.h5".into(), vec![0; 100]);
    });
    let text = server.download(&cache, "org/model").unwrap_err();
    assert!(text.contains("neither safetensors weights nor pytorch_model.bin"), "{text}");
    assert_eq!(found(&cache), None);
}

#[test]
fn a_checkpoint_of_pytorch_is_fetched_where_there_is_nothing_else() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let bin = fs::read("tests/pytorch/model/pytorch_model.bin").unwrap();
    server.set(|s| _ = s.files.insert("pytorch_model.bin".into(), bin));
    let folder = server.download(&cache, "org/both").unwrap();
    assert!(folder.join("model.safetensors").exists() && !folder.join("pytorch_model.bin").exists());
    server.set(|s| _ = s.files.remove("model.safetensors"));
    let folder = server.download(&cache, "org/model").unwrap();
    assert_eq!(found(&cache), Some(folder.clone()));
    Weights::open(&folder).unwrap();
}

#[test]
fn chat_templates_are_fetched_into_their_folder() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| {
        for name in
            ["chat_template.jinja", "additional_chat_templates/tool_use.jinja", "other/tool_use.jinja"]
        {
            s.files.insert(name.into(), name.into());
        }
    });
    let folder = server.download(&cache, "org/model").unwrap();
    for name in ["chat_template.jinja", "additional_chat_templates/tool_use.jinja"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), name);
    }
    assert!(!folder.join("other").exists());
}

#[test]
fn a_hub_that_does_not_answer_is_an_error() {
    let cache = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let hub = Hub::new(&address, None, HubCache::new(cache.path()));
    let error = hub.download(&ModelId::parse("org/model").unwrap(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains(&address), "{error}");
}

/// The program with nothing of our environment but the hub and the cache: its exit code, standard output and standard error.
#[cfg(feature = "cli")]
fn program(server: &Server, cache: &TempDir, offline: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_halfwarp"));
    command.args(args).env_clear().env("HF_ENDPOINT", &server.address);
    let output = command.env("HF_HUB_CACHE", cache.path()).env("HF_HUB_OFFLINE", offline).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[cfg(feature = "cli")]
#[test]
fn the_program_downloads_unless_it_is_offline_and_says_what_before() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let run = |offline| program(&server, &cache, offline, &["info", "--json", "--model", "org/model"]);
    let (code, _, text) = run("1");
    assert!(code == Some(1) && text.contains("org/model") && text.contains("HF_HUB_OFFLINE"), "{text}");
    assert_eq!(server.state.lock().unwrap().log.len(), 0);
    let n_bytes: usize = server.state.lock().unwrap().files.values().map(Vec::len).sum();
    let (code, _, text) = run("");
    let folder = cache.path().join("models--org--model");
    let said =
        format!("downloading org/model: 2 files, {:.1} kB, to {}\n", n_bytes as f64 / 1e3, folder.display());
    assert!(code == Some(0) && text.starts_with(&said), "{text}, expected {said}");
    // One that lacks files is completed.
    fs::remove_file(found(&cache).unwrap().join("model.safetensors")).unwrap();
    assert_eq!(run("0").0, Some(0));
    // What is here whole is used without asking.
    server.set(|s| s.log.clear());
    assert_eq!(run(""), (Some(0), run("1").1, String::new()));
    assert_eq!(server.state.lock().unwrap().log.len(), 0);
}

#[cfg(feature = "cli")]
#[test]
fn a_name_that_is_nowhere_says_where_it_was_looked_for() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    server.set(|s| s.status = Some(401));
    let (code, _, text) = program(&server, &cache, "", &["info", "--model", "org/modle"]);
    for word in ["\"org/modle\"", "no such path", cache.path().to_str().unwrap(), "status 401"] {
        assert!(code == Some(1) && text.contains(word), "{text} does not mention {word}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn pull_downloads_a_revision_resumes_and_writes_the_folder() {
    let (server, cache) = (Server::new(), TempDir::new().unwrap());
    let pull = |name| program(&server, &cache, "", &["pull", name]);
    server.set(|s| s.cut = Some(1000));
    let (code, out, text) = pull("org/model@v1");
    assert!(code == Some(1) && out.is_empty() && text.contains("got 1000 of "), "{text}");
    server.set(|s| s.cut = None);
    let (code, out, text) = pull("org/model@v1");
    let folder = cache.path().join("models--org--model/snapshots").join(COMMIT);
    assert_eq!((code, out), (Some(0), format!("{}\n", folder.display())), "{text}");
    Weights::open(&folder).unwrap();
    assert_eq!(fs::read_to_string(cache.path().join("models--org--model/refs/v1")).unwrap(), COMMIT);
    assert_eq!(pull("org/model@v1").2, "", "nothing is downloaded again");
    let (code, _, text) = program(&server, &cache, "1", &["pull", "org/model"]);
    assert!(code == Some(1) && text.contains("HF_HUB_OFFLINE"), "{text}");
    for bad in ["../x", "a/b/c", "", "./model"] {
        let (code, _, text) = pull(bad);
        assert!(code == Some(2) && text.contains("expected a name such as"), "{bad}: {text}");
    }
}
