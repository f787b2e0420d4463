//! A server in this process, on a free port.

use crate::client::{Answer, ask};
use halfwarp::{
    Engine, EngineOptions, Scheduler, Source,
    backend::Device,
    chat::Template,
    scheduler::SchedulerOptions,
    server::{Limits, Model, Server, ServerError, ServerOptions, Size},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::OnceLock,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// A server; dropping it ends it.
pub struct Rig {
    pub address: SocketAddr,
    pub scheduler: Option<Scheduler>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

pub fn options() -> ServerOptions {
    ServerOptions { model_names: vec!["tales".into()], ..ServerOptions::default() }
}

/// [`options`] with other limits.
pub fn limited(limits: Limits) -> ServerOptions {
    ServerOptions { limits, ..options() }
}

/// The bundled model, with room for four full contexts.
pub fn engine() -> Engine {
    let device = Device::Cpu;
    let options = EngineOptions { device, n_cache: Some(4 * 512), ..EngineOptions::default() };
    Engine::open(&Source::Bundled, &options).unwrap()
}

/// A server of `engine` whose address is open, and that is ready.
pub fn serve(engine: Engine, texts: SchedulerOptions, options: ServerOptions) -> Rig {
    serve_with(engine, texts, options, None)
}

/// [`serve`], with a chat template.
pub fn serve_with(
    engine: Engine,
    texts: SchedulerOptions,
    options: ServerOptions,
    template: Option<&str>,
) -> Rig {
    let scheduler = Scheduler::new(engine, texts).unwrap();
    let template = Template::open(template, None);
    let size = Size { n_params: 5_919_744, n_bytes: 11_839_488 };
    let model = Model::new(scheduler.clone(), template, size);
    let mut rig = start(options, Some(model));
    rig.scheduler = Some(scheduler);
    rig
}

/// A server, with a model or with none yet.
pub fn start(options: ServerOptions, model: Option<Model>) -> Rig {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = {
        let _context = runtime.enter();
        Server::bind("127.0.0.1:0".parse().unwrap(), options).unwrap()
    };
    let address = server.address();
    if let Some(model) = model {
        server.loader().load(model);
    }
    let (shutdown, asked) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let outcome = runtime.block_on(server.run(async { drop(asked.await) }));
        runtime.shutdown_background();
        outcome
    });
    Rig { address, scheduler: None, shutdown: Some(shutdown), thread: Some(thread) }
}

/// One server for all tests that leave it as it is.
pub fn tales() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| serve(engine(), SchedulerOptions::default(), options()))
}

impl Rig {
    pub fn get(&self, path: &str) -> Answer {
        ask(self.address, "GET", path, &[], "")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: impl ToString) -> Answer {
        ask(self.address, "POST", path, &[], &body.to_string())
    }

    /// A request for completions.
    #[track_caller]
    pub fn complete(&self, body: Value) -> Answer {
        self.post("/v1/completions", body)
    }

    /// What a metric says; 0 where it says nothing yet.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(&format!("halfwarp:{name}{{")));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn scheduler(&self) -> &Scheduler {
        self.scheduler.as_ref().expect("a rig with a model")
    }

    /// Asks it to end.
    pub fn shut_down(&mut self) {
        self.shutdown.take().map(|shutdown| shutdown.send(()));
    }

    /// How it ended.
    pub fn outcome(&mut self) -> Result<(), ServerError> {
        self.thread.take().expect("it was not asked before").join().expect("it does not panic")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Waits until `what` holds.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, holds: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    started.elapsed()
}
