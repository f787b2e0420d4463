//! The HTTP server: OpenAI's completions and chat on one model, for clients that exist.
//!
//! ```text
//! connection.rs   sockets: how many, how long, how slow
//! guard.rs        who may ask, by the head alone
//! body.rs, json.rs, params.rs, refused.rs   the body: size, time, type, every field's range
//! generate.rs     a request for texts, from its body to its answer
//! completions/, chat/           prompts to texts, texts to choices
//! answer.rs       the texts under way: events from the scheduler's thread; dropped, it cancels them
//! stream.rs       the answer as server-sent events
//! ```
//!
//! [`Server::bind`] takes the address, [`Server::run`] serves it; until [`Loader::load`] hands over a model, the server says that it
//! is loading. Nothing here computes: the [`Scheduler`](crate::Scheduler)'s thread does. Used by `halfwarp serve`; tested in
//! `tests/server/`.

mod answer;
mod body;
mod chat;
mod completions;
mod connection;
mod error;
mod generate;
mod guard;
mod info;
mod json;
mod metrics;
mod model;
mod options;
mod params;
mod record;
mod refused;
mod stream;

pub use model::{Model, Size, default_sampling};
pub use options::{Limits, ServerError, ServerOptions};

use axum::{
    Router,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use error::ApiError;
use guard::{Doors, Keys};
use metrics::Metrics;
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::Semaphore};

/// How often the server looks at how the scheduler gets on.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a server whose device is lost goes on to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all handlers share.
struct App {
    model: OnceLock<Arc<Model>>,
    model_names: Vec<String>,
    keys: Keys,
    doors: Doors,
    limits: Limits,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Requests for texts on connections beyond the limit.
    spare: Arc<Semaphore>,
    is_closing: AtomicBool,
    /// The scheduler's count of steps, and when it grew last or there was nothing to do.
    progress: Mutex<(u64, Instant)>,
}

impl App {
    /// The model, whatever became of its device.
    fn loaded_model(&self) -> Result<&Arc<Model>, ApiError> {
        self.model.get().ok_or_else(|| ApiError::unavailable("loading", "Loading model"))
    }

    /// The model, if it can answer.
    fn ready_model(&self) -> Result<Arc<Model>, ApiError> {
        let model = self.loaded_model()?;
        match model.scheduler.load().failed {
            None => Ok(model.clone()),
            Some(error) => {
                let error = crate::backend::BackendError::DeviceLost { error };
                Err(ApiError::unavailable("device_lost", error).closing())
            }
        }
    }

    /// The name that the model is served under, which a request may leave out.
    fn check_name(&self, asked: Option<&str>) -> Result<String, ApiError> {
        let name = match asked {
            None => self.model_names.first(),
            Some(asked) => self.model_names.iter().find(|name| *name == asked),
        };
        name.cloned().ok_or_else(|| {
            let asked: String = asked.unwrap_or_default().chars().take(100).collect();
            let served = self.model_names.join(", ");
            let message = format_args!("the model {asked:?} does not exist here; served: {served}");
            ApiError::not_found("model_not_found", message).about("model")
        })
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Takes no more texts.
    fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        if let Some(model) = self.model.get() {
            model.scheduler.close();
        }
    }

    /// Notes whether the scheduler gets on. Returns the error that ended the device's work, if one did.
    fn watch(&self) -> Option<String> {
        let scheduler = &self.model.get()?.scheduler;
        let (load, n_open) = (scheduler.load(), scheduler.n_open());
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if n_open == 0 || load.n_steps != progress.0 {
            *progress = (load.n_steps, Instant::now());
        }
        load.failed
    }

    /// How long there was something to do and nothing was done, where that is too long.
    fn stalled(&self) -> Option<Duration> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Some(progress.1.elapsed()).filter(|&time| time > self.limits.stall_time)
    }
}

/// What load balancers are told before connections are refused.
#[derive(Default)]
struct Readiness {
    was_asked: AtomicBool,
    is_leaving: AtomicBool,
}

impl Readiness {
    /// Somebody asks.
    fn note_probe(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
    }

    /// Whether the server is about to end.
    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// From now on the server is not ready. Where nobody asked so far, nobody has to be waited for.
    async fn leave(&self, notice_time: Duration) {
        self.is_leaving.store(true, Ordering::Relaxed);
        if self.was_asked.load(Ordering::Relaxed) {
            tokio::time::sleep(notice_time).await;
        }
    }
}

/// A server that has its address.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

/// Hands the model to a server that runs already.
#[derive(Clone)]
pub struct Loader(Arc<App>);

impl Loader {
    /// From now on `model` answers. A second call changes nothing.
    pub fn load(&self, model: Model) {
        let _ = self.0.model.set(Arc::new(model));
        if self.0.is_closing() {
            self.0.close();
        }
    }
}

impl Server {
    /// Takes `address`; port 0 takes a free one. Fails where others can reach it and nobody needs a key, unless that was asked for.
    pub fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServerError> {
        options.check(address)?;
        let listener = connection::listen(address).map_err(|error| ServerError::Bind { address, error })?;
        let address = listener.local_addr().map_err(|error| ServerError::Bind { address, error })?;
        let app = App {
            model: OnceLock::new(),
            metrics: Arc::new(Metrics::new(options.model_names.first().map_or("", |name| name))),
            model_names: options.model_names,
            keys: Keys::new(&options.api_keys),
            doors: Doors::new(address, &options.allowed_hosts, &options.cors_origins),
            limits: options.limits,
            readiness: Readiness::default(),
            spare: Arc::new(Semaphore::new(connection::N_SPARE / 2)),
            is_closing: AtomicBool::new(false),
            progress: Mutex::new((0, Instant::now())),
        };
        Ok(Self { app: Arc::new(app), listener, address })
    }

    /// Where it can be reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For whoever loads the model.
    pub fn loader(&self) -> Loader {
        Loader(self.app.clone())
    }

    /// Serves until `shutdown` is ready, and then until the answers under way are sent, for a limited time. Fails where the device
    /// is lost: what was under way has been told so then, and the process had better start again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let connections = connection::Connections::new(&self.app.limits);
        let router = router(self.app.clone());
        let accept = connections.accept(&self.listener, &router);
        let leave = async {
            shutdown.await;
            self.app.readiness.leave(self.app.limits.notice_time).await;
        };
        let lost = tokio::select! {
            () = accept => None,
            () = leave => None,
            error = watch(&self.app) => Some(error),
        };
        if lost.is_some() {
            // Health checks can see it, too.
            let _ = tokio::time::timeout(LAST_WORDS, connections.accept(&self.listener, &router)).await;
        }
        self.app.close();
        drop(self.listener);
        let drain_time = if lost.is_some() { LAST_WORDS } else { self.app.limits.drain_time };
        connections.drain(drain_time).await;
        match lost {
            Some(error) => Err(ServerError::Device { error }),
            None => Ok(()),
        }
    }
}

/// Waits until the device is lost.
async fn watch(app: &App) -> String {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        if let Some(error) = app.watch() {
            return error;
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(info::health))
        .route("/ready", get(info::ready))
        .route("/metrics", get(info::metrics))
        .route("/v1/models", get(info::models))
        .route("/v1/models/{*name}", get(info::model))
        .route("/v1/completions", post(generate::handle::<completions::Completions>))
        .route("/v1/chat/completions", post(generate::handle::<chat::Chat>))
        .route("/tokenize", post(info::tokenize))
        .route("/detokenize", post(info::detokenize))
        .fallback(async || ApiError::not_found("unknown_path", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, "this path does not have this method")
        })
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}
