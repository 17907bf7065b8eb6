//! Requests that a page makes a browser send without asking the server first (a form, `no-cors`): nothing but the key keeps those
//! from calling the API, so where no key is asked for, they are refused.

use axum::http::{
    HeaderMap, HeaderValue, Uri,
    header::{CONTENT_TYPE, HOST, ORIGIN},
};

/// Kinds of content that need no preflight (Fetch standard, "CORS-safelisted request-header").
const SIMPLE: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// True for a request of another origin's page that the browser sent without a preflight. Backends name no origin.
pub(super) fn is_forged(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && is_simple(headers) && !is_own(headers)
}

fn is_simple(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    SIMPLE
        .iter()
        .any(|simple| simple.eq_ignore_ascii_case(kind))
}

/// The page comes from the very address that is asked.
fn is_own(headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let origin = origin.and_then(|origin| Uri::try_from(origin).ok());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => origin.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_row() {
        const OWN: (&str, &str) = ("origin", "http://api.example.com:8000");
        const EVIL: (&str, &str) = ("origin", "https://evil.example.org");
        const FORM: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
        const JSON: (&str, &str) = ("content-type", "application/json");
        let cases: [(&[(&'static str, &'static str)], bool); 8] = [
            (&[], false),
            (&[FORM], false),
            (&[EVIL], true),
            (&[EVIL, FORM], true),
            (&[EVIL, JSON], false),
            (&[("origin", "null"), FORM], true),
            (&[OWN, FORM], false),
            (&[("origin", "http://api.example.com"), FORM], true),
        ];
        for (pairs, forged) in cases {
            let host = [("host", "api.example.com:8000")];
            let headers = pairs.iter().chain(&host).map(|(name, value)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            assert_eq!(is_forged(&headers.collect()), forged, "{pairs:?}");
        }
    }
}
