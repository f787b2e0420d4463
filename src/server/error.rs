//! [`ApiError`]: what a client is told when a request fails, in OpenAI's shape.

use crate::{Error, cache::CacheError, sampler::SamplingError, tokenizer::TokenizerError};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use std::fmt::Display;

/// Seconds after which a client may try again what was refused for lack of room.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request failed.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    /// Whether the same request may succeed a little later.
    passes: bool,
    /// Whether the rest of the connection is not worth reading.
    closes: bool,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Display) -> Self {
        let message = message.to_string();
        Self { status, kind, code: None, param: None, message, passes: false, closes: false }
    }

    /// The request cannot be done, whenever it comes.
    pub fn invalid(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// The parameter `param` is not acceptable.
    pub fn param(param: &str, message: impl Display) -> Self {
        Self { param: Some(param.into()), ..Self::invalid(message) }
    }

    /// The prompt, or what is to follow it, does not fit into the context.
    pub fn too_long(param: &str, message: impl Display) -> Self {
        Self { code: Some("context_length_exceeded"), ..Self::param(param, message) }
    }

    /// A parameter of OpenAI's that this server does not have.
    pub fn unsupported(param: &str, message: impl Display) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::param(param, message) }
    }

    /// The request's head is not acceptable.
    pub fn refused(status: StatusCode, message: impl Display) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    /// No key, or a wrong one.
    pub fn unauthorized() -> Self {
        let message =
            "no valid API key: send the header `Authorization: Bearer KEY` with a key of this server";
        let error = Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message);
        Self { code: Some("invalid_api_key"), ..error }
    }

    /// From a page or under a name that is not allowed.
    pub fn forbidden(message: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// No such thing.
    pub fn not_found(code: &'static str, message: impl Display) -> Self {
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { code: Some(code), ..error }
    }

    /// The server cannot do it now.
    pub fn unavailable(code: &'static str, message: impl Display) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message);
        Self { code: Some(code), passes: true, ..error }
    }

    /// The answer took too long.
    pub fn timeout(message: impl Display) -> Self {
        let error = Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", message);
        Self { code: Some("timeout"), ..error }
    }

    /// The server's own fault.
    pub fn internal(message: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The connection ends with this answer: the rest of the request is not read.
    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The same error of a request for chat, where the prompt has another name.
    pub fn in_chat(self) -> Self {
        let param = self.param.map(|param| if param == "prompt" { "messages".into() } else { param });
        Self { param, ..self }
    }

    /// Names the parameter.
    pub fn about(self, param: &str) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The error as the body of an answer, or as the last event of a stream.
    pub fn to_json(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Tokenizer(TokenizerError::TooMany { n_max, n_tokens, n_bytes }) => {
                let message = format_args!(
                    "this model's maximum context length is {n_max} tokens; the first {n_bytes} bytes of the prompt have \
                     {n_tokens}"
                );
                Self::too_long("prompt", message)
            }
            Error::PromptTooLong { .. } | Error::Cache(CacheError::ContextFull { .. }) => {
                Self::too_long("prompt", &error)
            }
            Error::TooManyTokens { .. } => Self::too_long("max_tokens", &error),
            Error::Cache(CacheError::TokenOutOfRange { .. })
            | Error::EmptyPrompt
            | Error::Tokenizer(_)
            | Error::NoTokenizer => Self::param("prompt", &error),
            Error::Sampling(SamplingError::Parameter { name, .. }) => Self::param(parameter(name), &error),
            Error::Sampling(SamplingError::AllBanned { .. }) => Self::param("logit_bias", &error),
            Error::QueueFull { n, limit, .. } if n > limit => Self::param("n", &error),
            Error::QueueFull { .. } => Self::unavailable("queue_full", &error),
            Error::Closed => Self::unavailable("shutting_down", "the server is shutting down").closing(),
            Error::Cache(CacheError::Full { .. }) => Self::unavailable("out_of_memory", &error),
            error if error.is_out_of_memory() => Self::unavailable("out_of_memory", error),
            error if error.is_fatal() => Self { code: Some("device_lost"), ..Self::internal(error) },
            _ => Self::internal(&error),
        }
    }
}

/// The field of a request behind a name in a sampling error.
fn parameter(name: &'static str) -> &'static str {
    if name.ends_with("of logit_bias") { "logit_bias" } else { name }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let body = Body::from(self.to_json().to_string());
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.passes {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
