//! `POST /v1/completions`.

pub mod logprobs;
mod request;

use super::{
    answer::Part,
    body::Work,
    error::ApiError,
    generate::{Asked, Endpoint},
    json::Fields,
    model::Model,
    params::Delivery,
    stream::Shape,
};
use crate::engine::{Completion, FinishReason};
use logprobs::TokenLists;
use serde_json::{Value, json};
use std::sync::Arc;

/// Requests for completions.
pub struct Completions;

impl Endpoint for Completions {
    type Shape = CompletionShape;

    fn parse(
        fields: &Fields,
        model: &Arc<Model>,
        tenant: u64,
        work: &Work,
    ) -> Result<Asked<CompletionShape>, ApiError> {
        request::parse(fields, model, tenant, work)
    }
}

/// How completions look.
pub struct CompletionShape {
    model: Arc<Model>,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    delivery: Delivery,
    logprobs: bool,
}

impl CompletionShape {
    fn new(model: Arc<Model>, n_texts: usize, delivery: Delivery, logprobs: bool) -> Self {
        Self { model, offsets: vec![0; n_texts], delivery, logprobs }
    }
}

fn choice(index: usize, text: &str, logprobs: Option<Value>, reason: Option<FinishReason>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason.map(FinishReason::as_str)})
}

impl Shape for CompletionShape {
    const ID: &str = "cmpl";
    const OBJECTS: [&str; 2] = ["text_completion"; 2];

    fn chunk(&mut self, index: usize, part: Part) -> Option<Value> {
        Some(match part {
            Part::Step(step) if self.logprobs => {
                let mut lists = TokenLists::default();
                if let Some(id) = step.token_id {
                    lists.push(&self.model, id, step.logprobs.as_ref(), &mut self.offsets[index]);
                }
                choice(index, &step.text, Some(lists.into_json()), None)
            }
            Part::Step(step) if step.text.is_empty() => return None,
            Part::Step(step) => choice(index, &step.text, None, None),
            Part::Done(completion) => {
                choice(index, self.delivery.tail(&completion), None, Some(completion.finish_reason))
            }
        })
    }

    fn whole(&self, index: usize, completion: &Completion) -> Value {
        let logprobs = self.logprobs.then(|| {
            let (mut lists, mut offset) = (TokenLists::default(), 0);
            for (&id, logprobs) in completion.token_ids.iter().zip(&completion.logprobs) {
                lists.push(&self.model, id, logprobs.as_ref(), &mut offset);
            }
            lists.into_json()
        });
        let text = format!("{}{}", completion.text, self.delivery.tail(completion));
        choice(index, &text, logprobs, Some(completion.finish_reason))
    }
}
