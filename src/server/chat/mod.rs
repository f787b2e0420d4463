//! `POST /v1/chat/completions`.

mod request;

use super::{
    App,
    answer::{Answer, Part},
    body,
    completions::{Head, logprobs::token_entry},
    error::ApiError,
    guard::Tenant,
    model::Model,
    record::Record,
    stream::{Shape, deliver},
};
use crate::{
    engine::{Completion, FinishReason},
    sampler::TokenLogprobs,
};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::Response,
};
use request::ChatRequest;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a request.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(record): Extension<Record>,
    Extension(Tenant(tenant)): Extension<Tenant>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let model = app.ready_model()?;
    let body = body::read(&app, request).await?;
    let parsed = {
        let model = model.clone();
        body::parse(body, move |body| ChatRequest::parse(body, &model, tenant)).await?
    };
    let name = app.check_name(parsed.model.as_deref())?;
    record.set_model(&name);
    let delivery = parsed.delivery;
    let answer = Answer::submit(&app, &model, parsed.texts, delivery.n, delivery.stream, &record)
        .map_err(ApiError::in_chat)?;
    let object = if delivery.stream { "chat.completion.chunk" } else { "chat.completion" };
    let shape = ChatShape {
        head: Head::new("chatcmpl", object, name, &record, &model),
        n: delivery.n,
        logprobs: parsed.logprobs,
        include_usage: delivery.include_usage,
        model,
    };
    deliver(answer, shape, delivery.stream).await
}

struct ChatShape {
    head: Head,
    model: Arc<Model>,
    n: usize,
    logprobs: bool,
    include_usage: bool,
}

impl ChatShape {
    fn entry(&self, id: u32, logprobs: Option<&TokenLogprobs>) -> Option<Value> {
        Some(token_entry(&self.model, id, logprobs?))
    }
}

fn content(entries: Vec<Value>) -> Value {
    json!({"content": entries, "refusal": null})
}

fn choice(index: usize, delta: Value, logprobs: Option<Value>, reason: Option<FinishReason>) -> Value {
    json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason.map(FinishReason::as_str)})
}

impl Shape for ChatShape {
    fn first(&mut self) -> Vec<Value> {
        let role = |index| choice(index, json!({"role": "assistant", "content": ""}), None, None);
        (0..self.n).map(|index| self.head.with(vec![role(index)])).collect()
    }

    fn chunk(&mut self, index: usize, part: Part) -> Option<Value> {
        let choice = match part {
            Part::Step(step) if self.logprobs => {
                let entry = step.token_id.and_then(|id| self.entry(id, step.logprobs.as_ref()));
                let logprobs = content(entry.into_iter().collect());
                choice(index, json!({"content": step.text}), Some(logprobs), None)
            }
            Part::Step(step) if step.text.is_empty() => return None,
            Part::Step(step) => choice(index, json!({"content": step.text}), None, None),
            Part::Done(completion) => choice(index, json!({}), None, Some(completion.finish_reason)),
        };
        Some(self.head.with(vec![choice]))
    }

    fn whole(&self, index: usize, completion: &Completion) -> Value {
        let tokens = completion.token_ids.iter().copied().zip(&completion.logprobs);
        let entries = tokens.filter_map(|(id, logprobs)| self.entry(id, logprobs.as_ref())).collect();
        json!({
            "index": index,
            "message": {"role": "assistant", "content": completion.text, "refusal": null},
            "logprobs": self.logprobs.then(|| content(entries)),
            "finish_reason": completion.finish_reason.as_str(),
        })
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn includes_usage(&self) -> bool {
        self.include_usage
    }
}
