//! One file: asked for, resumed, checked, and put in its place.

use super::{Hub, HubError, Progress, Result, SourceError};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// What the hub says about a file before sending it.
pub(super) struct Missing {
    /// Its path in the model's folder.
    file: String,
    url: String,
    /// Names the blob; of large files it is their SHA-256, of the others git's checksum.
    etag: String,
    pub(super) n_bytes: u64,
}

/// Where a model's files go.
pub(super) struct Place {
    /// The model's folder in the cache.
    pub(super) folder: PathBuf,
    /// The files of one commit.
    pub(super) snapshot: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf, commit: &str) -> Result<Self> {
        let place = Self { snapshot: folder.join("snapshots").join(commit), folder };
        for path in [&place.snapshot, &place.folder.join("blobs")] {
            fs::create_dir_all(path).map_err(io_at(path))?;
        }
        Ok(place)
    }

    /// A file of the model.
    pub(super) fn link(&self, file: &str) -> PathBuf {
        self.snapshot.join(file)
    }

    fn blob(&self, file: &Missing) -> PathBuf {
        self.folder.join("blobs").join(&file.etag)
    }

    fn partial(&self, file: &Missing) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", file.etag))
    }

    /// Bytes of a file that are here already.
    pub(super) fn n_received(&self, file: &Missing) -> u64 {
        let here = [self.blob(file), self.partial(file)].into_iter().find_map(|path| path.metadata().ok());
        here.map_or(0, |metadata| metadata.len()).min(file.n_bytes)
    }
}

impl Hub {
    /// Downloads `file` and links it into its place.
    pub(super) fn get(
        &self,
        file: &Missing,
        place: &Place,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let (link, blob) = (place.link(&file.file), place.blob(file));
        if !blob.exists() {
            let partial = place.partial(file);
            let mut out =
                File::options().append(true).create(true).open(&partial).map_err(io_at(&partial))?;
            // A file system without locks has to do without.
            if matches!(out.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(HubError::Busy { path: partial })?;
            }
            self.receive(file, &partial, &mut out, |n_done| {
                progress(&Progress::File { file: &file.file, n_done, n_bytes: file.n_bytes });
            })?;
            check(file, &partial)?;
            fs::rename(&partial, &blob).map_err(io_at(&blob))?;
        }
        // A file in a folder of the snapshot is one step further from the blobs.
        let up = "../".repeat(file.file.matches('/').count());
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).map_err(io_at(parent))?;
        }
        let target = format!("{up}../../blobs/{}", file.etag);
        link_to(&blob, &link, Path::new(&target)).map_err(io_at(&link))?;
        Ok(())
    }

    /// Asks what a file is. Large ones are answered with a redirection to their store, which has another checksum, so
    /// only redirections within the hub (models that were renamed) are followed.
    pub(super) fn ask(&self, url: String, file: String) -> Result<Missing, HubError> {
        let mut at = url.clone();
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
                Some(n_bytes) if plain && !etag.is_empty() => {
                    Ok(Missing { file, url, etag: etag.into(), n_bytes })
                }
                _ => Err(HubError::answer(&at, "no usable ETag and length in it")),
            };
        }
        Err(HubError::answer(&url, "more than 5 redirections"))
    }

    /// Appends to `out`, which is the file at `partial`, what it lacks.
    fn receive(
        &self,
        file: &Missing,
        partial: &Path,
        out: &mut File,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let (url, n_bytes) = (&*file.url, file.n_bytes);
        let mut n_done = out.metadata().map_err(io_at(partial))?.len();
        if n_done > n_bytes {
            out.set_len(0).map_err(io_at(partial))?;
            n_done = 0;
        }
        progress(n_done);
        if n_done == n_bytes {
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
        while n_done < n_bytes {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(HubError::Http { url: url.into(), message: e.to_string() })?,
            };
            let n = n.min(usize::try_from(n_bytes - n_done).unwrap_or(n));
            out.write_all(&buffer[..n]).map_err(io_at(partial))?;
            n_done += n as u64;
            progress(n_done);
        }
        if n_done < n_bytes {
            return Err(HubError::Truncated { url: url.into(), found: n_done, needed: n_bytes })?;
        }
        out.sync_all().map_err(io_at(partial))
    }
}

/// Compares a file with its checksum: SHA-256 of large ones, of the others git's, which is SHA-1 of a head and the file. A wrong one
/// is deleted.
fn check(file: &Missing, partial: &Path) -> Result<()> {
    let is_hex = file.etag.bytes().all(|b| b.is_ascii_hexdigit());
    let found = match file.etag.len() {
        64 if is_hex => digest(Sha256::new(), partial),
        40 if is_hex => digest(Sha1::new_with_prefix(format!("blob {}\0", file.n_bytes)), partial),
        _ => return Ok(()),
    };
    let found = found.map_err(io_at(partial))?;
    if found.eq_ignore_ascii_case(&file.etag) {
        return Ok(());
    }
    fs::remove_file(partial).map_err(io_at(partial))?;
    Err(HubError::Checksum { url: file.url.clone(), found, expected: file.etag.clone() })?
}

/// The checksum of what `digest` has seen and the file at `path` after it, in hexadecimal.
fn digest(mut digest: impl Digest, path: &Path) -> io::Result<String> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes the blob a file of the snapshot: by a link to `target`, which is the blob seen from there, as other programs do, or by moving
/// it where there are no links.
fn link_to(blob: &Path, link: &Path, target: &Path) -> io::Result<()> {
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
