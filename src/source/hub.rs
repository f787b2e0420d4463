//! Downloads a model from the Hugging Face hub into the cache, in the layout that other programs share.
//!
//! Files go to `blobs/` under their checksum, first with the ending `.incomplete`; links to them to
//! `snapshots/<commit>/`; and last, when every file is there and checked, the revision to `refs/`. A model is found by its
//! reference, so a download that was cut short is never taken for a model, and the next one goes on where it stopped.
//! Called by [`Source::fetch`](super::Source::fetch). Tested in `tests/hub/`.

mod file;

use super::{
    Progress, Result, Source, SourceError,
    cache::{HubCache, ModelId},
};
use crate::{
    format::{WEIGHTS, read_text},
    weights::extra::is_extra_file,
};
use file::Place;
use serde_json::Value;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The hub, and the cache to download to.
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    cache: HubCache,
    agent: ureq::Agent,
}

impl Hub {
    /// A hub at `endpoint`, asked with `token` if there is one.
    pub fn new(endpoint: &str, token: Option<String>, cache: HubCache) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .timeout_per_read(Some(Duration::from_secs(30)))
            .user_agent(concat!("halfwarp/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { endpoint: endpoint.trim_end_matches('/').into(), token, cache, agent: config.into() }
    }

    /// The hub that the environment names: `HF_ENDPOINT`, `HF_TOKEN`; `None` where `HF_HUB_OFFLINE` is set.
    pub fn from_env() -> Result<Option<Self>> {
        let var = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let is_set =
            |name| var(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&&*v.to_lowercase()));
        if is_set("HF_HUB_OFFLINE") {
            return Ok(None);
        }
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Ok(Some(Self::new(&endpoint, var("HF_TOKEN"), HubCache::from_env()?)))
    }

    /// Downloads what is missing of `id` and returns its folder. `progress` first hears what that is.
    pub fn download(&self, id: &ModelId, progress: &mut dyn FnMut(&Progress)) -> Result<PathBuf> {
        let name = id.candidates().swap_remove(0);
        let (commit, listed) = self.list(&name, &id.revision)?;
        let place = Place::new(self.cache.folder(&name), &commit)?;
        let url = |file: &str| format!("{}/{name}/resolve/{commit}/{file}", self.endpoint);
        let mut missing = Vec::new();
        for file in self.needed(&name, &listed, &place, &url)? {
            if !place.link(&file).exists() {
                missing.push(self.ask(url(&file), file)?);
            }
        }
        if !missing.is_empty() {
            let n_bytes = missing.iter().map(|file| file.n_bytes - place.n_received(file)).sum();
            progress(&Progress::Begins {
                name: &name,
                n_files: missing.len(),
                n_bytes,
                folder: &place.folder,
            });
        }
        for file in &missing {
            self.get(file, &place, progress)?;
        }
        if id.revision != commit {
            write_reference(&place.folder.join("refs").join(&id.revision), &commit)?;
        }
        Ok(place.snapshot)
    }

    /// The files of a model that are needed, of those that are `listed`. Which shards there are says their index, which is
    /// downloaded for that.
    fn needed(
        &self,
        name: &str,
        listed: &[String],
        place: &Place,
        url: &dyn Fn(&str) -> String,
    ) -> Result<Vec<String>> {
        let has = |file: &str| listed.iter().any(|listed| listed == file);
        let mut needed = vec!["config.json".to_string()];
        needed.extend(listed.iter().filter(|file| is_extra_file(file)).cloned());
        match WEIGHTS.iter().find(|(whole, index)| has(whole) || has(index)) {
            Some((whole, _)) if has(whole) => needed.push((*whole).into()),
            Some((_, index)) => {
                if !place.link(index).exists() {
                    self.get(&self.ask(url(index), (*index).into())?, place, &mut |_| {})?;
                }
                needed.extend(shards(&place.link(index))?.into_iter().filter(|shard| has(shard)));
            }
            None => return Err(HubError::NoWeights { name: name.into() })?,
        }
        Ok(needed)
    }

    /// The commit that `revision` is, and the files in it.
    fn list(&self, name: &str, revision: &str) -> Result<(String, Vec<String>), HubError> {
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{name}/revision/{revision}", self.endpoint);
        let mut response = self.request(&url, &[], 10)?;
        let json: Value = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_vec()
            .map_err(|e| HubError::http(&url, &e))
            .and_then(|text| serde_json::from_slice(&text).map_err(|e| HubError::answer(&url, e)))?;
        let commit = json.get("sha").and_then(Value::as_str).unwrap_or_default();
        if commit.len() != 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(HubError::answer(&url, "no commit in it"));
        }
        let siblings = json.get("siblings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let file = |entry: &Value| Some(entry.get("rfilename")?.as_str()?.to_string());
        let plain = |file: &String| {
            let in_folder = file.contains(['/', '\\']) && !is_extra_file(file);
            !in_folder && !file.starts_with('.') && !file.contains(|c: char| "?#%".contains(c) || c <= ' ')
        };
        Ok((commit.into(), siblings.iter().filter_map(file).filter(plain).collect()))
    }

    /// One request; answers other than success are errors, except redirections that `max_redirects` leaves.
    fn request(
        &self,
        url: &str,
        headers: &[(&str, String)],
        max_redirects: u32,
    ) -> Result<ureq::http::Response<ureq::Body>, HubError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        // Not sent on when a redirection leads to another host: ureq drops it.
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = request
            .config()
            .max_redirects(max_redirects)
            .build()
            .call()
            .map_err(|e| HubError::http(url, &e))?;
        let status = response.status().as_u16();
        match status {
            200..400 => Ok(response),
            _ => Err(HubError::Status { url: url.into(), status, hint: hint(status) }),
        }
    }
}

/// Whether a model is to be downloaded: it was not found, or its snapshot in the cache lacks files, as another program
/// leaves it that was interrupted.
pub(super) fn should_download(found: &Result<Source>) -> bool {
    match found {
        Err(SourceError::NotFound { .. } | SourceError::NoRevision { .. }) => true,
        Ok(Source::Folder(folder)) => {
            let in_cache = HubCache::from_env().is_ok_and(|cache| folder.starts_with(cache.root()));
            in_cache && !is_whole(folder)
        }
        _ => false,
    }
}

/// Whether config.json and the weights are in `folder`.
fn is_whole(folder: &Path) -> bool {
    let has = |file: &str| folder.join(file).exists();
    let sharded = |index: &str| {
        has(index) && shards(&folder.join(index)).is_ok_and(|shards| shards.iter().all(|shard| has(shard)))
    };
    has("config.json") && WEIGHTS.iter().any(|(whole, index)| has(whole) || sharded(index))
}

/// The shards that an index names.
fn shards(index: &Path) -> Result<Vec<String>> {
    let json: Value = serde_json::from_slice(&read_text(index)?)
        .map_err(|e| HubError::answer(&index.display().to_string(), e))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let mut shards: Vec<String> =
        map.into_iter().flat_map(|m| m.values()).filter_map(|v| Some(v.as_str()?.into())).collect();
    shards.sort();
    shards.dedup();
    Ok(shards)
}

/// Writes which commit a revision is, whole or not at all.
fn write_reference(path: &Path, commit: &str) -> Result<(), SourceError> {
    let io = |source: io::Error| SourceError::Io { path: path.into(), source };
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(io)?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".incomplete-{}", std::process::id()));
    fs::write(&partial, commit).map_err(io)?;
    fs::rename(&partial, path).map_err(io)
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": there is no such model, or it is private or gated and needs HF_TOKEN",
        404 => ": there is no such model, revision or file",
        429 => ": too many requests, try again later",
        _ => "",
    }
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No answer, or it broke off.
    #[error("{url}: {message}")]
    Http {
        /// What was asked for.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// An answer that is an error.
    #[error("{url}: status {status}{hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it means.
        hint: &'static str,
    },
    /// An answer that is not what the hub answers.
    #[error("{url}: unexpected answer: {message}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The connection ended early.
    #[error("{url}: got {found} of {needed} bytes; run it again to go on from there")]
    Truncated {
        /// What was asked for.
        url: String,
        /// Bytes that are here.
        found: u64,
        /// Bytes of the file.
        needed: u64,
    },
    /// Another process has the file in hand.
    #[error("{} is being downloaded by another process: wait for it, or end it", path.display())]
    Busy {
        /// What has arrived of it.
        path: PathBuf,
    },
    /// Other bytes than the hub's checksum says.
    #[error("{url}: the checksum is {found}, expected {expected}; the file was deleted")]
    Checksum {
        /// What was asked for.
        url: String,
        /// Of what arrived.
        found: String,
        /// By the hub.
        expected: String,
    },
    /// The model has weights in other formats only.
    #[error("{name} has neither safetensors weights nor pytorch_model.bin")]
    NoWeights {
        /// The model.
        name: String,
    },
}

impl HubError {
    fn http(url: &str, error: &ureq::Error) -> Self {
        Self::Http { url: url.into(), message: error.to_string() }
    }

    fn answer(url: &str, message: impl ToString) -> Self {
        Self::Answer { url: url.into(), message: message.to_string() }
    }
}
