//! An answer as server-sent events: one for each token, `[DONE]` at the end; after an error the error is the last.

use super::{
    answer::{Answer, Part},
    body,
    error::ApiError,
    model::{Model, unix_time},
    params::Delivery,
    record::{Record, Usage},
};
use crate::engine::Completion;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use std::{collections::VecDeque, convert::Infallible, time::Duration};

/// A comment is sent when nothing was for so long, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How the parts of an answer look.
pub trait Shape: Send + 'static {
    /// What ids of answers begin with.
    const ID: &str;
    /// What a whole answer is called, and what a chunk of a stream is.
    const OBJECTS: [&str; 2];

    /// The choices that are sent before anything else.
    fn first(&mut self) -> Vec<Value> {
        Vec::new()
    }

    /// A part of text `index`, as a choice; none where there is nothing to say yet.
    fn chunk(&mut self, index: usize, part: Part) -> Option<Value>;

    /// Text `index` as a choice of an answer that is not streamed.
    fn whole(&self, index: usize, completion: &Completion) -> Value;
}

/// What every answer and every chunk of a stream begins with.
pub struct Head {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    fingerprint: String,
}

impl Head {
    /// The head of the answer to the request of `record`.
    pub fn new<S: Shape>(streams: bool, model_name: String, record: &Record, model: &Model) -> Self {
        Self {
            id: format!("{}-{}", S::ID, record.id()),
            object: S::OBJECTS[usize::from(streams)],
            created: unix_time(),
            model: model_name,
            fingerprint: model.fingerprint(),
        }
    }

    /// The head with `choices`.
    fn with(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }

    /// The head with `choices` and the number of tokens.
    fn with_usage(&self, choices: Vec<Value>, usage: Usage) -> Value {
        let mut value = self.with(choices);
        value["usage"] = json!({
            "prompt_tokens": usage.n_prompt,
            "completion_tokens": usage.n_generated,
            "total_tokens": usage.n_prompt + usage.n_generated,
            "prompt_tokens_details": {"cached_tokens": usage.n_cached},
        });
        value
    }
}

/// Answers a request in its shape: as it comes, or at once when all texts have ended.
pub async fn deliver(
    answer: Answer,
    head: Head,
    shape: impl Shape,
    delivery: Delivery,
) -> Result<Response<Body>, ApiError> {
    if delivery.stream {
        return Ok(stream(answer, head, shape, delivery.include_usage).into_response());
    }
    let record = answer.record().clone();
    let completions = answer.complete().await?;
    let choices = completions.iter().enumerate().map(|(index, c)| shape.whole(index, c)).collect();
    Ok(body::json(&head.with_usage(choices, record.usage())))
}

/// The answer, as it comes. Where it ends with a chunk that has the number of tokens, the others have none, and say so.
fn stream(answer: Answer, head: Head, mut shape: impl Shape, with_usage: bool) -> impl IntoResponse {
    let ready = shape.first().into_iter().map(|choice| event(head.with(vec![choice]), with_usage)).collect();
    let writer = Writer { answer: Some(answer), head, shape, with_usage, ready };
    let events = unfold(writer, |mut writer| async {
        let event = writer.next().await?;
        Some((Ok::<_, Infallible>(event), writer))
    });
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Proxies that collect answers before they pass them on know this one.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Writer<S> {
    /// None once everything was said.
    answer: Option<Answer>,
    head: Head,
    shape: S,
    with_usage: bool,
    ready: VecDeque<Event>,
}

impl<S: Shape> Writer<S> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let next = self.answer.as_mut()?.next().await;
            match next {
                Ok(Some((index, part))) => {
                    let choice = self.shape.chunk(index, part);
                    let chunk = choice.map(|choice| self.head.with(vec![choice]));
                    self.ready.extend(chunk.map(|chunk| event(chunk, self.with_usage)));
                }
                Ok(None) => self.end(),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn end(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        if self.with_usage {
            let chunk = self.head.with_usage(Vec::new(), answer.record().usage());
            self.ready.push_back(event(chunk, false));
        }
        self.ready.push_back(Event::default().data("[DONE]"));
    }

    fn fail(&mut self, error: &ApiError) {
        if let Some(answer) = self.answer.take() {
            answer.record().set_failed();
        }
        self.ready.push_back(event(error.to_json(), false));
    }
}

fn event(mut chunk: Value, with_usage: bool) -> Event {
    if with_usage {
        chunk["usage"] = Value::Null;
    }
    // JSON of serde_json has no line break, so this is one line.
    Event::default().data(chunk.to_string())
}
