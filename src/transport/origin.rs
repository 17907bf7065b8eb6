//! Origins: which pages may open connections, and the CORS headers they get (client-protocol.md 3.1, server-api.md 15.1).
//!
//! Answers questions only; refusing a request is up to the transport.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
    },
};

/// A pattern of allowed origins that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("malformed origin pattern {pattern:?}")]
pub struct InvalidOrigin {
    pattern: String,
    #[source]
    source: globset::Error,
}

/// The allowed origins.
#[derive(Clone, Debug)]
pub struct Origins {
    patterns: Vec<String>,
    allowed: GlobSet,
    any: bool,
}

impl Origins {
    /// Compiles the patterns; a single `*` allows all.
    ///
    /// # Errors
    /// When a pattern does not compile.
    pub fn new(patterns: &[String]) -> Result<Self, InvalidOrigin> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(&pattern.to_lowercase())
                .literal_separator(false)
                .backslash_escape(true)
                .build();
            set.add(glob.map_err(|source| InvalidOrigin {
                pattern: pattern.clone(),
                source,
            })?);
        }
        let allowed = set.build().map_err(|source| InvalidOrigin {
            pattern: patterns.join(" "),
            source,
        })?;
        Ok(Self {
            any: patterns == ["*"],
            patterns: patterns.to_vec(),
            allowed,
        })
    }

    /// True when every origin passes, which the operator is told once.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.any
    }

    /// The patterns as configured, for the log line of a refusal.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// May a request with these headers come from where it comes from? Without `Origin` always.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(ORIGIN).map_or(&b""[..], HeaderValue::as_bytes);
        if origin.is_empty() || self.any {
            return true;
        }
        std::str::from_utf8(origin).is_ok_and(|origin| self.allowed.is_match(origin.to_lowercase()))
    }

    /// Headers to add to an answer of an HTTP based transport; none when the origin is refused.
    #[must_use]
    pub fn cors(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.allow(request) {
            return headers;
        }
        let origin = request.get(ORIGIN).cloned();
        headers.insert(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            origin.unwrap_or_else(|| HeaderValue::from_static("")),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(patterns: &[&str]) -> Origins {
        Origins::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn from(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())])
    }

    #[test]
    fn patterns_are_compared_as_recorded() {
        let origins = origins(&["https://*.example.com", "http://localhost:3000"]);
        for (origin, passes) in [
            ("https://a.example.com", true),
            ("HTTPS://A.EXAMPLE.COM", true),
            ("https://a.example.com:8443", false),
            ("https://a.b.example.com", true),
            ("https://example.com", false),
            ("http://a.example.com", false),
            ("http://localhost:3000", true),
            ("http://localhost:3001", false),
            ("null", false),
            ("%zz", false),
            ("", true),
        ] {
            assert_eq!(origins.allow(&from(origin)), passes, "{origin}");
        }
        assert!(origins.allow(&HeaderMap::new()));
    }

    #[test]
    fn empty_refuses_all_and_star_allows_all() {
        assert!(!origins(&[]).allow(&from("http://127.0.0.1")));
        assert!(!origins(&[]).allow(&from("null")));
        assert!(origins(&[]).allow(&HeaderMap::new()));
        assert!(origins(&["*"]).allow(&from("null")));
        assert!(origins(&["*"]).any());
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = Origins::new(&["https://[".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "malformed origin pattern \"https://[\"");
    }

    #[test]
    fn cors_headers_mirror_the_request() {
        let origins = origins(&["http://app.example.com"]);
        let mut request = from("http://app.example.com");
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("x-a"),
        );
        let answer = origins.cors(&request);
        assert_eq!(
            answer[ACCESS_CONTROL_ALLOW_ORIGIN],
            "http://app.example.com"
        );
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "x-a");
        assert_eq!(
            origins.cors(&HeaderMap::new())[ACCESS_CONTROL_ALLOW_ORIGIN],
            ""
        );
        assert!(origins.cors(&from("http://evil.example.org")).is_empty());
    }
}
