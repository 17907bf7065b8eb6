//! Origins and methods of the HTTP endpoints of clients (client-protocol.md 3.1, server-api.md 15.1), and what keeps a foreign
//! page from acting for its visitor.
//!
//! A foreign origin is served, only without the headers that would let its page read the answer: that is what CORS is for. But
//! some requests browsers send for any page without asking (forms, images, `no-cors`), with the visitor's cookies, and what
//! they ask for has happened when nobody may read the answer. Those are refused.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, ORIGIN},
};

use super::request::empty;
use crate::transport::{Origins, drained};

/// Kinds of content that a form sends, and any script without asking (Fetch standard, "CORS-safelisted request-header").
const FORMS: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What an endpoint lets through.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Rules {
    pub(in crate::transport) origins: Arc<Origins>,
    /// Methods that the handler sees.
    pub(in crate::transport) methods: &'static [Method],
    /// Answers preflights, that is OPTIONS requests.
    pub(in crate::transport) preflight: bool,
}

/// Puts the rules in front of a handler.
pub(in crate::transport) fn guard(handler: Router, rules: Rules) -> Router {
    handler.layer(from_fn_with_state(Arc::new(rules), check))
}

async fn check(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response {
    if is_forged(&request, &rules.origins) {
        let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
        let origin = origin.map(String::from_utf8_lossy);
        tracing::info!(
            origin = origin.as_deref(),
            "request of a foreign page refused"
        );
        return refused(request, StatusCode::FORBIDDEN).await;
    }
    let cors = rules.origins.cors(request.headers());
    let mut response = if rules.methods.contains(request.method()) {
        next.run(request).await
    } else if rules.preflight && request.method() == Method::OPTIONS {
        preflight()
    } else {
        refused(request, StatusCode::METHOD_NOT_ALLOWED).await
    };
    response.headers_mut().extend(cors);
    response
}

/// Answers a request whose body nobody wants.
async fn refused(request: Request, status: StatusCode) -> Response {
    let is_head = request.method() == Method::HEAD;
    if request.version() == http::Version::HTTP_2 {
        drained(request.into_body()).await;
    }
    let mut response = empty(status);
    if is_head {
        // Nothing is said of the length of a body that is not there.
        let nothing = futures_util::stream::empty::<Result<Bytes, Infallible>>();
        *response.body_mut() = Body::from_stream(nothing);
    }
    response
}

fn preflight() -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("POST, OPTIONS");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
    response
}

/// A request that a browser sends for the page of another site without asking this server first.
fn is_forged(request: &Request, origins: &Origins) -> bool {
    let headers = request.headers();
    let allowed = origins.allow(headers);
    if request.method() == Method::POST && !allowed && is_form(headers) {
        return true;
    }
    let is = |name: &HeaderName, values: [&str; 2]| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.is_some_and(|value| values.iter().any(|known| known.as_bytes() == value))
    };
    // Newer browsers say so themselves, also where they leave the origin out.
    let blind = is(&SITE, ["cross-site", "same-site"]) && is(&MODE, ["navigate", "no-cors"]);
    blind && !(allowed && headers.contains_key(ORIGIN))
}

/// A script sends bytes without a kind as readily as a form does with one; programs that are no browsers do so, too.
fn is_form(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return headers.contains_key(SITE);
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind))
}
