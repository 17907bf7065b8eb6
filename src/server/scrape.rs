//! The metrics endpoint (metrics.md 1): the format that the scraper asks for, compressed when it takes that.

use std::io::Write as _;

use axum::{Router, body::Body, extract::Request, response::Response};
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use prometheus::Registry;

use crate::exposition::Format;

/// Answers with all metrics of a registry, to any method.
pub fn router(registry: Registry) -> Router {
    let scrape = move |request: Request| {
        let registry = registry.clone();
        async move { answer(&registry, request.headers()) }
    };
    Router::new().fallback(scrape)
}

fn answer(registry: &Registry, headers: &HeaderMap) -> Response {
    let format = Format::wanted(values(headers, &ACCEPT));
    let gzip = accepts_gzip(values(headers, &ACCEPT_ENCODING));
    let written = format.write(&registry.gather());
    let written = written.map_err(|error| error.to_string());
    let body = written.and_then(|body| match gzip {
        true => compressed(&body).map_err(|error| error.to_string()),
        false => Ok(body),
    });
    let mut response = match body {
        Ok(body) => Response::new(Body::from(body)),
        Err(error) => {
            tracing::error!(error, "metrics cannot be written");
            let mut failure = Response::new(Body::empty());
            *failure.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return failure;
        }
    };
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(format.content_type());
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(name).into_iter();
    all.filter_map(|value| value.to_str().ok())
}

fn accepts_gzip<'a>(mut values: impl Iterator<Item = &'a str>) -> bool {
    values.any(|value| {
        value.split(',').any(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let refused = weight.trim().strip_prefix("q=").map(str::parse) == Some(Ok(0.0_f32));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
    })
}

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_where_it_is_taken() {
        for (value, expected) in [
            ("", false),
            ("br, deflate", false),
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
        ] {
            assert_eq!(accepts_gzip([value].into_iter()), expected, "{value}");
        }
    }
}
