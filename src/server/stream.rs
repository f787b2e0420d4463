//! An answer as server-sent events: one for each token, `[DONE]` at the end; after an error the error is the last.

use super::{
    answer::{Answer, Part},
    body,
    completions::Head,
    error::ApiError,
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

    /// Text `index` as a choice of an answer that is not streamed.
    fn whole(&self, index: usize, completion: &Completion) -> Value;

    /// What every answer and every chunk begins with.
    fn head(&self) -> &Head;

    /// Whether a stream ends with a chunk that has the number of tokens; the others have none then, and say so.
    fn includes_usage(&self) -> bool;
}

/// Answers a request in its shape: as it comes, or at once when all texts have ended.
pub async fn deliver(answer: Answer, shape: impl Shape, streams: bool) -> Result<Response<Body>, ApiError> {
    if streams {
        return Ok(stream(answer, shape).into_response());
    }
    let record = answer.record().clone();
    let completions = answer.complete().await?;
    let choices = completions.iter().enumerate().map(|(index, c)| shape.whole(index, c)).collect();
    Ok(body::json(&shape.head().with_usage(choices, record.usage())))
}

/// The answer, as it comes.
fn stream(answer: Answer, mut shape: impl Shape) -> impl IntoResponse {
    let with_usage = shape.includes_usage();
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
        if self.with_usage {
            let chunk = self.shape.head().with_usage(Vec::new(), answer.record().usage());
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
