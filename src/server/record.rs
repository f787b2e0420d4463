//! [`Record`]: what is known of a request, written as one line of the log when the last who holds it lets go.
//!
//! The handler and the body of the answer hold it, so that the line comes when the answer is sent, or when the client has gone. It
//! holds numbers, and names of ours: no prompt, no key, nothing else that a client chose except the method, the path and the names of
//! fields that were ignored, escaped.

use crate::engine::{FinishReason, Stats};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

/// Most characters of a path in the log.
const PATH_LEN_MAX: usize = 200;
/// Most characters of a field's name in the log and in the answer's head, and most names.
const FIELD_LEN_MAX: usize = 40;
const FIELDS_MAX: usize = 20;
/// What only asks whether the server lives.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// What is known of a request.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    id: String,
    method: String,
    path: String,
    started: Instant,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    status: Option<StatusCode>,
    model: Option<String>,
    ignored: Option<String>,
    usage: Usage,
    queue: Duration,
    prefill: Duration,
    decode: Duration,
    finish: Option<&'static str>,
    /// The whole answer was handed to the connection.
    is_sent: bool,
    /// Given back with the record.
    _place: Option<OwnedSemaphorePermit>,
}

/// Tokens of a request, over all its texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Of the prompts, each counted once.
    pub n_prompt: usize,
    /// Of those, what was cached.
    pub n_cached: usize,
    /// Generated.
    pub n_generated: usize,
}

impl Record {
    /// Begins the record of a request.
    pub fn new<B>(request: &Request<B>) -> Self {
        let path: String = request.uri().path().chars().take(PATH_LEN_MAX).collect();
        Self(Arc::new(Inner {
            id: next_id(),
            method: request.method().as_str().chars().take(16).collect(),
            path: path.escape_default().to_string(),
            started: Instant::now(),
            facts: Mutex::default(),
        }))
    }

    /// Names the request, for the client and the log.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// When it arrived.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Keeps a place for as long as the request lasts.
    pub fn hold(&self, place: OwnedSemaphorePermit) {
        self.facts()._place = Some(place);
    }

    /// The model that answers.
    pub fn set_model(&self, name: &str) {
        self.facts().model = Some(name.into());
    }

    /// Fields of the request that changed nothing: their names are printable ASCII from here on.
    pub fn set_ignored<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let short = |name: &str| name.chars().take(FIELD_LEN_MAX).collect::<String>();
        let escaped = names.take(FIELDS_MAX).map(|name| short(name).escape_default().to_string());
        let names: Vec<_> = escaped.map(|name| name.replace(',', "\\u{2c}")).collect();
        self.facts().ignored = Some(names.join(", ")).filter(|names| !names.is_empty());
    }

    /// The names of fields that were ignored, if there are any.
    pub fn ignored(&self) -> Option<String> {
        self.facts().ignored.clone()
    }

    /// The answer's status.
    pub fn set_status(&self, status: StatusCode) {
        self.facts().status = Some(status);
    }

    /// An error inside a stream, whose status was sent already.
    pub fn set_failed(&self) {
        self.facts().finish = Some("error");
    }

    /// A text ended; `counts_prompt` where it is the first of its prompt.
    pub fn add(&self, stats: &Stats, reason: FinishReason, counts_prompt: bool) {
        let facts = &mut *self.facts();
        if counts_prompt {
            facts.usage.n_prompt += stats.n_prompt;
            facts.usage.n_cached += stats.n_cached;
        }
        facts.usage.n_generated += stats.n_generated;
        facts.queue = facts.queue.max(stats.queue_time);
        facts.prefill = facts.prefill.max(stats.prompt_time.saturating_sub(stats.queue_time));
        facts.decode = facts.decode.max(stats.decode_time);
        facts.finish = Some(reason.as_str());
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        self.facts().usage
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line of a request, at a level.
macro_rules! log {
    ($level:ident, $inner:expr) => {{
        let inner = $inner;
        let facts = inner.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        tracing::$level!(
            target: "halfwarp::request",
            id = inner.id,
            method = inner.method,
            path = inner.path,
            status = facts.status.map_or(0, |status| status.as_u16()),
            model = facts.model,
            ignored = facts.ignored,
            prompt_tokens = facts.usage.n_prompt,
            cached_tokens = facts.usage.n_cached,
            completion_tokens = facts.usage.n_generated,
            queue_ms = ms(facts.queue),
            prefill_ms = ms(facts.prefill),
            decode_ms = ms(facts.decode),
            total_ms = ms(inner.started.elapsed()),
            finish = facts.finish,
            client_gone = !facts.is_sent,
            "request"
        );
    }};
}

impl Drop for Inner {
    /// Probes are many and say little: their lines are of a lower level, unless they were refused.
    fn drop(&mut self) {
        let status = self.facts.get_mut().map_or(None, |facts| facts.status);
        let is_told = matches!(status, Some(StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE));
        if is_told && PROBES.contains(&&*self.path) { log!(debug, self) } else { log!(info, self) }
    }
}

/// A number that no other request of this process has, and hardly one of another.
fn next_id() -> String {
    static N_REQUESTS: AtomicU64 = AtomicU64::new(0);
    let n = N_REQUESTS.fetch_add(1, Ordering::Relaxed);
    let salt = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), n);
    format!("{n:x}-{salt:016x}")
}

/// A body that holds the record until it is sent or dropped.
pub struct RecordedBody {
    inner: Body,
    record: Record,
    /// An answer to HEAD has a body that nobody reads.
    is_head: bool,
}

impl RecordedBody {
    /// Lets `record` last as long as `inner`, the answer to a request with `method`.
    pub fn new(inner: Body, record: Record, method: &Method) -> Self {
        let is_head = *method == Method::HEAD;
        let body = Self { inner, record, is_head };
        body.note_end();
        body
    }

    fn note_end(&self) {
        if self.is_head || self.inner.is_end_stream() {
            self.record.facts().is_sent = true;
        }
    }
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.record.facts().is_sent = true,
            Poll::Ready(Some(_)) => self.note_end(),
            Poll::Pending => (),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
