//! What the server counts, under the names that dashboards of vLLM know, with a prefix of its own.

use crate::{
    engine::{FinishReason, Stats},
    scheduler::Load,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};
use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The format that [`Metrics::text`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    finished_reason: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    n_running: Gauge,
    n_waiting: Gauge,
    kv_usage: Gauge<f64, AtomicU64>,
    n_prompt: Counter,
    n_generated: Counter,
    n_preempted: Counter,
    succeeded: Family<Finished, Counter>,
    failed: Counter,
    cancelled: Counter,
    first_token: Histogram,
    inter_token: Histogram,
    end_to_end: Histogram,
    queue: Histogram,
    prefill: Histogram,
    decode: Histogram,
}

/// Seconds, from 1 ms to about 9 minutes in factors of 2.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 20))
}

impl Metrics {
    /// Nothing yet, for a model called `name`.
    pub fn new(name: &str) -> Self {
        let mut registry = Registry::default();
        let model: (Cow<'static, str>, Cow<'static, str>) = ("model_name".into(), name.to_string().into());
        let labelled = registry.sub_registry_with_label(model);
        let made = Self {
            n_running: add(
                labelled,
                "num_requests_running",
                "Texts in the next forward call",
                Gauge::default(),
            ),
            n_waiting: add(labelled, "num_requests_waiting", "Texts that wait", Gauge::default()),
            kv_usage: add(
                labelled,
                "kv_cache_usage_perc",
                "Share of the KV cache that texts hold, 0 to 1",
                Gauge::default(),
            ),
            n_prompt: add(labelled, "prompt_tokens", "Prompt tokens of texts that began", Counter::default()),
            n_generated: add(labelled, "generation_tokens", "Tokens that were generated", Counter::default()),
            n_preempted: add(
                labelled,
                "num_preemptions",
                "Times that a text had to wait again",
                Counter::default(),
            ),
            succeeded: add(labelled, "request_success", "Texts that ended, by why", Family::default()),
            failed: add(labelled, "request_failures", "Texts that failed", Counter::default()),
            cancelled: add(
                labelled,
                "requests_cancelled",
                "Requests whose client went away",
                Counter::default(),
            ),
            first_token: add(
                labelled,
                "time_to_first_token_seconds",
                "From the request to its first token",
                seconds(),
            ),
            inter_token: add(
                labelled,
                "inter_token_latency_seconds",
                "From one token to the next",
                seconds(),
            ),
            end_to_end: add(
                labelled,
                "e2e_request_latency_seconds",
                "From the request to its end",
                seconds(),
            ),
            queue: add(labelled, "request_queue_time_seconds", "Waiting", seconds()),
            prefill: add(labelled, "request_prefill_time_seconds", "Computing the prompt", seconds()),
            decode: add(
                labelled,
                "request_decode_time_seconds",
                "From the first token to the last",
                seconds(),
            ),
            registry: Registry::default(),
        };
        Self { registry, ..made }
    }

    /// A token came: the first of its text after `since_request`, or one after `since_last`.
    pub fn token(&self, since_request: Duration, since_last: Option<Duration>) {
        self.n_generated.inc();
        match since_last {
            None => self.first_token.observe(since_request.as_secs_f64()),
            Some(time) => self.inter_token.observe(time.as_secs_f64()),
        }
    }

    /// A text ended.
    pub fn ended(&self, reason: FinishReason, stats: &Stats, since_request: Duration) {
        self.n_prompt.inc_by(stats.n_prompt as u64);
        if reason == FinishReason::Cancel {
            return;
        }
        self.succeeded.get_or_create(&Finished { finished_reason: reason.as_str() }).inc();
        self.end_to_end.observe(since_request.as_secs_f64());
        self.queue.observe(stats.queue_time.as_secs_f64());
        self.prefill.observe(stats.prompt_time.saturating_sub(stats.queue_time).as_secs_f64());
        self.decode.observe(stats.decode_time.as_secs_f64());
    }

    /// A text failed.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// A client went away before its texts had ended.
    pub fn cancelled(&self) {
        self.cancelled.inc();
    }

    /// All of it, with what the scheduler has to do now.
    pub fn text(&self, load: &Load, n_open: usize) -> String {
        self.n_running.set(load.n_running as i64);
        self.n_waiting.set(n_open.saturating_sub(load.n_running) as i64);
        self.kv_usage.set(load.n_pages_used as f64 / load.n_pages.max(1) as f64);
        self.n_preempted.inner().store(load.n_preempted, Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(format!("halfwarp:{name}"), help, metric.clone());
    metric
}
