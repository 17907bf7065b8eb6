//! The W3C trace context in headers and metadata, both ways. Baggage and other forms are not read.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::Span;

/// The headers a context travels in.
pub const FIELDS: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// It has no state, but its making allocates.
static W3C: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Pairs<'a>(&'a [(String, String)]);

impl Extractor for Pairs<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

struct Target<'a>(&'a mut HeaderMap);

impl Injector for Target<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = FIELDS.into_iter().find(|field| field == key);
        if let (Some(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// The context of a request; an empty one, which begins a new trace, when there is none or it is broken.
#[must_use]
pub fn from_headers(headers: &HeaderMap) -> Context {
    W3C.extract_with_context(&Context::new(), &Headers(headers))
}

/// The same from kept headers.
#[must_use]
pub fn from_pairs(headers: &[(String, String)]) -> Context {
    W3C.extract_with_context(&Context::new(), &Pairs(headers))
}

/// Tells whoever is asked about the span that asks.
pub fn into_headers(span: &Span, headers: &mut HeaderMap) {
    // An empty state would be a header without value.
    for field in FIELDS {
        headers.remove(field);
    }
    W3C.inject_context(&span.0, &mut Target(headers));
    let state = &FIELDS[1];
    if headers.get(state).is_some_and(HeaderValue::is_empty) {
        headers.remove(state);
    }
}
