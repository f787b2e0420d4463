//! [`Answer`]: the texts of one request under way, as the handler of the request sees them.
//!
//! The scheduler's thread hands events to a channel without a bound of its own: what can be in it is bounded by the request, one
//! event for each token of each text, and those are at most `TEXTS_MAX` texts of one context. The answer holds the ticket: whoever
//! drops it, because the client went away or the time is up, cancels the texts.

use super::{App, error::ApiError, metrics::Metrics, model::Model, params::Delivery, record::Record};
use crate::{
    engine::{Completion, FinishReason, Step},
    scheduler::{Event, Request, Ticket},
};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Sleep,
};

/// What becomes of a text of an answer.
pub enum Part {
    /// A token.
    Step(Step),
    /// The text has ended.
    Done(Completion),
}

/// The texts of one request.
pub struct Answer {
    events: UnboundedReceiver<(usize, Event)>,
    /// Texts that have not ended.
    n_open: usize,
    /// Texts to each prompt.
    n: usize,
    time_limit: Duration,
    deadline: Pin<Box<Sleep>>,
    record: Record,
    _ticket: Ticket,
}

impl Answer {
    /// Submits the texts of a request. Their steps are handed out only where the answer is a stream.
    pub fn submit(
        app: &App,
        model: &Model,
        requests: Vec<Request>,
        delivery: Delivery,
        record: &Record,
    ) -> Result<Self, ApiError> {
        let (sender, events) = unbounded_channel();
        let n_open = requests.len();
        let clock = Clock::new(app.metrics.clone(), record.started(), n_open);
        let ticket = model.scheduler.submit(requests, move |index, event| {
            clock.note(index, &event);
            if delivery.stream || !matches!(event, Event::Step(_)) {
                // Nobody listens any more: the ticket is dropped too.
                let _ = sender.send((index, event));
            }
        })?;
        let time_limit = app.limits.answer_time;
        let deadline = Box::pin(tokio::time::sleep_until((record.started() + time_limit).into()));
        Ok(Self {
            events,
            n_open,
            n: delivery.n,
            time_limit,
            deadline,
            record: record.clone(),
            _ticket: ticket,
        })
    }

    /// What comes next, and of which text; none once all have ended.
    pub async fn next(&mut self) -> Result<Option<(usize, Part)>, ApiError> {
        if self.n_open == 0 {
            return Ok(None);
        }
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = &mut self.deadline => {
                let message = format_args!("the answer took longer than {} s", self.time_limit.as_secs_f64());
                return Err(ApiError::timeout(message));
            }
        };
        let lost = || ApiError::internal("the scheduler has ended");
        match event.ok_or_else(lost)? {
            (index, Event::Step(step)) => Ok(Some((index, Part::Step(step)))),
            (_, Event::Failed(error)) => Err(error.into()),
            (index, Event::Done(completion)) => {
                let reason = completion.finish_reason;
                if reason == FinishReason::Cancel {
                    return Err(crate::Error::Closed.into());
                }
                self.n_open -= 1;
                self.record.add(&completion.stats, reason, index % self.n == 0);
                Ok(Some((index, Part::Done(completion))))
            }
        }
    }

    /// All texts, once all have ended.
    pub async fn complete(mut self) -> Result<Vec<Completion>, ApiError> {
        let mut done: Vec<_> = std::iter::repeat_with(|| None).take(self.n_open).collect();
        while let Some((index, part)) = self.next().await? {
            if let Part::Done(completion) = part {
                done[index] = Some(completion);
            }
        }
        Ok(done.into_iter().flatten().collect())
    }

    /// What is known of the request.
    pub fn record(&self) -> &Record {
        &self.record
    }
}

/// Times the tokens where they come about, so that a client that reads slowly does not count.
struct Clock {
    metrics: Arc<Metrics>,
    started: Instant,
    last: Mutex<Vec<Option<Instant>>>,
    is_cancelled: AtomicBool,
}

impl Clock {
    fn new(metrics: Arc<Metrics>, started: Instant, n_texts: usize) -> Self {
        Self { metrics, started, last: Mutex::new(vec![None; n_texts]), is_cancelled: AtomicBool::new(false) }
    }

    fn note(&self, index: usize, event: &Event) {
        match event {
            Event::Step(Step { is_prompt: false, token_id: Some(_), .. }) => {
                let now = Instant::now();
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner)[index].replace(now);
                self.metrics.token(now - self.started, last.map(|last| now - last));
            }
            Event::Step(_) => (),
            Event::Failed(_) => self.metrics.failed(),
            Event::Done(completion) => {
                let reason = completion.finish_reason;
                if reason == FinishReason::Cancel && !self.is_cancelled.swap(true, Ordering::Relaxed) {
                    self.metrics.cancelled();
                }
                self.metrics.ended(reason, &completion.stats, self.started.elapsed());
            }
        }
    }
}
