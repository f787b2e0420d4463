//! What the server tells about itself: its models, its health, its metrics; and the tokenizer on its own.

use super::{
    App, body, error::ApiError, json::Fields, metrics, model::Model, params::token_id, record::Record,
};
use axum::{
    Extension,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderValue, Response, header},
};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most bytes that are turned to token ids: each takes some 150 bytes of memory.
const TEXT_LEN_MAX: usize = 256 << 10;
/// Most token ids that are turned to text.
const IDS_MAX: usize = 1 << 17;

/// `GET /health`: the process answers, the model is loaded, the device works.
pub async fn health(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    app.ready_model()?;
    Ok(body::json(&json!({"status": "ok"})))
}

/// `GET /ready`: besides, requests are accepted, and those under way get on.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    app.readiness.note_probe();
    app.ready_model()?;
    if app.readiness.is_leaving() || app.is_closing() {
        return Err(crate::Error::Closed.into());
    }
    if let Some(time) = app.stalled() {
        let message = format_args!("no forward call has ended for {} s", time.as_secs());
        return Err(ApiError::unavailable("stalled", message));
    }
    Ok(body::json(&json!({"status": "ready"})))
}

/// `GET /metrics`.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    let model = app.loaded_model()?;
    let text = app.metrics.text(&model.scheduler.load(), model.scheduler.n_open());
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}

/// `GET /v1/models`.
pub async fn models(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    let list = app.model_names.iter().map(|name| model_entry(&app, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(body::json(&json!({"object": "list", "data": list})))
}

/// `GET /v1/models/NAME`.
pub async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response<Body>, ApiError> {
    let name = app.check_name(Some(&name))?;
    Ok(body::json(&model_entry(&app, &name)?))
}

fn model_entry(app: &App, name: &str) -> Result<Value, ApiError> {
    let model = app.loaded_model()?;
    let config = model.scheduler.engine().config();
    Ok(json!({
        "id": name,
        "object": "model",
        "created": model.created(),
        "owned_by": "halfwarp",
        "max_model_len": config.n_ctx,
        "meta": {
            "n_vocab": config.n_vocab,
            "n_ctx_train": config.n_ctx,
            "n_embd": config.n_embd,
            "n_params": model.size().n_params,
            "size": model.size().n_bytes,
        },
    }))
}

/// The model and the body of a request to its tokenizer.
async fn read(app: &App, record: &Record, request: Request) -> Result<(Arc<Model>, Bytes), ApiError> {
    let model = app.ready_model()?;
    record.set_model(&app.check_name(None)?);
    Ok((model, body::read(app, request).await?))
}

/// `POST /tokenize`: llama.cpp's `content` or vLLM's `prompt`.
pub async fn tokenize(
    State(app): State<Arc<App>>,
    Extension(record): Extension<Record>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (model, body) = read(&app, &record, request).await?;
    let value = body::parse(&app, body, body::SMALL_LEN, move |body, work| {
        let fields = Fields::parse(body)?;
        let (name, text) = match (fields.text("content")?, fields.text("prompt")?) {
            (Some(text), None) => ("content", text),
            (None, Some(text)) => ("prompt", text),
            _ => return Err(ApiError::param("content", "give one of content and prompt, a string")),
        };
        // llama.cpp's names, and vLLM's for the first.
        let adds_special = fields.flag("add_special")?.or(fields.flag("add_special_tokens")?) == Some(true);
        let parses_special = fields.flag("parse_special")? == Some(true);
        if text.len() > TEXT_LEN_MAX {
            let message = format_args!(
                "{name} has {} bytes, expected at most {TEXT_LEN_MAX}: send it in parts",
                text.len()
            );
            return Err(ApiError::param(name, message));
        }
        let tokenizer = model.tokenizer()?;
        let ids = work.watch(usize::MAX, |watch| {
            Ok(match parses_special {
                true => tokenizer.encode_parts(&text, str::to_string, watch)?,
                false => tokenizer.encode_watched(&text, watch)?,
            })
        })?;
        let ids = if adds_special { tokenizer.prompt(ids) } else { ids };
        let mut value = json!({"count": ids.len(), "max_model_len": model.n_ctx()});
        if fields.flag("with_pieces")? == Some(true) {
            let piece =
                |&id: &u32| match tokenizer.token_bytes(id).map(|bytes| (bytes, str::from_utf8(bytes))) {
                    Ok((_, Ok(text))) => json!({"id": id, "piece": text}),
                    Ok((bytes, Err(_))) => json!({"id": id, "piece": bytes}),
                    Err(_) => json!({"id": id, "piece": null}),
                };
            value["tokens"] = ids.iter().map(piece).collect();
        } else {
            value["tokens"] = ids.into();
        }
        Ok(value)
    });
    Ok(body::json(&value.await?))
}

/// `POST /detokenize`.
pub async fn detokenize(
    State(app): State<Arc<App>>,
    Extension(record): Extension<Record>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (model, body) = read(&app, &record, request).await?;
    let value = body::parse(&app, body, body::SMALL_LEN, move |body, _| {
        let fields = Fields::parse(body)?;
        let list = fields.list("tokens")?.ok_or_else(|| ApiError::param("tokens", "tokens is missing"))?;
        if list.len() > IDS_MAX {
            let message = format_args!("tokens has {} ids, expected at most {IDS_MAX}", list.len());
            return Err(ApiError::param("tokens", message));
        }
        let n_choices = model.n_choices();
        let ids = list.iter().map(|value| token_id("tokens", value, n_choices));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let text = model.tokenizer()?.decode(&ids).map_err(crate::Error::from)?;
        // llama.cpp calls it content, vLLM prompt.
        Ok(json!({"content": text, "prompt": text}))
    });
    Ok(body::json(&value.await?))
}
