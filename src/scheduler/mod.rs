//! [`Scheduler`]: many texts at once on one model, each with exactly the bits that it would have alone.
//!
//! ```text
//! submit -> channel -> waiting -> running: each step, every running text puts its next tokens into one batch
//!                         ^          |     (one generated token, or a chunk of the prompt), one forward call, one token each
//!                         +- preempt +---> events
//! ```
//!
//! ```
//! # #[cfg(feature = "bundled")] {
//! use halfwarp::{Engine, EngineOptions, Scheduler, Source, engine::GenerateParams};
//! use halfwarp::scheduler::{Event, Request, SchedulerOptions};
//!
//! // Room for four texts of a full context; one more waits until one ends or shrinks.
//! let options = EngineOptions { n_cache: Some(4 * 512), ..EngineOptions::default() };
//! let scheduler = Scheduler::new(Engine::open(&Source::Bundled, &options)?, SchedulerOptions::default())?;
//! let texts = ["Once upon a time", "The little dog", "In the morning"].map(|prompt| {
//!     let params = GenerateParams { max_tokens: Some(8), ..GenerateParams::default() };
//!     scheduler.generate(Request { prompt: prompt.into(), params, tenant: 0 })
//! });
//! // They run side by side, whoever listens first.
//! for events in texts {
//!     let Some(Event::Done(completion)) = events?.last() else { panic!("a text failed") };
//!     assert_eq!(completion.stats.n_generated, 8);
//! }
//! # }
//! # Ok::<(), halfwarp::Error>(())
//! ```
//!
//! One thread owns the order of things (`worker.rs`); everybody else holds a `Scheduler` and talks to it through a channel. Texts
//! join and leave between steps. A text is let in when the KV cache has pages for its prompt, tenants in turn; when pages run out, first
//! kept prefixes go, then the text that came last goes back to wait and is computed again. Used by the HTTP server; tested in
//! `tests/scheduler/`.

mod job;
mod texts;
mod worker;

use crate::{
    Engine, Error, Result,
    backend::BackendError,
    engine::{CancelToken, Completion, GenerateParams, Prompt, Step, Writer},
};
use job::{Job, Sink};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
    time::Instant,
};
use worker::Worker;

/// What a tenant gets of the queue when others have filled it: the queue's length divided by this.
const N_SHARES: usize = 8;

/// How many texts there may be, and how prompts are cut.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// Most texts in one forward call.
    pub n_running: usize,
    /// Most texts that wait; a [`submit`](Scheduler::submit) beyond fails, unless others have filled the queue and the tenant has less
    /// than an eighth of it.
    pub n_waiting: usize,
    /// Prompt tokens in one forward call beside texts that are being generated: bounds how long those stall. Four times as many while
    /// a prompt waits long.
    pub n_chunk: usize,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self { n_running: 16, n_waiting: 256, n_chunk: 64 }
    }
}

/// A text to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it follows.
    pub prompt: Prompt,
    /// How.
    pub params: GenerateParams,
    /// Whose it is: keys and values of a prompt are shared within a tenant only, so that nobody can tell from the time to the first
    /// token what others asked.
    pub tenant: u64,
}

/// What becomes of a text. The last one is `Done` or `Failed`.
#[derive(Debug)]
pub enum Event {
    /// A token.
    Step(Step),
    /// The text has ended.
    Done(Completion),
    /// The text cannot go on.
    Failed(Error),
}

/// What a scheduler has to do, and did since it started.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Texts in the next forward call.
    pub n_running: usize,
    /// Texts that wait.
    pub n_waiting: usize,
    /// Pages of the KV cache.
    pub n_pages: usize,
    /// Pages that texts hold.
    pub n_pages_used: usize,
    /// Pages of earlier prompts that no text holds.
    pub n_pages_kept: usize,
    /// Forward calls.
    pub n_steps: u64,
    /// Prompt tokens that were computed, those computed again included.
    pub n_prompt_tokens: u64,
    /// Prompt tokens whose keys and values were there already.
    pub n_reused_tokens: u64,
    /// Tokens that were generated.
    pub n_generated_tokens: u64,
    /// Times that a text had to go back and wait.
    pub n_preempted: u64,
    /// When a forward call ended last, or there was nothing to do.
    pub alive_at: Option<Instant>,
    /// The error that ended the device's work, if one did.
    pub failed: Option<String>,
}

/// A model that runs many texts at once. Clones are one scheduler; when the last one is dropped its texts are cancelled.
#[derive(Clone)]
pub struct Scheduler {
    handle: Arc<Handle>,
}

struct Handle {
    engine: Engine,
    options: SchedulerOptions,
    shared: Arc<Mutex<Shared>>,
    /// None once the scheduler is to stop.
    jobs: Option<Sender<Vec<Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the callers both see.
#[derive(Default)]
struct Shared {
    load: Load,
    /// Texts that were accepted and have not ended.
    n_open: usize,
    /// Those of each tenant who has any.
    n_open_of: HashMap<u64, usize>,
    /// No text is accepted any more.
    is_closed: bool,
}

impl Shared {
    /// A text was accepted.
    fn open(&mut self, tenant: u64) {
        self.n_open += 1;
        *self.n_open_of.entry(tenant).or_default() += 1;
    }

    /// A text has ended.
    fn end(&mut self, tenant: u64) {
        self.n_open -= 1;
        if let Entry::Occupied(mut entry) = self.n_open_of.entry(tenant) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Whether there is room for `n` more texts of `tenant`, where `limit` is the room in all. What others have taken leaves each
    /// tenant a share beyond it.
    fn has_room(&self, tenant: u64, n: usize, limit: usize) -> bool {
        let n_own = self.n_open_of.get(&tenant).copied().unwrap_or(0);
        self.n_open + n <= limit || n_own < self.n_open && n_own + n <= limit / N_SHARES
    }
}

/// Cancels its texts when it is dropped: what a client holds as long as it wants the answer.
#[derive(Debug)]
pub struct Ticket {
    cancel: CancelToken,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The events of one text, as they come. Dropping it cancels the text.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    _ticket: Ticket,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

impl Scheduler {
    /// Starts the thread that runs `engine`, whose KV cache must hold at least one full context.
    pub fn new(engine: Engine, options: SchedulerOptions) -> Result<Self> {
        let (n_ctx, n_free) = (engine.config().n_ctx, engine.n_cache_free());
        if n_free < n_ctx {
            return Err(Error::CacheTooSmall { n_cache: n_free, n_ctx });
        }
        let (jobs, receiver) = mpsc::channel();
        let shared = Arc::<Mutex<Shared>>::default();
        let worker = Worker::new(engine.clone(), options.clone(), receiver, shared.clone());
        let thread = std::thread::Builder::new().name("scheduler".into());
        let thread =
            thread.spawn(move || worker.run()).map_err(|error| Error::Thread { error: error.to_string() })?;
        let handle = Handle { engine, options, shared, jobs: Some(jobs), thread: Some(thread) };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// The engine that runs the texts.
    pub fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// Accepts texts, all or none of them: fails where one is not acceptable, where too many wait, or where the scheduler is closed.
    /// `on_event` gets each text's index and what becomes of it, on the scheduler's thread: it must not block.
    pub fn submit(
        &self,
        requests: Vec<Request>,
        on_event: impl Fn(usize, Event) + Send + Sync + 'static,
    ) -> Result<Ticket> {
        let ticket = Ticket { cancel: CancelToken::default() };
        let sink: Sink = Arc::new(on_event);
        let tenant = requests.first().map_or(0, |request| request.tenant);
        drop(self.check_open(tenant, requests.len())?);
        let job = |(index, request): (usize, Request)| {
            let writer = Writer::new(self.engine(), request.prompt, &request.params)?;
            Ok(Job::new(index, request.tenant, writer, ticket.cancel.clone(), sink.clone()))
        };
        let jobs = requests.into_iter().enumerate().map(job).collect::<Result<Vec<_>>>()?;
        let mut shared = self.check_open(tenant, jobs.len())?;
        jobs.iter().for_each(|job| shared.open(job.tenant));
        if let Some(sender) = &self.handle.jobs {
            // The thread outlives this handle, so somebody receives them.
            let _ = sender.send(jobs);
        }
        Ok(ticket)
    }

    /// [`submit`](Self::submit) of one text, with its events as an iterator.
    pub fn generate(&self, request: Request) -> Result<Events> {
        let (sender, receiver) = mpsc::channel();
        // Nobody listens any more: the ticket is dropped too, and cancels the text.
        let ticket = self.submit(vec![request], move |_, event| drop(sender.send(event)))?;
        Ok(Events { receiver, _ticket: ticket })
    }

    /// What there is to do.
    pub fn load(&self) -> Load {
        self.shared().load.clone()
    }

    /// Texts that were accepted and have not ended.
    pub fn n_open(&self) -> usize {
        self.shared().n_open
    }

    /// Those of one tenant.
    pub fn n_open_of(&self, tenant: u64) -> usize {
        self.shared().n_open_of.get(&tenant).copied().unwrap_or(0)
    }

    /// Accepts no more texts. Those that were accepted go on.
    pub fn close(&self) {
        self.shared().is_closed = true;
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.handle.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless `n` more texts of `tenant` can be accepted.
    fn check_open(&self, tenant: u64, n: usize) -> Result<MutexGuard<'_, Shared>> {
        let shared = self.shared();
        if let Some(error) = &shared.load.failed {
            return Err(BackendError::DeviceLost { error: error.clone() }.into());
        }
        if shared.is_closed {
            return Err(Error::Closed);
        }
        let SchedulerOptions { n_running, n_waiting, .. } = self.handle.options;
        if !shared.has_room(tenant, n, n_running + n_waiting) {
            return Err(Error::QueueFull { n_open: shared.n_open, n, limit: n_running + n_waiting });
        }
        Ok(shared)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported to the texts that it ended.
            let _ = thread.join();
        }
    }
}
