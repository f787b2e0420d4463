//! Bodies: a request's is read within limits of size and time, an answer's is JSON.

use super::{App, error::ApiError};
use crate::tokenizer::Watch;
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes};
use memmap2::MmapMut;
use serde_json::Value;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// A body of so many bytes is tokenized within a millisecond or two.
pub const SMALL_LEN: usize = 4 << 10;

/// After a body of more bytes the allocator keeps enough to be worth giving back.
const LARGE_LEN: usize = 64 << 10;

/// Reads the body of `request`, which must say that it is JSON.
pub async fn read(app: &App, request: Request) -> Result<Bytes, ApiError> {
    check_head(request.headers())?;
    let limit = app.limits.body_len;
    let too_large = || {
        let message = format_args!("the body is larger than {limit} bytes");
        ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, message).closing()
    };
    let body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let time_limit = app.limits.body_time;
    match tokio::time::timeout(time_limit, collect(body, limit)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::refused(StatusCode::BAD_REQUEST, "the body could not be read").closing()),
        Err(_) => {
            let message = format_args!("the body took longer than {} s", time_limit.as_secs_f64());
            Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, message).closing())
        }
    }
}

/// Bytes in pages of their own: unlike an allocator's, the system has them back as soon as they are dropped.
struct Pages {
    map: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.len]
    }
}

/// A body in one piece, so that it is in memory once; none where it has more than `limit` bytes.
async fn collect(mut body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let capacity = body.size_hint().upper().map_or(limit, |n| limit.min(n as usize));
    let map = MmapMut::map_anon(capacity.max(1)).map_err(axum::Error::new)?;
    let mut pages = Pages { map, len: 0 };
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        let Some(free) = pages.map[..capacity].get_mut(pages.len..pages.len + data.len()) else {
            return Ok(None);
        };
        free.copy_from_slice(&data);
        pages.len += data.len();
    }
    Ok(Some(Bytes::from_owner(pages)))
}

fn check_head(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |message: &str| ApiError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).closing();
    let is_json = |value: &HeaderValue| {
        let name = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return Err(refuse("the body must have the header `Content-Type: application/json`"));
    }
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(refuse("a compressed body is not accepted: leave Content-Encoding out"));
    }
    Ok(())
}

/// Parses a body and what is in it: where it has more than `small_len` bytes, away from the threads that serve connections. Small
/// bodies do not wait behind large ones; those of clients that have gone are not worked at.
pub async fn parse<T: Send + 'static>(
    app: &App,
    body: Bytes,
    small_len: usize,
    call: impl FnOnce(&[u8], &Work) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let is_wanted = Arc::new(());
    let (limit, is_wanted_there) = (app.limits.parse_time, Arc::downgrade(&is_wanted));
    if body.len() <= small_len {
        return call(&body, &Work::new(limit, is_wanted_there));
    }
    let lost = |_| ApiError::internal("the request could not be handled");
    let call = move || {
        let work = Work::new(limit, is_wanted_there);
        work.check()?;
        let result = call(&body, &work);
        if body.len() > LARGE_LEN {
            give_back();
        }
        result
    };
    tokio::task::spawn_blocking(call).await.map_err(lost)?
}

/// Gives the system what the allocator keeps of the memory that a large body took.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How long a body is worked at by the thread that does it, and whether somebody still waits for it.
pub struct Work {
    started: Duration,
    limit: Duration,
    is_wanted: Weak<()>,
}

impl Work {
    fn new(limit: Duration, is_wanted: Weak<()>) -> Self {
        Self { started: thread_time(), limit, is_wanted }
    }

    /// Makes ids of a text, at most `n_max`, as long as they are wanted.
    pub fn watch<T>(
        &self,
        n_max: usize,
        encode: impl FnOnce(&Watch) -> crate::Result<T>,
    ) -> Result<T, ApiError> {
        let goes_on = || self.check().is_ok();
        let result = encode(&Watch { goes_on: &goes_on, n_max });
        result.or_else(|error| {
            // What stopped it says more.
            self.check()?;
            Err(error.into())
        })
    }

    /// Fails where the time is up, or the client has gone.
    pub fn check(&self) -> Result<(), ApiError> {
        if self.is_wanted.strong_count() == 0 {
            return Err(ApiError::internal("the client has gone"));
        }
        if thread_time() - self.started >= self.limit {
            let limit = self.limit.as_secs_f64();
            return Err(ApiError::timeout(format_args!("the prompt took longer than {limit} s to read")));
        }
        Ok(())
    }
}

/// How long the thread has computed, so that a body is not given up for what others do meanwhile.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Where the system does not say how long a thread has computed: since when it was first asked.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// An answer of status 200.
pub fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
