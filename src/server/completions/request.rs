//! A request for completions, checked.

use super::{
    super::{
        body::Work,
        error::ApiError,
        generate::{Asked, choices},
        json::{Fields, wrong},
        model::Model,
        params::{self, token_id},
    },
    CompletionShape,
    logprobs::{Told, Walk},
};
use crate::engine::{GenerateParams, Prompt};
use serde_json::Value;
use std::sync::Arc;

/// Tokens that are generated where the request does not say how many, as OpenAI has it.
const MAX_TOKENS_DEFAULT: usize = 16;
/// Most tokens whose log-probabilities are reported at each position.
const LOGPROBS_MAX: i128 = 5;

/// Parses and checks a request, for `model` and whoever `tenant` is. The texts are the answers to the first prompt, then those to
/// the second.
pub fn parse(
    fields: &Fields,
    model: &Arc<Model>,
    tenant: u64,
    work: &Work,
) -> Result<Asked<CompletionShape>, ApiError> {
    let prompts = Prompts::of(fields)?;
    let delivery = params::delivery(fields, prompts.len())?;
    let params = generate_params(fields, model)?;
    let limit = params::prompt_limit(fields, model, params.max_tokens)?;
    // A prompt that may be cut is read to its end.
    let n_max = if limit.is_some() { usize::MAX } else { model.n_ctx() };
    let (mut texts, mut walks) = (Vec::new(), Vec::new());
    for prompt in prompts.read(model)? {
        work.check()?;
        if let Prompt::Text(text) = &prompt {
            model.check_len(text.len())?;
        }
        let echoed = echoed(&prompt, model, params.echo);
        let ids = work.watch(n_max, |watch| model.scheduler.engine().prompt_ids_watched(prompt, watch))?;
        let ids = params::cut(ids, limit);
        let told = echoed.map(|text| told(text, model, ids.len(), work)).transpose()?.map(Arc::new);
        let walk = Walk::new(model, &ids, params.echo, told);
        walks.extend(std::iter::repeat_n(walk, delivery.n));
        texts.extend(choices(&ids, &params, delivery.n, tenant));
    }
    let shape =
        CompletionShape { model: model.clone(), walks, delivery, logprobs: params.logprobs.is_some() };
    Ok(Asked { texts, delivery, shape })
}

/// A prompt that is to be echoed, where its tokens would not give it back.
fn echoed(prompt: &Prompt, model: &Model, echo: bool) -> Option<String> {
    match (prompt, model.tokenizer()) {
        (Prompt::Text(text), Ok(tokenizer)) if echo && !text.is_empty() && !tokenizer.is_byte_level() => {
            Some(text.clone())
        }
        _ => None,
    }
}

fn told(text: String, model: &Model, n_tokens: usize, work: &Work) -> Result<Told, ApiError> {
    let tokenizer = model.tokenizer()?;
    let ends = work.watch(usize::MAX, |watch| Ok(tokenizer.ends(&text, watch)?))?;
    Ok(Told::new(text, ends, n_tokens))
}

fn generate_params(fields: &Fields, model: &Model) -> Result<GenerateParams, ApiError> {
    let max_tokens = params::max_tokens(fields, &["max_tokens", "n_predict"])?;
    let params = params::generate_params(fields, model, max_tokens.unwrap_or(Some(MAX_TOKENS_DEFAULT)))?;
    Ok(GenerateParams {
        logprobs: fields.integer("logprobs", 0..=LOGPROBS_MAX)?.map(|n| n as usize),
        echo: fields.flag("echo")?.unwrap_or(false),
        ..params
    })
}

/// The prompts of a request, of which the number is known and nothing else.
enum Prompts {
    Text(String),
    Ids(Vec<Value>),
    Texts(Vec<Value>),
    Lists(Vec<Value>),
}

impl Prompts {
    fn of(fields: &Fields) -> Result<Self, ApiError> {
        match fields.get("prompt")? {
            // Both start a text of the model's own.
            None => Ok(Self::Text(String::new())),
            Some(Value::String(text)) => Ok(Self::Text(text)),
            Some(Value::Array(list)) => match list.first() {
                None => Err(ApiError::param("prompt", "prompt is an empty list")),
                Some(Value::String(_)) => Ok(Self::Texts(list)),
                Some(Value::Array(_)) => Ok(Self::Lists(list)),
                Some(_) => Ok(Self::Ids(list)),
            },
            Some(value) => Err(wrong("prompt", &value, "a string, a list of token ids, or a list of those")),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(_) | Self::Ids(_) => 1,
            Self::Texts(list) | Self::Lists(list) => list.len(),
        }
    }

    fn read(self, model: &Model) -> Result<Vec<Prompt>, ApiError> {
        let text = |item| match item {
            Value::String(text) => Ok(Prompt::Text(text)),
            value => Err(wrong("prompt", &value, "a list of strings, like its first entry")),
        };
        let one_list = |item| match item {
            Value::Array(list) => ids(&list, model),
            value => Err(wrong("prompt", &value, "a list of lists of token ids, like its first entry")),
        };
        match self {
            Self::Text(text) => Ok(vec![Prompt::Text(text)]),
            Self::Ids(list) => Ok(vec![ids(&list, model)?]),
            Self::Texts(list) => list.into_iter().map(text).collect(),
            Self::Lists(list) => list.into_iter().map(one_list).collect(),
        }
    }
}

fn ids(list: &[Value], model: &Model) -> Result<Prompt, ApiError> {
    if list.is_empty() {
        return Err(ApiError::param("prompt", "prompt has an empty list of token ids"));
    }
    let ids = list.iter().map(|value| token_id("prompt", value, model.n_choices()));
    Ok(Prompt::Ids(ids.collect::<Result<_, _>>()?))
}
