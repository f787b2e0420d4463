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
use logprobs::{TokenLists, Walk};
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
    /// How far each text was walked over.
    walks: Vec<Walk>,
    delivery: Delivery,
    logprobs: bool,
}

fn choice(index: usize, text: &str, logprobs: Option<Value>, reason: Option<FinishReason>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason.map(FinishReason::as_str)})
}

impl Shape for CompletionShape {
    const ID: &str = "cmpl";
    const OBJECTS: [&str; 2] = ["text_completion"; 2];

    fn chunk(&mut self, index: usize, part: Part) -> Option<Value> {
        Some(match part {
            Part::Step(step) if self.logprobs || self.walks[index].told().is_some() => {
                let (mut lists, mut text) = (TokenLists::default(), step.text);
                if let Some(id) = step.token_id {
                    let place = self.walks[index].next(&self.model, id, step.is_prompt);
                    text = place.told.clone().unwrap_or(text);
                    lists.push(&self.model, id, step.logprobs.as_ref(), place);
                }
                choice(index, &text, self.logprobs.then(|| lists.into_json()), None)
            }
            Part::Step(step) if step.text.is_empty() => return None,
            Part::Step(step) => choice(index, &step.text, None, None),
            Part::Done(completion) => {
                choice(index, self.delivery.tail(&completion), None, Some(completion.finish_reason))
            }
        })
    }

    fn whole(&self, index: usize, completion: &Completion) -> Value {
        let (mut lists, mut walk) = (TokenLists::default(), self.walks[index].clone());
        let n_prompt = completion.token_ids.len() - completion.stats.n_generated;
        let mut text = String::new();
        if self.logprobs {
            for (i, (&id, logprobs)) in completion.token_ids.iter().zip(&completion.logprobs).enumerate() {
                let place = walk.next(&self.model, id, i < n_prompt);
                lists.push(&self.model, id, logprobs.as_ref(), place);
            }
        }
        let mut rest = completion.text.as_str();
        if let Some(told) = walk.told() {
            let ids = &completion.token_ids[..n_prompt];
            let spelled = self.model.tokenizer().ok().and_then(|t| t.decode(ids).ok()).unwrap_or_default();
            rest = rest.strip_prefix(spelled.as_str()).unwrap_or(rest);
            text += told;
        }
        let text = text + rest + self.delivery.tail(completion);
        choice(index, &text, self.logprobs.then(|| lists.into_json()), Some(completion.finish_reason))
    }
}
