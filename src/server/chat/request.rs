//! A request for chat, checked.

use super::{
    super::{
        body::Work,
        error::ApiError,
        generate::{Asked, choices},
        json::{Fields, shown, wrong},
        model::Model,
        params,
    },
    ChatShape,
};
use crate::{
    chat::{Ending, Template, TemplateError},
    engine::GenerateParams,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most messages of a conversation.
const MESSAGES_MAX: usize = 512;
/// Most tokens whose log-probabilities are reported at each position.
const TOP_LOGPROBS_MAX: i128 = 20;

/// Parses and checks a request, for `model` and whoever `tenant` is.
pub fn parse(
    fields: &Fields,
    model: &Arc<Model>,
    tenant: u64,
    work: &Work,
) -> Result<Asked<ChatShape>, ApiError> {
    let messages = messages(fields)?;
    let delivery = params::delivery(fields, 1)?;
    let template = model.template()?;
    let params = generate_params(fields, model, template)?;
    let limit = params::prompt_limit(fields, model, params.max_tokens)?;
    work.check()?;
    let (ending, tokenizer, n_bytes_max) = (ending(fields)?, model.tokenizer()?, model.n_bytes_max());
    // A prompt that may be cut is read to its end.
    let n_max = if limit.is_some() { usize::MAX } else { model.n_ctx() };
    let ids = work.watch(n_max, |watch| {
        Ok(template.encode_watched(&messages, ending, tokenizer, n_bytes_max, watch))
    })?;
    let ids = ids.map_err(|error| match error {
        // What stopped it says more.
        TemplateError::Tokenizer(error) => {
            work.check().err().unwrap_or_else(|| crate::Error::from(error).into())
        }
        TemplateError::TooLong { n_bytes } => model.too_long(n_bytes),
        error => ApiError::param("messages", error),
    })?;
    let shape = ChatShape {
        model: model.clone(),
        delivery,
        logprobs: params.logprobs.is_some(),
        echo: echo(fields, &messages)?,
    };
    let ids = params::cut(ids, limit);
    Ok(Asked { texts: choices(&ids, &params, delivery.n, tenant).collect(), delivery, shape })
}

/// Where the prompt ends: where an answer begins, unless the request says otherwise.
fn ending(fields: &Fields) -> Result<Ending, ApiError> {
    match (fields.flag("add_generation_prompt")?, fields.flag("continue_final_message")?) {
        (Some(true), Some(true)) => Err(ApiError::param(
            "continue_final_message",
            "continue_final_message and add_generation_prompt cannot both be true",
        )),
        (_, Some(true)) => Ok(Ending::InLastMessage),
        (Some(false), _) => Ok(Ending::AfterLastMessage),
        _ => Ok(Ending::BeforeAnswer),
    }
}

/// What an answer begins with: the last message, where it is the assistant's and is to be repeated.
fn echo(fields: &Fields, messages: &[Value]) -> Result<String, ApiError> {
    let last = messages.last().filter(|last| last["role"] == "assistant");
    let content = last.and_then(|last| last["content"].as_str()).unwrap_or_default();
    Ok(if fields.flag("echo")? == Some(true) { content.into() } else { String::new() })
}

fn generate_params(fields: &Fields, model: &Model, template: &Template) -> Result<GenerateParams, ApiError> {
    let max_tokens = params::max_tokens(fields, &["max_completion_tokens", "max_tokens", "n_predict"])?;
    let mut params = params::generate_params(fields, model, max_tokens.flatten())?;
    let top = fields.integer("top_logprobs", 0..=TOP_LOGPROBS_MAX)?;
    params.logprobs = match (fields.flag("logprobs")?.unwrap_or(false), top) {
        (true, top) => Some(top.unwrap_or(0) as usize),
        (false, None | Some(0)) => None,
        (false, Some(_)) => {
            return Err(ApiError::param("top_logprobs", "top_logprobs needs logprobs to be true"));
        }
    };
    if !params.ignore_eos {
        params.stop_token_ids.extend(template.eos_token_id(model.tokenizer()?));
    }
    Ok(params)
}

/// The conversation, each message with its `role` and its `content` as one text.
fn messages(fields: &Fields) -> Result<Vec<Value>, ApiError> {
    let list = fields.list("messages")?.unwrap_or_default();
    if list.is_empty() || list.len() > MESSAGES_MAX {
        let message = format_args!("messages has {} entries, expected 1 to {MESSAGES_MAX}", list.len());
        return Err(ApiError::param("messages", message));
    }
    list.iter().map(message).collect()
}

fn message(value: &Value) -> Result<Value, ApiError> {
    let (Some(fields), Value::String(role)) = (value.as_object(), &value["role"]) else {
        return Err(wrong("messages", value, "a list of objects with role and content"));
    };
    if !["system", "developer", "user", "assistant"].contains(&role.as_str()) {
        let expected = "system, developer, user or assistant";
        return Err(wrong("messages[].role", &value["role"], expected).about("messages"));
    }
    let content = match fields.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<_, _>>()?,
        other => {
            let found = other.map_or("nothing".into(), shown);
            let text =
                format_args!("messages[].content must be a string or a list of text parts, not {found}");
            return Err(ApiError::param("messages", text));
        }
    };
    let is_nothing = |value: &Value| value.is_null() || *value == json!([]);
    for name in ["tool_calls", "function_call", "audio"] {
        if fields.get(name).is_some_and(|value| !is_nothing(value)) {
            let text = format_args!("messages[].{name} is not supported: a message is text");
            return Err(ApiError::unsupported("messages", text));
        }
    }
    let mut message = json!({"role": role, "content": content});
    // Some templates write who speaks.
    if let Some(name) = fields.get("name").filter(|name| name.is_string()) {
        message["name"] = name.clone();
    }
    Ok(message)
}

fn part(value: &Value) -> Result<&str, ApiError> {
    match (&value["type"], &value["text"]) {
        (Value::String(kind), Value::String(text)) if kind == "text" => Ok(text),
        _ => Err(ApiError::unsupported("messages", "parts of messages that are not text are not supported")),
    }
}
