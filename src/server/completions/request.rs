//! A request for completions, checked.

use super::super::{
    error::ApiError,
    json::{Fields, wrong},
    model::Model,
    params::{self, Delivery, TEXTS_MAX, token_id},
};
use crate::{
    engine::{GenerateParams, Prompt},
    scheduler::Request,
};
use serde_json::Value;

/// Tokens that are generated where the request does not say how many, as OpenAI has it.
const MAX_TOKENS_DEFAULT: usize = 16;
/// Most tokens whose log-probabilities are reported at each position.
const LOGPROBS_MAX: u64 = 5;

/// A request for completions.
pub struct CompletionRequest {
    /// Its texts: the answers to the first prompt, then those to the second.
    pub texts: Vec<Request>,
    /// How they are answered.
    pub delivery: Delivery,
    /// The model's name, as the client wrote it.
    pub model: Option<String>,
    /// Whether log-probabilities are reported.
    pub logprobs: bool,
}

impl CompletionRequest {
    /// Parses and checks a body, for `model` and whoever `tenant` is.
    pub fn parse(body: &[u8], model: &Model, tenant: u64) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        refuse_unsupported(&fields)?;
        let prompts = Prompts::of(&fields)?;
        let delivery = params::delivery(&fields, prompts.len())?;
        let params = generate_params(&fields, model)?;
        let mut texts = Vec::with_capacity(prompts.len() * delivery.n);
        for prompt in prompts.read(model)? {
            let ids = model.scheduler.engine().prompt_ids(prompt)?;
            for choice in 0..delivery.n as u32 {
                let mut params = params.clone();
                params.sampling.choice = choice;
                texts.push(Request { prompt: Prompt::Ids(ids.clone()), params, tenant });
            }
        }
        let model = fields.text("model")?.map(str::to_string);
        Ok(Self { texts, delivery, model, logprobs: params.logprobs.is_some() })
    }
}

fn generate_params(fields: &Fields, model: &Model) -> Result<GenerateParams, ApiError> {
    let mut params = params::generate_params(fields, model)?;
    // What the context leaves of it is checked with the prompt's length.
    let max_tokens = fields.integer("max_tokens", 0..=u32::MAX.into())?;
    params.max_tokens = Some(max_tokens.map_or(MAX_TOKENS_DEFAULT, |n| n as usize));
    params.logprobs = fields.integer("logprobs", 0..=LOGPROBS_MAX)?.map(|n| n as usize);
    params.echo = fields.flag("echo")?;
    Ok(params)
}

fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    fields.refuse("suffix", |v| v.as_str() == Some(""), "texts are continued, not filled in")?;
    fields.refuse("prompt_embeds", |_| false, "give text or token ids")?;
    fields.refuse("prompt_logprobs", |_| false, "use echo with logprobs")?;
    fields.refuse("use_beam_search", |v| v == false, "tokens are sampled one by one")?;
    refuse_formats(fields)
}

/// Fails where the answer is to be of a form that cannot be promised.
pub fn refuse_formats(fields: &Fields) -> Result<(), ApiError> {
    let is_text = |format: &Value| format["type"] == "text";
    fields.refuse("response_format", is_text, "only {\"type\": \"text\"} is")?;
    for name in ["guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"] {
        fields.refuse(name, |_| false, "texts are free")?;
    }
    Ok(())
}

/// The prompts of a request, of which the number is known and nothing else.
enum Prompts<'a> {
    One(Prompt),
    Ids(&'a [Value]),
    Many(&'a [Value]),
}

impl<'a> Prompts<'a> {
    fn of(fields: &'a Fields) -> Result<Self, ApiError> {
        match fields.get("prompt") {
            // Both start a text of the model's own.
            None => Ok(Self::One(Prompt::Text(String::new()))),
            Some(Value::String(text)) => Ok(Self::One(Prompt::Text(text.clone()))),
            Some(Value::Array(list)) => match list.first() {
                None => Err(ApiError::param("prompt", "prompt is an empty list")),
                Some(Value::String(_) | Value::Array(_)) => Ok(Self::Many(list)),
                Some(_) => Ok(Self::Ids(list)),
            },
            Some(value) => Err(wrong("prompt", value, "a string, a list of token ids, or a list of those")),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) | Self::Ids(_) => 1,
            Self::Many(list) => list.len(),
        }
    }

    fn read(self, model: &Model) -> Result<Vec<Prompt>, ApiError> {
        match self {
            Self::One(prompt) => Ok(vec![prompt]),
            Self::Ids(list) => Ok(vec![ids(list, model)?]),
            Self::Many(list) => list.iter().take(TEXTS_MAX).map(|item| one_of_many(item, model)).collect(),
        }
    }
}

fn one_of_many(item: &Value, model: &Model) -> Result<Prompt, ApiError> {
    match item {
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(list) => ids(list, model),
        value => Err(wrong("prompt", value, "strings or lists of token ids")),
    }
}

fn ids(list: &[Value], model: &Model) -> Result<Prompt, ApiError> {
    if list.is_empty() {
        return Err(ApiError::param("prompt", "prompt has an empty list of token ids"));
    }
    let ids = list.iter().map(|value| token_id("prompt", value, model.n_vocab()));
    Ok(Prompt::Ids(ids.collect::<Result<_, _>>()?))
}
