//! Bodies: a request's is read within limits of size and time, an answer's is JSON.

use super::{App, error::ApiError};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes};
use serde_json::Value;

/// A body of so many bytes is tokenized within a millisecond or two.
const SMALL_LEN: usize = 4 << 10;

/// Reads the body of `request`, which must say that it is JSON.
pub async fn read(app: &App, request: Request) -> Result<Bytes, ApiError> {
    check_head(request.headers())?;
    let limit = app.limits.body_len;
    let too_large = || {
        let message = format_args!("the body is larger than {limit} bytes");
        ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, message).closing()
    };
    let body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let time_limit = app.limits.body_time;
    match tokio::time::timeout(time_limit, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::refused(StatusCode::BAD_REQUEST, "the body could not be read").closing()),
        Err(_) => {
            let message = format_args!("the body took longer than {} s", time_limit.as_secs_f64());
            Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, message).closing())
        }
    }
}

fn check_head(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |message: &str| ApiError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).closing();
    let is_json = |value: &HeaderValue| {
        let name = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return Err(refuse("the body must have the header `Content-Type: application/json`"));
    }
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(refuse("a compressed body is not accepted: leave Content-Encoding out"));
    }
    Ok(())
}

/// Parses a body and what is in it: where that may take long, away from the threads that serve connections. Small bodies do not
/// wait behind large ones.
pub async fn parse<T: Send + 'static>(
    body: Bytes,
    call: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if body.len() <= SMALL_LEN {
        return call(&body);
    }
    let lost = |_| ApiError::internal("the request could not be handled");
    tokio::task::spawn_blocking(move || call(&body)).await.map_err(lost)?
}

/// An answer of status 200.
pub fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
