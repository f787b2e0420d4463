//! One file: asked for, resumed, checked, and put in its place.

use super::{Hub, HubError, Progress, Result, SourceError};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

/// What the hub says about a file before sending it.
struct Facts {
    /// Names the blob; of large files it is their SHA-256.
    etag: String,
    n_bytes: u64,
}

impl Hub {
    /// Downloads `file` from `url`, unless it is here, and links it into `snapshot`.
    pub(super) fn get(
        &self,
        url: &str,
        file: &str,
        folder: &Path,
        snapshot: &Path,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let link = snapshot.join(file);
        if link.exists() {
            return Ok(());
        }
        let facts = self.facts(url)?;
        let blob = folder.join("blobs").join(&facts.etag);
        if !blob.exists() {
            let partial = folder.join("blobs").join(format!("{}.incomplete", facts.etag));
            self.receive(url, &facts, &partial, |n_done| {
                progress(&Progress { file, n_done, n_bytes: facts.n_bytes });
            })?;
            check(url, &facts, &partial)?;
            fs::rename(&partial, &blob).map_err(io_at(&blob))?;
        }
        // A file in a folder of the snapshot is one step further from the blobs.
        let up = "../".repeat(file.matches('/').count());
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).map_err(io_at(parent))?;
        }
        place(&blob, &link, Path::new(&format!("{up}../../blobs/{}", facts.etag))).map_err(io_at(&link))?;
        Ok(())
    }

    /// Asks what a file is. Large ones are answered with a redirection to their store, which has another checksum, so
    /// only redirections within the hub (models that were renamed) are followed.
    fn facts(&self, url: &str) -> Result<Facts, HubError> {
        let mut at = url.to_string();
        for _ in 0..5 {
            let response = self.request(&at, &[("Range", "bytes=0-0".into())], 0)?;
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
            if let Some(location) = header("location").filter(|l| l.starts_with('/')) {
                at = format!("{}{location}", self.endpoint);
                continue;
            }
            let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
            let etag = etag.trim_start_matches("W/").trim_matches('"');
            let in_range = header("content-range").and_then(|range| range.rsplit('/').next());
            let n_bytes = header("x-linked-size").or(in_range).or_else(|| header("content-length"));
            let plain = etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            return match n_bytes.and_then(|n| n.parse().ok()) {
                Some(n_bytes) if plain && !etag.is_empty() => Ok(Facts { etag: etag.into(), n_bytes }),
                _ => Err(HubError::answer(&at, "no usable ETag and length in it")),
            };
        }
        Err(HubError::answer(url, "more than 5 redirections"))
    }

    /// Appends to `partial` what it lacks.
    fn receive(&self, url: &str, facts: &Facts, partial: &Path, mut progress: impl FnMut(u64)) -> Result<()> {
        let mut out = File::options().append(true).create(true).open(partial).map_err(io_at(partial))?;
        let mut n_done = out.metadata().map_err(io_at(partial))?.len();
        if n_done > facts.n_bytes {
            out.set_len(0).map_err(io_at(partial))?;
            n_done = 0;
        }
        progress(n_done);
        if n_done == facts.n_bytes {
            return Ok(());
        }
        let range = (n_done > 0).then(|| ("Range", format!("bytes={n_done}-")));
        let response = self.request(url, range.as_slice(), 10)?;
        if n_done > 0 && response.status().as_u16() != 206 {
            // The server starts over.
            out.set_len(0).map_err(io_at(partial))?;
            n_done = 0;
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 18];
        while n_done < facts.n_bytes {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(HubError::Http { url: url.into(), message: e.to_string() })?,
            };
            let n = n.min(usize::try_from(facts.n_bytes - n_done).unwrap_or(n));
            out.write_all(&buffer[..n]).map_err(io_at(partial))?;
            n_done += n as u64;
            progress(n_done);
        }
        if n_done < facts.n_bytes {
            return Err(HubError::Truncated { url: url.into(), found: n_done, needed: facts.n_bytes })?;
        }
        out.sync_all().map_err(io_at(partial))
    }
}

/// Compares a large file with its SHA-256; a wrong one is deleted. Small files have checksums of git, with their size.
fn check(url: &str, facts: &Facts, partial: &Path) -> Result<()> {
    if facts.etag.len() != 64 || !facts.etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let mut hasher = Sha256::new();
    let mut file = File::open(partial).map_err(io_at(partial))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = file.read(&mut buffer).map_err(io_at(partial))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(&facts.etag) {
        return Ok(());
    }
    fs::remove_file(partial).map_err(io_at(partial))?;
    Err(HubError::Checksum { url: url.into(), found, expected: facts.etag.clone() })?
}

/// Makes the blob a file of the snapshot: by a link to `target`, which is the blob seen from there, as other programs do, or by moving it where there are no links.
fn place(blob: &Path, link: &Path, target: &Path) -> io::Result<()> {
    // A link into nowhere is left where somebody deleted the blob.
    let _ = fs::remove_file(link);
    #[cfg(unix)]
    {
        let _ = blob;
        std::os::unix::fs::symlink(target, link)
    }
    #[cfg(not(unix))]
    {
        let _ = target;
        fs::rename(blob, link)
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> SourceError + use<> {
    let path = path.to_path_buf();
    move |source| SourceError::Io { path: path.clone(), source }
}
