//! Who may ask: checked by the head of a request alone, before any of its body is read.
//!
//! A browser is not to be used against the server by a page of somebody else's: a server on the loopback device answers to its own
//! names only (a page can point its own name there), and a request that says from which page it comes is refused unless that page
//! was allowed. Programs send no such header. Tested in `tests/server/access.rs` and `tests/server/overload.rs`.

use super::{App, connection::Spare, error::ApiError, record::Record, record::RecordedBody};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header},
    middleware::Next,
    response::IntoResponse,
};
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, sync::Arc};
use subtle::{Choice, ConstantTimeEq};

/// Whose request it is: the index of its key.
#[derive(Clone, Copy, Debug)]
pub struct Tenant(pub u64);

/// Texts that a key may have under way and still be let in beyond the limit of connections.
const SPARE_TEXTS_MAX: usize = 4;

/// What stands before a key, in any case.
const BEARER: &[u8] = b"Bearer ";

/// Paths that need no key: they tell whether the server lives, and nothing else.
const OPEN_PATHS: [&str; 2] = ["/health", "/ready"];

/// What a page may read of an answer's head, beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, x-ignored-fields, retry-after");

/// The keys that are accepted, as digests: all of one length, so that comparing them takes one time.
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Accepts `keys`; none means that everybody is let in.
    pub fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| Sha256::digest(key).into()).collect())
    }

    /// Which key the request has. Its time tells nothing about the keys: every digest is compared as a whole.
    pub fn tenant(&self, headers: &HeaderMap) -> Result<Tenant, ApiError> {
        if self.0.is_empty() {
            return Ok(Tenant(0));
        }
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ApiError::unauthorized());
        };
        let (scheme, key) = value.as_bytes().split_at_checked(BEARER.len()).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(BEARER) {
            return Err(ApiError::unauthorized());
        }
        let digest: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        let mut found = Choice::from(0);
        let mut index = 0;
        for (i, expected) in self.0.iter().enumerate() {
            let is_equal = digest.ct_eq(expected);
            index |= i as u64 & u64::from(is_equal.unwrap_u8()).wrapping_neg();
            found |= is_equal;
        }
        if found.into() { Ok(Tenant(index)) } else { Err(ApiError::unauthorized()) }
    }
}

/// The names and pages that are let in.
pub struct Doors {
    /// Names in `Host`; none where any is accepted.
    hosts: Option<Vec<String>>,
    /// Pages in `Origin`.
    origins: Vec<String>,
}

impl Doors {
    /// Those of a server at `address`. Away from the loopback device its names are not known, and it has a key.
    pub fn new(address: SocketAddr, allowed_hosts: &[String], origins: &[String]) -> Self {
        let lowercase = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut hosts: Vec<String> = lowercase(allowed_hosts);
        let is_checked = address.ip().is_loopback() || !hosts.is_empty();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(String::from));
        if !address.ip().is_unspecified() {
            let ip = address.ip();
            hosts.push(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
        }
        Self { hosts: is_checked.then_some(hosts), origins: lowercase(origins) }
    }

    fn check_host(&self, request: &Request) -> Result<(), ApiError> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let mut values = request.headers().get_all(header::HOST).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().unwrap_or_default(),
            // No browser sends such a request.
            (None, _) if request.version() == Version::HTTP_10 => "localhost",
            _ => return Err(ApiError::invalid("the request must have one Host header").closing()),
        };
        let accepts = |host: &str| {
            let host = host.to_ascii_lowercase();
            // Whoever forwards a port may have another one; a final dot is the root of all names.
            let (name, port) = host.rsplit_once(':').unwrap_or((&host, ""));
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            let name = if is_port { name } else { &host };
            hosts.iter().any(|own| own == name.strip_suffix('.').unwrap_or(name) || *own == host)
        };
        let authority = request.uri().authority().is_none_or(|authority| accepts(authority.as_str()));
        if authority && accepts(value) {
            return Ok(());
        }
        let message = "the Host header names another server: allow it with --allowed-host";
        Err(ApiError::forbidden(message).closing())
    }

    /// The page that a browser asks for, where it is an allowed one.
    fn check_origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
        let mut found = None;
        for value in headers.get_all(header::ORIGIN) {
            let origin = value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
            if found.is_some() || !self.origins.contains(&origin) {
                let message = "requests from this page are not allowed: allow its origin with --cors-origin";
                return Err(ApiError::forbidden(message).closing());
            }
            found = Some(value.clone());
        }
        Ok(found)
    }
}

/// Lets a request through to its handler, or answers it; and keeps its record.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response<Body> {
    let record = Record::new(&request);
    let method = request.method().clone();
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    request.extensions_mut().insert(record.clone());
    let origin = app.doors.check_host(&request).and_then(|()| app.doors.check_origin(request.headers()));
    let mut response = match origin {
        Err(error) => error.into_response(),
        Ok(origin) => {
            let mut response = match &origin {
                Some(_) if method == Method::OPTIONS => preflight(request.headers()),
                _ => authenticated(&app, request, &record, next).await,
            };
            if let Some(origin) = origin {
                let headers = response.headers_mut();
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    // Ids of ours are plain ASCII.
    let id = HeaderValue::from_str(record.id()).ok();
    headers.extend(id.map(|id| (header::HeaderName::from_static("x-request-id"), id)));
    let ignored = record.ignored().and_then(|names| HeaderValue::from_str(&names).ok());
    headers.extend(ignored.map(|names| (header::HeaderName::from_static("x-ignored-fields"), names)));
    if is_chunked || app.is_closing() {
        // Whatever else two readers of this request may have seen in it, nothing follows.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    record.set_status(response.status());
    response.map(|body| Body::new(RecordedBody::new(body, record, &method)))
}

async fn authenticated(app: &App, mut request: Request, record: &Record, next: Next) -> Response<Body> {
    let path = request.uri().path();
    if !OPEN_PATHS.contains(&path) {
        let is_probe = path == "/metrics";
        let let_in = app.keys.tenant(request.headers()).and_then(|tenant| {
            if request.extensions().get::<Spare>().is_some() && !is_probe {
                take_spare_place(app, tenant, record)?;
            }
            Ok(tenant)
        });
        match let_in {
            Ok(tenant) => request.extensions_mut().insert(tenant),
            Err(error) => return error.closing().into_response(),
        };
    }
    next.run(request).await
}

/// Lets a request beyond the limit of connections in where its key has little under way: others may have taken all places.
fn take_spare_place(app: &App, Tenant(tenant): Tenant, record: &Record) -> Result<(), ApiError> {
    let n_open = app.loaded_model()?.scheduler.n_open_of(tenant);
    let place = app.spare.clone().try_acquire_owned().ok().filter(|_| n_open < SPARE_TEXTS_MAX);
    let n = app.limits.n_connections;
    let full = || ApiError::unavailable("overloaded", format_args!("all {n} connections are taken"));
    record.hold(place.ok_or_else(full)?);
    Ok(())
}

/// What a page may send: whatever it asks for, since it was allowed. The clients of OpenAI send a dozen headers of their own.
fn preflight(asked: &HeaderMap) -> Response<Body> {
    let default = HeaderValue::from_static("authorization, content-type");
    let allowed = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(default);
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{hint::black_box, time::Instant};

    const KEY: &str = "sk-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    /// Welch's t of how long `refuses` takes for a key that is wrong at its first byte, and for one that is wrong at its last:
    /// 100,000 times each, in random order, without the slowest tenth, which the system made slow.
    fn welch_t(refuses: impl Fn(&str) -> bool) -> f64 {
        let keys = [format!("x{}", &KEY[1..]), format!("{}x", &KEY[..KEY.len() - 1])];
        let (mut random, mut times) = (1_u64, [Vec::new(), Vec::new()]);
        while times.iter().any(|times| times.len() < 100_000) {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let class = (random >> 63) as usize;
            let started = Instant::now();
            assert!(black_box(refuses(black_box(&keys[class]))));
            times[class].push(started.elapsed().as_nanos() as f64);
        }
        let mut all = times.concat();
        all.sort_unstable_by(f64::total_cmp);
        let limit = all[all.len() * 9 / 10];
        let [a, b] = times.map(|times| {
            let kept: Vec<f64> = times.into_iter().filter(|&time| time < limit).collect();
            let n = kept.len() as f64;
            let mean = kept.iter().sum::<f64>() / n;
            (mean, kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
        });
        (a.0 - b.0) / (a.1 + b.1).sqrt()
    }

    /// H06, with a comparison that stops at the first difference as the control. A machine that is busy can make a difference of its
    /// own once, not three times in a row.
    #[test]
    fn h06_the_time_of_a_refusal_tells_nothing_about_the_key() {
        let keys = Keys::new(&["sk-another".into(), KEY.into()]);
        let refuses = |key: &str| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            headers.insert(header::AUTHORIZATION, value.unwrap());
            keys.tenant(&headers).is_err()
        };
        let t: Vec<f64> = (0..3).map(|_| welch_t(refuses)).take_while(|t| t.abs() >= 4.5).collect();
        assert!(t.len() < 3, "{t:?}");
        let stops_early = |key: &str| !key.bytes().zip(KEY.bytes()).all(|(a, b)| black_box(a) == b);
        let t = welch_t(stops_early);
        assert!(t.abs() > 4.5, "the control is not noticed: {t}");
    }

    #[test]
    fn a_key_is_the_tenant_of_its_place() {
        let keys = Keys::new(&["a".into(), "b".into(), "c".into()]);
        for (i, key) in ["a", "b", "c"].into_iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
            assert_eq!(keys.tenant(&headers).unwrap().0, i as u64);
        }
        assert!(Keys::new(&[]).tenant(&HeaderMap::new()).is_ok(), "no key is asked for");
    }
}
