//! Downloads, from a hub on this machine: what arrives is a model that is found again, and what does not arrive whole is
//! never taken for one.

#[path = "../common/checkpoint.rs"]
mod checkpoint;
#[cfg(feature = "cli")]
mod program;
mod server;

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
use server::Server;
use std::{collections::BTreeMap, fs, net::TcpListener, path::PathBuf};
use tempfile::TempDir;

const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

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
