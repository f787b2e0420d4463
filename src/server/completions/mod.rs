//! `POST /v1/completions`.

pub mod logprobs;
pub mod request;

use super::{
    App,
    answer::{Answer, Part},
    body,
    error::ApiError,
    guard::Tenant,
    model::{Model, unix_time},
    record::{Record, Usage},
    stream::{Shape, deliver},
};
use crate::engine::{Completion, FinishReason};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::Response,
};
use logprobs::TokenLists;
use request::CompletionRequest;
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
        body::parse(body, move |body| CompletionRequest::parse(body, &model, tenant)).await?
    };
    let name = app.check_name(parsed.model.as_deref())?;
    record.set_model(&name);
    let delivery = parsed.delivery;
    let answer = Answer::submit(&app, &model, parsed.texts, delivery.n, delivery.stream, &record)?;
    let shape = CompletionShape {
        head: Head::new("cmpl", "text_completion", name, &record, &model),
        offsets: vec![0; answer.n_texts()],
        logprobs: parsed.logprobs,
        include_usage: delivery.include_usage,
        model,
    };
    deliver(answer, shape, delivery.stream).await
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
    pub fn new(
        prefix: &str,
        object: &'static str,
        model_name: String,
        record: &Record,
        model: &Model,
    ) -> Self {
        Self {
            id: format!("{prefix}-{}", record.id()),
            object,
            created: unix_time(),
            model: model_name,
            fingerprint: model.fingerprint(),
        }
    }

    /// The head with `choices`.
    pub fn with(&self, choices: Vec<Value>) -> Value {
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
    pub fn with_usage(&self, choices: Vec<Value>, usage: Usage) -> Value {
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

struct CompletionShape {
    head: Head,
    model: Arc<Model>,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    logprobs: bool,
    include_usage: bool,
}

fn choice(index: usize, text: &str, logprobs: Option<Value>, reason: Option<FinishReason>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason.map(FinishReason::as_str)})
}

impl Shape for CompletionShape {
    fn chunk(&mut self, index: usize, part: Part) -> Option<Value> {
        let choice = match part {
            Part::Step(step) if self.logprobs => {
                let mut lists = TokenLists::default();
                if let Some(id) = step.token_id {
                    lists.push(&self.model, id, step.logprobs.as_ref(), &mut self.offsets[index]);
                }
                choice(index, &step.text, Some(lists.into_json()), None)
            }
            Part::Step(step) if step.text.is_empty() => return None,
            Part::Step(step) => choice(index, &step.text, None, None),
            Part::Done(completion) => choice(index, "", None, Some(completion.finish_reason)),
        };
        Some(self.head.with(vec![choice]))
    }

    fn whole(&self, index: usize, completion: &Completion) -> Value {
        let logprobs = self.logprobs.then(|| {
            let (mut lists, mut offset) = (TokenLists::default(), 0);
            for (&id, logprobs) in completion.token_ids.iter().zip(&completion.logprobs) {
                lists.push(&self.model, id, logprobs.as_ref(), &mut offset);
            }
            lists.into_json()
        });
        choice(index, &completion.text, logprobs, Some(completion.finish_reason))
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn includes_usage(&self) -> bool {
        self.include_usage
    }
}
