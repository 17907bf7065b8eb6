//! The server API over HTTP (server-api.md 2.1, 3, 6): exact paths below a prefix, JSON in, JSON out.
//!
//! Every request takes the same road: method, key, body, decode, run, encode. Which listener serves the router, its
//! time limits, access log and 404 page are the server's business.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderValue, Method as Verb, Response, StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    routing::any,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};

use super::{
    Api, ERROR_MODE, ErrorMode, Failure, Via,
    batch::{Batch, BatchResponse},
    forged::is_forged,
    json, key,
    legacy::{Refusal, Reply},
    method::{Answer, Call, Method},
    metrics,
};
use crate::model::Secret;

/// Options `http_api.*` (config.md 8.13).
#[derive(Clone, Debug, Deserialize)]
pub struct HttpConfig {
    /// No HTTP API at all; whoever mounts the router looks at it.
    pub disabled: bool,
    /// Path prefix; trailing slashes do not count.
    pub handler_prefix: String,
    /// API key; without one every request is refused.
    pub key: Secret,
    /// How errors are told.
    pub error_mode: ErrorMode,
    /// Serve on the external listener; whoever mounts the router looks at it.
    pub external: bool,
    /// No key check; forms of other origins' pages are refused (403).
    pub insecure: bool,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Single(Method),
    Batch,
    Legacy,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Single(method) => method.name(),
            Self::Batch => metrics::BATCH,
            Self::Legacy => "legacy",
        }
    }
}

#[derive(Debug)]
struct Http {
    api: Api,
    key: Secret,
    insecure: bool,
    error_mode: ErrorMode,
}

/// The prefix without trailing slashes; empty for the root.
fn prefix(config: &HttpConfig) -> String {
    let path = config.handler_prefix.trim_matches('/');
    if path.is_empty() {
        return String::new();
    }
    format!("/{path}")
}

/// All paths the router serves, the legacy endpoint (the bare prefix) first.
///
/// With the root as prefix the legacy endpoint also takes every path that no other handler has.
#[must_use]
pub fn paths(config: &HttpConfig) -> Vec<String> {
    endpoints(config)
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

fn endpoints(config: &HttpConfig) -> Vec<(String, Endpoint)> {
    let prefix = prefix(config);
    let legacy = if prefix.is_empty() { "/" } else { &prefix };
    let mut all = vec![
        (legacy.to_owned(), Endpoint::Legacy),
        (format!("{prefix}/batch"), Endpoint::Batch),
    ];
    all.extend(Method::ALL.iter().map(|method| {
        let path = format!("{prefix}/{}", method.name());
        (path, Endpoint::Single(*method))
    }));
    all
}

/// The routes of the API, to be merged into the router of a listener.
pub fn router(api: Api, config: &HttpConfig) -> Router {
    let http = Arc::new(Http {
        api,
        key: config.key.clone(),
        insecure: config.insecure,
        error_mode: config.error_mode,
    });
    let serve = |endpoint| {
        let http = Arc::clone(&http);
        any(move |request: Request| async move { http.serve(endpoint, request).await })
    };
    // A configured prefix is text, not a pattern.
    let mut router = Router::new().without_v07_checks();
    for (path, endpoint) in endpoints(config) {
        let literal = path.replace('{', "{{").replace('}', "}}");
        router = router.route(&literal, serve(endpoint));
    }
    if prefix(config).is_empty() {
        router = router.route("/{*rest}", serve(Endpoint::Legacy));
    }
    router
}

impl Http {
    async fn serve(&self, endpoint: Endpoint, request: Request) -> Response<Body> {
        if request.method() != Verb::POST {
            return bare(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !self.allowed(&request) {
            return bare(StatusCode::UNAUTHORIZED);
        }
        if self.insecure && is_forged(request.headers()) {
            tracing::warn!(
                path = request.uri().path(),
                "API call of a foreign page refused"
            );
            return bare(StatusCode::FORBIDDEN);
        }
        let (parts, body) = request.into_parts();
        let asked = parts.headers.get(ERROR_MODE).map(HeaderValue::as_bytes);
        let mode = self.error_mode.or_asked(asked);
        let path = parts.uri.path();
        let body = match read(&self.api, body).await {
            Ok(body) => body,
            Err(status) => {
                if status.is_server_error() {
                    self.failed(endpoint, "read_body");
                }
                return text(status);
            }
        };
        match endpoint {
            Endpoint::Single(method) => self.single(method, mode, path, &body).await,
            Endpoint::Batch => self.batch(path, &body).await,
            Endpoint::Legacy => legacy(&self.api, &body).await,
        }
    }

    fn allowed(&self, request: &Request) -> bool {
        if self.insecure {
            return true;
        }
        if self.key.is_empty() {
            tracing::error!("API key is empty");
            return false;
        }
        key::http(&self.key, request.headers(), request.uri().query())
    }

    async fn single(
        &self,
        method: Method,
        mode: ErrorMode,
        path: &str,
        body: &[u8],
    ) -> Response<Body> {
        let endpoint = Endpoint::Single(method);
        let answer = match Call::from_json(method, body) {
            Ok(call) => self.api.call(Via::Http, call).await,
            Err(error) => return self.undecodable(endpoint, path, &error),
        };
        self.api.note_failure(&answer);
        match answer {
            Err(error) if mode == ErrorMode::Transport => {
                self.respond(endpoint, error.http_status(), &Failure::from(error))
            }
            answer => self.envelope(endpoint, &answer),
        }
    }

    fn envelope(&self, endpoint: Endpoint, answer: &Answer) -> Response<Body> {
        self.respond(endpoint, StatusCode::OK, &Reply::new(0, answer))
    }

    async fn batch(&self, path: &str, body: &[u8]) -> Response<Body> {
        let batch: Batch = match json::decode(body) {
            Ok(batch) => batch,
            Err(error) => return self.undecodable(Endpoint::Batch, path, &error),
        };
        let answers = self.api.batch(Via::Http, batch).await;
        let response = BatchResponse::from(answers.as_slice());
        self.respond(Endpoint::Batch, StatusCode::OK, &response)
    }

    fn undecodable(&self, endpoint: Endpoint, path: &str, error: &json::Error) -> Response<Body> {
        tracing::error!(%error, path, "error decoding API request body");
        self.failed(endpoint, "unmarshal");
        text(StatusCode::BAD_REQUEST)
    }

    fn respond(
        &self,
        endpoint: Endpoint,
        status: StatusCode,
        body: &impl Serialize,
    ) -> Response<Body> {
        match serde_json::to_vec(body) {
            Ok(body) => json(status, body),
            Err(error) => {
                tracing::error!(%error, "error encoding API response");
                self.failed(endpoint, "marshal");
                text(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn failed(&self, endpoint: Endpoint, error: &str) {
        if !matches!(endpoint, Endpoint::Legacy) {
            let metrics = &self.api.shared.metrics;
            metrics.failed(Via::Http, endpoint.name(), error);
        }
    }
}

/// The whole body, or the status that refuses it. A declared length is compared before anything is read.
pub(super) async fn read(api: &Api, body: Body) -> Result<Bytes, StatusCode> {
    use http_body::Body as _;
    let limit = match api.shared.config.max_request_body_size {
        0 => usize::MAX,
        limit => limit,
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => {
            let body = collected.to_bytes();
            if !body.is_empty() {
                let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
                api.note(|span| span.set("http.request.body.size", size));
            }
            Ok(body)
        }
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => {
            tracing::error!(%error, "error reading API request body");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Runs the commands of a body in the legacy format.
pub(super) async fn legacy(api: &Api, body: &[u8]) -> Response<Body> {
    if api.shared.stopping.is_cancelled() {
        return bare(StatusCode::SERVICE_UNAVAILABLE);
    }
    match api.legacy(body).await {
        Ok(replies) => json(StatusCode::OK, replies),
        Err(Refusal::Undecodable(error)) => {
            tracing::error!(%error, "error decoding API data");
            text(StatusCode::BAD_REQUEST)
        }
        Err(error @ Refusal::Unwritable) => {
            tracing::error!(%error, "error encoding API response");
            text(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    respond(status, Some("application/json"), body)
}

/// The reason phrase and a newline.
pub(super) fn text(status: StatusCode) -> Response<Body> {
    let body = format!("{}\n", status.canonical_reason().unwrap_or_default());
    let mut response = respond(status, Some("text/plain; charset=utf-8"), body.into_bytes());
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// No body, no content type.
pub(super) fn bare(status: StatusCode) -> Response<Body> {
    respond(status, None, Vec::new())
}

fn respond(
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Vec<u8>,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

#[cfg(test)]
mod tests;
