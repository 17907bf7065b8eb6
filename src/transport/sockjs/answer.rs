//! Answers of SockJS: their headers, caching and CORS (client-protocol.md 3.6). Looks at requests only for their origin.

use axum::{body::Body, response::Response};
use chrono::{Months, Utc};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW,
        CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, ORIGIN,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::page::Iframe;
use crate::transport::Origins;

/// A year.
const MAX_AGE: HeaderValue = HeaderValue::from_static("31536000");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer of this status and type.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, kind);
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A plain text.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response {
    answer(status, PLAIN, text)
}

/// A refusal in a line.
pub(super) fn refusal(status: StatusCode, line: &'static str) -> Response {
    let mut response = plain(status, line);
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// There is no such path, or no such session.
pub(super) fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The method is not one of these.
pub(super) fn not_allowed(methods: &'static str) -> Response {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut response, ALLOW, methods);
    response
}

/// The request was given up while its body was read, so the connection is of no use any more.
pub(super) fn given_up(status: StatusCode, version: http::Version) -> Response {
    let mut response = empty(status);
    if version < http::Version::HTTP_2 {
        set(&mut response, CONNECTION, "close");
    }
    response
}

/// Leads to the same path with its slash.
pub(super) fn moved(path: &str) -> Response {
    let Ok(target) = HeaderValue::try_from(format!("{path}/")) else {
        return not_found();
    };
    let text = format!("<a href=\"{path}/\">Moved Permanently</a>.\n\n");
    let kind = "text/html; charset=utf-8";
    let mut response = answer(StatusCode::MOVED_PERMANENTLY, kind, text);
    response.headers_mut().insert(LOCATION, target);
    response
}

/// The page that clients load into a frame, or nothing when they have it.
pub(super) fn iframe(page: &Iframe, request: &HeaderMap) -> Response {
    let known = request.get(IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == page.etag.as_bytes()) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let kind = "text/html; charset=UTF-8";
        let mut response = answer(StatusCode::OK, kind, page.html.clone());
        if let Ok(etag) = HeaderValue::from_str(&page.etag) {
            response.headers_mut().insert(ETAG, etag);
        }
        response
    };
    cache(&mut response);
    response
}

/// What a browser asks before it asks.
pub(super) fn preflight(methods: &'static str, cors: HeaderMap) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    cache(&mut response);
    set(&mut response, ACCESS_CONTROL_ALLOW_METHODS, methods);
    response.headers_mut().extend(cors);
    response
}

/// Anything about a session is new each time.
pub(super) fn fresh(mut response: Response, cors: HeaderMap) -> Response {
    set(
        &mut response,
        CACHE_CONTROL,
        "no-store, no-cache, must-revalidate, max-age=0",
    );
    response.headers_mut().extend(cors);
    response
}

/// CORS headers: those of all transports, but everybody is told about when nobody in particular asks.
pub(super) fn cors(origins: &Origins, request: &HeaderMap) -> HeaderMap {
    let mut headers = origins.cors(request);
    let named = request.get(ORIGIN).is_some_and(|origin| !origin.is_empty());
    if !named {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    }
    headers
}

/// May be kept for a year.
fn cache(response: &mut Response) {
    set(response, CACHE_CONTROL, "public, max-age=31536000");
    let year = Utc::now().checked_add_months(Months::new(12));
    let until = year.map(|at| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(until) = until.and_then(|until| HeaderValue::try_from(until).ok()) {
        headers.insert(EXPIRES, until);
    }
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}
