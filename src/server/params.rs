//! What completions and chat have in common in a request: how tokens are chosen, when a text ends, how the answer comes.
//!
//! Everything is checked here, before anything is allocated in proportion to it.

use super::{
    error::ApiError,
    json::{Fields, shown, whole, wrong},
    model::Model,
};
use crate::{
    engine::{Completion, GenerateParams},
    sampler::SamplingParams,
};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};

/// Most answers to one prompt.
const N_MAX: i128 = 16;
/// Most texts of one request: prompts times answers.
const TEXTS_MAX: usize = 64;
/// Most stop strings.
const STOP_MAX: usize = 16;
/// Most bytes of a stop string or a banned word.
const STRING_LEN_MAX: usize = 1024;
/// Most stop tokens.
const STOP_TOKENS_MAX: usize = 64;
/// Most biased tokens.
const LOGIT_BIAS_MAX: usize = 1024;
/// Most banned words.
const BAD_WORDS_MAX: usize = 64;

/// How the answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// As server-sent events.
    pub stream: bool,
    /// The stream ends with the number of tokens.
    pub include_usage: bool,
    /// Answers to each prompt.
    pub n: usize,
    /// A stop string that ended a text is shown.
    pub include_stop: bool,
}

impl Delivery {
    /// What a text ends with beside its own.
    pub fn tail<'a>(&self, completion: &'a Completion) -> &'a str {
        completion.stop.as_deref().filter(|_| self.include_stop).unwrap_or_default()
    }
}

/// How tokens are chosen, and when a text ends. `max_tokens` is the most that are generated, none for as many as the context holds.
pub fn generate_params(
    fields: &Fields,
    model: &Model,
    max_tokens: Option<usize>,
) -> Result<GenerateParams, ApiError> {
    let min_tokens = fields.integer("min_tokens", 0..=model.n_ctx() as i128)?.unwrap_or(0) as usize;
    if let Some(max) = max_tokens.filter(|&max| max < min_tokens) {
        let message = format_args!("min_tokens is {min_tokens}, expected at most max_tokens, {max}");
        return Err(ApiError::param("min_tokens", message));
    }
    Ok(GenerateParams {
        sampling: sampling(fields, model)?,
        max_tokens,
        min_tokens,
        stop: stop(fields)?,
        stop_token_ids: stop_token_ids(fields, model)?,
        ignore_eos: fields.flag("ignore_eos")?.unwrap_or(false),
        banned: strings("bad_words", fields.list("bad_words")?.unwrap_or_default(), BAD_WORDS_MAX)?,
        ..GenerateParams::default()
    })
}

/// The most tokens to generate under the first of `names` that is there: -1, llama.cpp's, is as many as the context holds.
pub fn max_tokens(fields: &Fields, names: &[&str]) -> Result<Option<Option<usize>>, ApiError> {
    let mut found = None;
    for &name in names {
        let low = if name == "n_predict" { -1 } else { 0 };
        // What the context leaves of it is checked with the prompt's length.
        let n = fields.integer(name, low..=u32::MAX.into())?;
        found = found.or(n.map(|n| usize::try_from(n).ok()));
    }
    Ok(found)
}

/// How many tokens of a prompt are kept, from its end, for an answer of at most `max_tokens`: none where it may not be cut.
pub fn prompt_limit(
    fields: &Fields,
    model: &Model,
    max_tokens: Option<usize>,
) -> Result<Option<usize>, ApiError> {
    let n_ctx = model.n_ctx();
    let limit = fields.integer("truncate_prompt_tokens", -1..=n_ctx as i128)?;
    match limit {
        Some(0) => {
            Err(ApiError::param("truncate_prompt_tokens", "truncate_prompt_tokens is 0, expected -1 or more"))
        }
        // As many as leave room for the answer.
        Some(-1) => Ok(Some(n_ctx.saturating_sub(max_tokens.unwrap_or(1)).max(1))),
        limit => Ok(limit.map(|n| n as usize)),
    }
}

/// The last tokens of a prompt, where it may be cut.
pub fn cut(mut ids: Vec<u32>, limit: Option<usize>) -> Vec<u32> {
    ids.drain(..ids.len().saturating_sub(limit.unwrap_or(usize::MAX)));
    ids
}

/// How the answer comes, for a request of `n_prompts` prompts.
pub fn delivery(fields: &Fields, n_prompts: usize) -> Result<Delivery, ApiError> {
    let n = fields.integer("n", 1..=N_MAX)?.unwrap_or(1) as usize;
    let is_n = |value: &Value| whole(value) == Some(n as i128);
    fields.refuse("best_of", is_n, "expected as much as n")?;
    if n_prompts * n > TEXTS_MAX {
        let message =
            format_args!("{n_prompts} prompts with n {n}: expected at most {TEXTS_MAX} texts in all");
        return Err(ApiError::param(if n_prompts > TEXTS_MAX { "prompt" } else { "n" }, message));
    }
    let stream = fields.flag("stream")?.unwrap_or(false);
    let include_usage = match fields.object("stream_options")? {
        None => false,
        Some(_) if !stream => return Err(ApiError::param("stream_options", "stream_options needs stream")),
        Some(options) => match options.get("include_usage") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(value) => return Err(wrong("stream_options.include_usage", value, "true or false")),
        },
    };
    let include_stop = fields.flag("include_stop_str_in_output")?.unwrap_or(false);
    Ok(Delivery { stream, include_usage, n, include_stop })
}

fn sampling(fields: &Fields, model: &Model) -> Result<SamplingParams, ApiError> {
    let from_to = |name: &str, default: f32, low: f64, high: f64| {
        let expected = format!("between {low} and {high}");
        let number = fields.number(name, &expected, |x| (low..=high).contains(&x))?;
        Ok::<f32, ApiError>(number.unwrap_or(default))
    };
    let count = |name: &str, default: usize, low: i128, high: i128| {
        let number = fields.integer(name, low..=high)?;
        Ok::<usize, ApiError>(number.map_or(default, |n| n.max(0) as usize))
    };
    let default = model.sampling();
    let typical_p = fields.number("typical_p", "above 0, at most 1", |x| x > 0.0 && x <= 1.0)?;
    let seed = fields.integer("seed", i64::MIN.into()..=u64::MAX.into())?;
    Ok(SamplingParams {
        temperature: from_to("temperature", default.temperature, 0.0, 2.0)?,
        // vLLM's -1 is off, as 0 is.
        top_k: count("top_k", default.top_k, -1, u32::MAX.into())?,
        // The most likely token is always kept.
        top_p: from_to("top_p", default.top_p, 0.0, 1.0)?.max(f32::MIN_POSITIVE),
        min_p: from_to("min_p", default.min_p, 0.0, 1.0)?,
        typical_p: typical_p.unwrap_or(default.typical_p),
        repetition_penalty: repetition_penalty(fields, default.repetition_penalty)?,
        presence_penalty: from_to("presence_penalty", default.presence_penalty, -2.0, 2.0)?,
        frequency_penalty: from_to("frequency_penalty", default.frequency_penalty, -2.0, 2.0)?,
        no_repeat_ngram_size: count(
            "no_repeat_ngram_size",
            default.no_repeat_ngram_size,
            0,
            model.n_ctx() as i128,
        )?,
        logit_bias: logit_bias(fields, model)?,
        // Any number names a sequence of its own.
        seed: seed.map_or_else(random_seed, |seed| seed as u64),
        ..SamplingParams::default()
    })
}

/// Under vLLM's name or llama.cpp's, whose window over the last tokens is the whole text here.
fn repetition_penalty(fields: &Fields, default: f32) -> Result<f32, ApiError> {
    let number = |name: &str| fields.number(name, "above 0", |x| x > 0.0);
    let (first, second) = (number("repetition_penalty")?, number("repeat_penalty")?);
    let penalty = first.or(second).unwrap_or(default);
    fields.refuse(
        "repeat_last_n",
        |n| penalty == 1.0 || whole(n) == Some(-1),
        "only -1, the whole text, is",
    )?;
    Ok(penalty)
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
    let list = match fields.get("stop")? {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(value) => vec![value],
    };
    strings("stop", list, STOP_MAX)
}

/// At most `n_max` strings, none of them empty or long.
fn strings(name: &str, list: Vec<Value>, n_max: usize) -> Result<Vec<String>, ApiError> {
    if list.len() > n_max {
        let message = format_args!("{name} has {} strings, expected at most {n_max}", list.len());
        return Err(ApiError::param(name, message));
    }
    let string = |value| match value {
        Value::String(text) if !text.is_empty() && text.len() <= STRING_LEN_MAX => Ok(text),
        value => Err(wrong(name, &value, format_args!("strings of 1 to {STRING_LEN_MAX} bytes"))),
    };
    list.into_iter().map(string).collect()
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
    let id = whole(value).and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < n_vocab);
    id.ok_or_else(|| {
        let is_number = whole(value).is_some();
        let (what, last) = (shown(value), n_vocab - 1);
        let message = match is_number {
            true => format!("token id {what} out of range 0..={last}"),
            false => format!("{name} must hold token ids, whole numbers between 0 and {last}, not {what}"),
        };
        ApiError::param(name, message)
    })
}
