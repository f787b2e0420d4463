//! The Hugging Face cache: where it is, and where a model is in it.
//!
//! The layout, which Python's `huggingface_hub` writes and other programs share: `models--org--name/` holds
//! `refs/<revision>` (a file with a commit), `snapshots/<commit>/` (the files, links into `blobs/`) and `blobs/`.
//! Called by [`Source::find`](super::Source::find). Tested in `tests/sources.rs`.

use super::SourceError;
use crate::format::{exists, read_up_to};
use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Most bytes of a file with a commit, which has 40.
const REFERENCE_MAX: u64 = 1024;

/// A model's name on the hub: `[org/]name[@revision]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// `org/name`, or `name` alone for the oldest models.
    pub name: String,
    /// A branch, tag or commit; `main` unless given.
    pub revision: String,
}

impl ModelId {
    /// Parses a name; `None` where it cannot be one, so that it must have been meant as a path.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let is_part = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            (1..=96).contains(&part.len()) && part.chars().all(plain) && !part.starts_with(['.', '-'])
        };
        let parts: Vec<&str> = name.split('/').collect();
        // A branch may have slashes, as in refs/pr/1.
        let ok = parts.len() <= 2
            && parts.iter().chain(&revision.split('/').collect::<Vec<_>>()).all(|p| is_part(p));
        let is_file =
            [".safetensors", ".bin", ".json"].iter().any(|end| name.ends_with(end)) || name.contains("--");
        (ok && !is_file).then(|| Self { name: name.into(), revision: revision.into() })
    }

    /// The model whose files are in `folder`, where that is a snapshot in a cache: `models--org--name/snapshots/<commit>`.
    pub fn of_snapshot(folder: &Path) -> Option<Self> {
        let name = |folder: &Path| Some(folder.file_name()?.to_str()?.to_string());
        let snapshots = folder.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let model = name(snapshots.parent()?)?.strip_prefix("models--")?.replacen("--", "/", 1);
        Self::parse(&format!("{model}@{}", name(folder)?))
    }

    /// The names it may have on the hub: GPT-2's own short names have moved to `openai-community`.
    pub fn candidates(&self) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        if ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"].contains(&&*self.name) {
            names.insert(0, format!("openai-community/{}", self.name));
        } else if self.name == "distilgpt2" {
            names.insert(0, format!("distilbert/{}", self.name));
        }
        names
    }
}

/// The cache on this machine.
#[derive(Clone, Debug)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// A cache at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache that the environment names, as `huggingface_hub` does: `HF_HUB_CACHE`, then `HUGGINGFACE_HUB_CACHE`, then
    /// `HF_HOME`/hub, then `XDG_CACHE_HOME`/huggingface/hub, then ~/.cache/huggingface/hub. A `~` in front and variables in
    /// these are expanded. It need not exist.
    pub fn from_env() -> Result<Self, SourceError> {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = || var("HOME").or_else(|| var("USERPROFILE")).map(PathBuf::from);
        let path = |name| Some(expanded(&var(name)?, home(), &var));
        let root = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(path("HF_HOME")?.join("hub")))
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface/hub")))
            .or_else(|| Some(home()?.join(".cache/huggingface/hub")))
            .ok_or(SourceError::NoCache)?;
        Ok(Self { root })
    }

    /// Where the cache is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the model `name`, whether or not it exists.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(format!("models--{}", name.replace('/', "--")))
    }

    /// The folder with the files of `id`, if it is here. Fails where the model is here without the revision.
    pub fn find(&self, id: &ModelId) -> Result<Option<PathBuf>, SourceError> {
        let mut without_revision = None;
        for name in id.candidates() {
            let folder = self.folder(&name);
            if !folder.is_dir() {
                continue;
            }
            match snapshot(&folder, &id.revision)? {
                Some(snapshot) => return Ok(Some(snapshot)),
                None => without_revision = Some((name, folder)),
            }
        }
        match without_revision {
            Some((name, folder)) => {
                Err(SourceError::NoRevision { name, revision: id.revision.clone(), folder })
            }
            None => Ok(None),
        }
    }
}

/// A path as Python's `expanduser` and `expandvars` make it: `~` in front is `home`, `$NAME` and `${NAME}` are variables; one that
/// is not set stays as it is. A path that is not UTF-8 is taken as it is.
fn expanded(path: &OsStr, home: Option<PathBuf>, var: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let Some(mut rest) = path.to_str() else { return path.into() };
    let mut text = OsString::new();
    if let (Some(home), Some(after)) = (home, rest.strip_prefix('~'))
        && (after.is_empty() || after.starts_with('/'))
    {
        text.push(home);
        rest = after;
    }
    while let Some((before, after)) = rest.split_once('$') {
        text.push(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, after) = braced.unwrap_or(after.split_at(end));
        let as_it_is = || rest[before.len()..rest.len() - after.len()].into();
        text.push(var(name).unwrap_or_else(as_it_is));
        rest = after;
    }
    text.push(rest);
    text.into()
}

/// The snapshot of `revision`, by its reference or as a commit itself. A revision is plain components (see
/// [`ModelId::parse`]), and a commit read from a reference must be hexadecimal, so neither leads out of the folder.
fn snapshot(folder: &Path, revision: &str) -> Result<Option<PathBuf>, SourceError> {
    let reference = folder.join("refs").join(revision);
    let commit = match exists(&reference)? {
        true => String::from_utf8_lossy(&read_up_to(REFERENCE_MAX, &reference)?).trim().to_string(),
        false => revision.to_string(),
    };
    let is_commit = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_hexdigit());
    let snapshot = folder.join("snapshots").join(&commit);
    Ok((is_commit && snapshot.is_dir()).then_some(snapshot))
}
