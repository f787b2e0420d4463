//! `POST /v1/chat/completions`.

mod request;

use super::{
    answer::Part,
    body::Work,
    completions::logprobs::token_entry,
    error::ApiError,
    generate::{Asked, Endpoint},
    json::Fields,
    model::Model,
    params::Delivery,
    stream::Shape,
};
use crate::{
    engine::{Completion, FinishReason},
    sampler::TokenLogprobs,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Requests for chat.
pub struct Chat;

impl Endpoint for Chat {
    type Shape = ChatShape;
    /// A template is a program, which may take its time.
    const SMALL_LEN: usize = 0;

    fn parse(
        fields: &Fields,
        model: &Arc<Model>,
        tenant: u64,
        work: &Work,
    ) -> Result<Asked<ChatShape>, ApiError> {
        request::parse(fields, model, tenant, work)
    }

    fn name_error(error: ApiError) -> ApiError {
        error.in_chat()
    }
}

/// How chat looks.
pub struct ChatShape {
    model: Arc<Model>,
    delivery: Delivery,
    logprobs: bool,
    /// What each answer begins with.
    echo: String,
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
    const ID: &str = "chatcmpl";
    const OBJECTS: [&str; 2] = ["chat.completion", "chat.completion.chunk"];

    fn first(&mut self) -> Vec<Value> {
        let role = |index| choice(index, json!({"role": "assistant", "content": self.echo}), None, None);
        (0..self.delivery.n).map(role).collect()
    }

    fn chunk(&mut self, index: usize, part: Part) -> Option<Value> {
        Some(match part {
            Part::Step(step) if self.logprobs => {
                let entry = step.token_id.and_then(|id| self.entry(id, step.logprobs.as_ref()));
                let logprobs = content(entry.into_iter().collect());
                choice(index, json!({"content": step.text}), Some(logprobs), None)
            }
            Part::Step(step) if step.text.is_empty() => return None,
            Part::Step(step) => choice(index, json!({"content": step.text}), None, None),
            Part::Done(completion) => {
                let tail = self.delivery.tail(&completion);
                let delta = if tail.is_empty() { json!({}) } else { json!({"content": tail}) };
                choice(index, delta, None, Some(completion.finish_reason))
            }
        })
    }

    fn whole(&self, index: usize, completion: &Completion) -> Value {
        let tokens = completion.token_ids.iter().copied().zip(&completion.logprobs);
        let entries = tokens.filter_map(|(id, logprobs)| self.entry(id, logprobs.as_ref())).collect();
        let text = format!("{}{}{}", self.echo, completion.text, self.delivery.tail(completion));
        json!({
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": self.logprobs.then(|| content(entries)),
            "finish_reason": completion.finish_reason.as_str(),
        })
    }
}
