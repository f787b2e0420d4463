//! The scheduler's thread: it takes what was submitted, lets the texts run, and publishes how they do.

use super::{Load, SchedulerOptions, Shared, job::Job, texts::Texts};
use crate::{Engine, engine::Runner};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    time::Instant,
};

pub(super) struct Worker {
    engine: Engine,
    receiver: Receiver<Vec<Job>>,
    shared: Arc<Mutex<Shared>>,
    texts: Texts,
    /// The error that ended the device's work.
    failed: Option<String>,
}

impl Worker {
    pub fn new(
        engine: Engine,
        options: SchedulerOptions,
        receiver: Receiver<Vec<Job>>,
        shared: Arc<Mutex<Shared>>,
    ) -> Self {
        Self { engine, receiver, shared, texts: Texts::new(options), failed: None }
    }

    /// Runs until nobody can submit any more; what is under way then is cancelled.
    pub fn run(mut self) {
        while self.receive() {
            self.step();
            self.publish();
        }
        let engine = self.engine.clone();
        self.texts.close(&mut engine.runner().cache);
        self.publish();
    }

    /// Takes what was submitted, and waits for it where there is nothing else to do. False once nobody can submit any more.
    fn receive(&mut self) -> bool {
        if self.texts.is_empty() {
            match self.receiver.recv() {
                Ok(jobs) => self.texts.wait(jobs),
                Err(_) => return false,
            }
        }
        loop {
            match self.receiver.try_recv() {
                Ok(jobs) => self.texts.wait(jobs),
                Err(error) => return error == std::sync::mpsc::TryRecvError::Empty,
            }
        }
    }

    /// One forward call. An error of the device, or a panic, ends all texts and those to come.
    fn step(&mut self) {
        let engine = self.engine.clone();
        let mut runner = engine.runner();
        if self.failed.is_none() {
            let Runner { backend, cache, .. } = &mut *runner;
            let step = catch_unwind(AssertUnwindSafe(|| self.texts.step(&mut **backend, cache)));
            self.failed = match step {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(panic_text(&*panic)),
            };
        }
        if let Some(error) = &self.failed {
            // Before anybody is told, so that whoever was told finds it so.
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).load.failed = Some(error.clone());
            self.texts.lose_all(&mut runner.cache, error);
        }
    }

    fn publish(&mut self) {
        let engine = self.engine.clone();
        let runner = engine.runner();
        let cache = &runner.cache;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.texts.take_ended().for_each(|tenant| shared.end(tenant));
        shared.load = Load {
            n_pages: cache.n_pages(),
            n_pages_used: cache.n_used(),
            n_pages_kept: cache.n_pages() - cache.n_used() - cache.n_free(),
            alive_at: Some(Instant::now()),
            failed: self.failed.clone(),
            ..self.texts.load()
        };
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the scheduler's thread panicked: {}", text.unwrap_or("no message"))
}
