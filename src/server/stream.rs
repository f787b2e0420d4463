//! An answer as server-sent events: one for each token, `[DONE]` at the end; after an error the error is the last.

use super::{
    answer::{Answer, Part},
    error::ApiError,
    record::Usage,
};
use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::unfold;
use serde_json::Value;
use std::{collections::VecDeque, convert::Infallible, time::Duration};

/// A comment is sent when nothing was for so long, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How the parts of an answer look.
pub trait Shape: Send + 'static {
    /// What is sent before anything else.
    fn first(&mut self) -> Vec<Value> {
        Vec::new()
    }

    /// A part of text `index`; none where there is nothing to say yet.
    fn chunk(&mut self, index: usize, part: Part) -> Option<Value>;

    /// The last chunk of a client that wants to know the number of tokens; the others have none then, and say so.
    fn usage(&self, tokens: Usage) -> Option<Value>;
}

/// The answer, as it comes.
pub fn stream(answer: Answer, mut shape: impl Shape) -> impl IntoResponse {
    let with_usage = shape.usage(Usage::default()).is_some();
    let ready = shape.first().into_iter().map(|chunk| event(chunk, with_usage)).collect();
    let writer = Writer { answer: Some(answer), shape, with_usage, ready };
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
                    let chunk = self.shape.chunk(index, part);
                    self.ready.extend(chunk.map(|chunk| event(chunk, self.with_usage)));
                }
                Ok(None) => self.end(),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn end(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let usage = self.shape.usage(answer.record().usage());
        self.ready.extend(usage.map(|chunk| event(chunk, false)));
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
