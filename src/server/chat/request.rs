//! A request for chat, checked.

use super::super::{
    completions::request::refuse_formats,
    error::ApiError,
    json::{Fields, shown, wrong},
    model::Model,
    params::{self, Delivery},
    template::{Template, TemplateError},
};
use crate::{
    engine::{GenerateParams, Prompt},
    scheduler::Request,
};
use serde_json::{Value, json};

/// Most messages of a conversation.
const MESSAGES_MAX: usize = 512;
/// Most tokens whose log-probabilities are reported at each position.
const TOP_LOGPROBS_MAX: u64 = 20;

/// A request for chat.
pub struct ChatRequest {
    /// Its answers.
    pub texts: Vec<Request>,
    /// How they come.
    pub delivery: Delivery,
    /// The model's name, as the client wrote it.
    pub model: Option<String>,
    /// Whether log-probabilities are reported.
    pub logprobs: bool,
}

impl ChatRequest {
    /// Parses and checks a body, for `model` and whoever `tenant` is.
    pub fn parse(body: &[u8], model: &Model, tenant: u64) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        refuse_unsupported(&fields)?;
        let messages = messages(&fields)?;
        let delivery = params::delivery(&fields, 1)?;
        let template = model.template.as_ref().ok_or_else(no_template)?;
        let params = generate_params(&fields, model, template)?;
        let ids = template.encode(&messages, model.tokenizer()?).map_err(|error| match error {
            TemplateError::Tokenizer(error) => crate::Error::from(error).into(),
            error => ApiError::param("messages", error),
        })?;
        let text = |choice: u32| {
            let mut params = params.clone();
            params.sampling.choice = choice;
            Request { prompt: Prompt::Ids(ids.clone()), params, tenant }
        };
        let texts = (0..delivery.n as u32).map(text).collect();
        let model = fields.text("model")?.map(str::to_string);
        Ok(Self { texts, delivery, model, logprobs: params.logprobs.is_some() })
    }
}

fn no_template() -> ApiError {
    let message = "the model has no chat template, so nobody knows how it was taught to read a conversation: \
                   use /v1/completions, or start the server with --chat-template";
    ApiError::invalid(message)
}

fn generate_params(fields: &Fields, model: &Model, template: &Template) -> Result<GenerateParams, ApiError> {
    let mut params = params::generate_params(fields, model)?;
    let max = |name: &str| fields.integer(name, 0..=u32::MAX.into());
    // The older name counts where the newer one is not there.
    let max_tokens = max("max_completion_tokens")?.or(max("max_tokens")?);
    params.max_tokens = max_tokens.map(|n| n as usize);
    let top = fields.integer("top_logprobs", 0..=TOP_LOGPROBS_MAX)?;
    params.logprobs = match (fields.flag("logprobs")?, top) {
        (true, top) => Some(top.unwrap_or(0) as usize),
        (false, None | Some(0)) => None,
        (false, Some(_)) => {
            return Err(ApiError::param("top_logprobs", "top_logprobs needs logprobs to be true"));
        }
    };
    if !params.ignore_eos {
        let eos = template.eos_token().and_then(|piece| model.tokenizer().ok()?.id_of(piece));
        params.stop_token_ids.extend(eos);
    }
    Ok(params)
}

fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let is_none = |value: &Value| value == "none" || value == "auto";
    let no_tools = "the model was not taught to call any";
    fields.refuse("tools", is_empty, no_tools)?;
    fields.refuse("functions", is_empty, no_tools)?;
    fields.refuse("tool_choice", is_none, no_tools)?;
    fields.refuse("function_call", is_none, no_tools)?;
    fields.refuse("audio", |_| false, "answers are text")?;
    fields.refuse("modalities", |value| *value == json!(["text"]), "answers are text")?;
    fields.refuse("prediction", |_| false, "there is no use for it")?;
    refuse_formats(fields)
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
    Ok(json!({"role": role, "content": content}))
}

fn part(value: &Value) -> Result<&str, ApiError> {
    match (&value["type"], &value["text"]) {
        (Value::String(kind), Value::String(text)) if kind == "text" => Ok(text),
        _ => Err(ApiError::unsupported("messages", "parts of messages that are not text are not supported")),
    }
}
