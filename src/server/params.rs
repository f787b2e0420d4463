//! What completions and chat have in common in a request: how tokens are chosen, when a text ends, how the answer comes.
//!
//! Everything is checked here, before anything is allocated in proportion to it.

use super::{
    error::ApiError,
    json::{Fields, shown, wrong},
    model::Model,
};
use crate::{engine::GenerateParams, sampler::SamplingParams};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};

/// Most answers to one prompt.
pub const N_MAX: u64 = 16;
/// Most texts of one request: prompts times answers.
pub const TEXTS_MAX: usize = 64;
/// Most stop strings, and bytes in one.
pub const STOP_MAX: usize = 4;
/// Most bytes of a stop string.
pub const STOP_LEN_MAX: usize = 1024;
/// Most stop tokens.
pub const STOP_TOKENS_MAX: usize = 64;
/// Most biased tokens.
pub const LOGIT_BIAS_MAX: usize = 1024;

/// How the answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// As server-sent events.
    pub stream: bool,
    /// The stream ends with the number of tokens.
    pub include_usage: bool,
    /// Answers to each prompt.
    pub n: usize,
}

/// How tokens are chosen, and when a text ends.
pub fn generate_params(fields: &Fields, model: &Model) -> Result<GenerateParams, ApiError> {
    Ok(GenerateParams {
        sampling: sampling(fields, model)?,
        min_tokens: fields.integer("min_tokens", 0..=model.n_ctx() as u64)?.unwrap_or(0) as usize,
        stop: stop(fields)?,
        stop_token_ids: stop_token_ids(fields, model)?,
        ignore_eos: fields.flag("ignore_eos")?,
        ..GenerateParams::default()
    })
}

/// How the answer comes, for a request of `n_prompts` prompts.
pub fn delivery(fields: &Fields, n_prompts: usize) -> Result<Delivery, ApiError> {
    let n = fields.integer("n", 1..=N_MAX)?.unwrap_or(1) as usize;
    let is_n = |value: &Value| value.as_u64() == Some(n as u64);
    fields.refuse("best_of", is_n, "expected as much as n")?;
    if n_prompts * n > TEXTS_MAX {
        let message =
            format_args!("{n_prompts} prompts with n {n}: expected at most {TEXTS_MAX} texts in all");
        return Err(ApiError::param(if n_prompts > TEXTS_MAX { "prompt" } else { "n" }, message));
    }
    let stream = fields.flag("stream")?;
    let include_usage = match fields.object("stream_options")? {
        None => false,
        Some(_) if !stream => return Err(ApiError::param("stream_options", "stream_options needs stream")),
        Some(options) => match options.get("include_usage") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(value) => return Err(wrong("stream_options.include_usage", value, "true or false")),
        },
    };
    Ok(Delivery { stream, include_usage, n })
}

fn sampling(fields: &Fields, model: &Model) -> Result<SamplingParams, ApiError> {
    let number = |name: &str, default: f32, expected: &str, accepts: &dyn Fn(f64) -> bool| {
        Ok::<f32, ApiError>(fields.number(name, expected, accepts)?.unwrap_or(default))
    };
    let from_to = |name: &str, default: f32, low: f64, high: f64| {
        number(name, default, &format!("between {low} and {high}"), &|x| (low..=high).contains(&x))
    };
    Ok(SamplingParams {
        temperature: from_to("temperature", 1.0, 0.0, 2.0)?,
        top_k: fields.integer("top_k", 0..=u32::MAX.into())?.unwrap_or(0) as usize,
        top_p: number("top_p", 1.0, "above 0, at most 1", &|x| x > 0.0 && x <= 1.0)?,
        min_p: from_to("min_p", 0.0, 0.0, 1.0)?,
        repetition_penalty: number("repetition_penalty", 1.0, "above 0", &|x| x > 0.0)?,
        presence_penalty: from_to("presence_penalty", 0.0, -2.0, 2.0)?,
        frequency_penalty: from_to("frequency_penalty", 0.0, -2.0, 2.0)?,
        logit_bias: logit_bias(fields, model)?,
        seed: fields.integer("seed", 0..=u64::MAX)?.unwrap_or_else(random_seed),
        ..SamplingParams::default()
    })
}

/// A seed for who gave none.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

fn logit_bias(fields: &Fields, model: &Model) -> Result<Vec<(u32, f32)>, ApiError> {
    let Some(map) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    if map.len() > LOGIT_BIAS_MAX {
        let message = format_args!("logit_bias has {} tokens, expected at most {LOGIT_BIAS_MAX}", map.len());
        return Err(ApiError::param("logit_bias", message));
    }
    let bias = |(id, value): (&String, &Value)| {
        let Some(id) = id.parse().ok().filter(|&id: &u32| (id as usize) < model.n_choices()) else {
            let (id, last) = (shown(&json!(id)), model.n_choices() - 1);
            let message = format_args!("logit_bias: token id {id} out of range 0..={last}");
            return Err(ApiError::param("logit_bias", message));
        };
        match value.as_f64().filter(|x| (-100.0..=100.0).contains(x)) {
            Some(bias) => Ok((id, bias as f32)),
            None => Err(wrong("logit_bias", value, "numbers between -100 and 100")),
        }
    };
    map.iter().map(bias).collect()
}

fn stop(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let single;
    let list: &[Value] = match fields.get("stop") {
        None => &[],
        Some(Value::Array(list)) => list,
        Some(value) => {
            single = [value.clone()];
            &single
        }
    };
    if list.len() > STOP_MAX {
        let message = format_args!("stop has {} strings, expected at most {STOP_MAX}", list.len());
        return Err(ApiError::param("stop", message));
    }
    let string = |value: &Value| match value {
        Value::String(text) if !text.is_empty() && text.len() <= STOP_LEN_MAX => Ok(text.clone()),
        _ => Err(wrong("stop", value, format_args!("strings of 1 to {STOP_LEN_MAX} bytes"))),
    };
    list.iter().map(string).collect()
}

fn stop_token_ids(fields: &Fields, model: &Model) -> Result<Vec<u32>, ApiError> {
    let list = fields.list("stop_token_ids")?.unwrap_or_default();
    if list.len() > STOP_TOKENS_MAX {
        let message =
            format_args!("stop_token_ids has {} ids, expected at most {STOP_TOKENS_MAX}", list.len());
        return Err(ApiError::param("stop_token_ids", message));
    }
    list.iter().map(|value| token_id("stop_token_ids", value, model.n_choices())).collect()
}

/// A token id below `n_vocab`.
pub fn token_id(name: &str, value: &Value, n_vocab: usize) -> Result<u32, ApiError> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < n_vocab);
    id.ok_or_else(|| {
        let is_number = value.is_i64() || value.is_u64();
        let (what, last) = (shown(value), n_vocab - 1);
        let message = match is_number {
            true => format!("token id {what} out of range 0..={last}"),
            false => format!("{name} must hold token ids, whole numbers between 0 and {last}, not {what}"),
        };
        ApiError::param(name, message)
    })
}
