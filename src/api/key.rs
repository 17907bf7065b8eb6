//! Who may call the server API: API keys over HTTP and gRPC (server-api.md 2). Never logs or shows a key.

use axum::http::HeaderMap;
use subtle::ConstantTimeEq as _;

use crate::model::Secret;

/// Name of the header and of the query parameter that carry the key.
const HEADER: &str = "x-api-key";
const PARAMETER: &str = "api_key";

/// Whether an HTTP request carries the key (server-api.md 2.1, steps 3 to 5). The key is not empty.
pub(super) fn http(key: &Secret, headers: &HeaderMap, query: Option<&str>) -> bool {
    let given = |name| headers.get(name).filter(|value| !value.is_empty());
    let by_header = if let Some(value) = given(HEADER) {
        equal(value.as_bytes(), key)
    } else if let Some(value) = given("authorization") {
        by_authorization(value.as_bytes(), key)
    } else {
        false
    };
    by_header || query.is_some_and(|query| by_query(query, key))
}

/// Whether metadata carry the key: the first `authorization` is exactly `apikey`, a blank and the key (2.2).
pub(super) fn grpc(key: &Secret, metadata: &HeaderMap) -> bool {
    metadata
        .get("authorization")
        .and_then(|value| value.as_bytes().strip_prefix(b"apikey "))
        .is_some_and(|value| equal(value, key))
}

fn by_authorization(value: &[u8], key: &Secret) -> bool {
    let mut parts = value
        .split(u8::is_ascii_whitespace)
        .filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(word), Some(value), None) => {
            word.eq_ignore_ascii_case(b"apikey") && equal(value, key)
        }
        _ => false,
    }
}

/// The first parameter of that name counts; a malformed one is none.
fn by_query(query: &str, key: &Secret) -> bool {
    query
        .split('&')
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(name)?, unescape(value)?))
        })
        .find(|(name, _)| name == PARAMETER.as_bytes())
        .is_some_and(|(_, value)| equal(&value, key))
}

/// Undoes the encoding of URL forms; `None` when an escape is malformed.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

/// Takes the same time wherever the difference is.
fn equal(given: &[u8], key: &Secret) -> bool {
    given.ct_eq(key.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    /// Headers, query, and whether they are accepted.
    type Case<'a> = (&'a [(&'static str, &'static str)], Option<&'a str>, bool);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn http_keys_by_row() {
        let key = Secret::from("golden key/1");
        let cases: &[Case<'_>] = &[
            (&[], None, false),
            (&[("x-api-key", "golden key/1")], None, true),
            (&[("x-api-key", "golden key")], None, false),
            (&[("x-api-key", "golden key/12")], None, false),
            (&[("x-api-key", "Golden key/1")], None, false),
            (&[], Some("api_key=golden+key%2F1"), true),
            (&[], Some("a=b&api_key=golden%20key/1&c"), true),
            (&[], Some("%61pi_key=golden+key/1"), true),
            (&[], Some("api_key=no&api_key=golden+key/1"), false),
            (&[], Some("API_KEY=golden+key/1"), false),
            (&[], Some("api_key=golden+key%2"), false),
            (&[], Some("api_key"), false),
            (&[], Some(""), false),
            (&[("x-api-key", "no")], Some("api_key=golden+key/1"), true),
        ];
        for (pairs, query, expected) in cases {
            assert_eq!(
                http(&key, &headers(pairs), *query),
                *expected,
                "{pairs:?} {query:?}"
            );
        }
    }

    #[test]
    fn authorization_has_two_parts_and_yields_to_the_key_header() {
        let key = Secret::from("k");
        let cases: &[Case<'_>] = &[
            (&[("authorization", "apikey k")], None, true),
            (&[("authorization", "  ApiKey \t k ")], None, true),
            (&[("authorization", "apikey k more")], None, false),
            (&[("authorization", "Bearer k")], None, false),
            (&[("authorization", "k")], None, false),
            (&[("authorization", "apikey K")], None, false),
            (
                &[("x-api-key", "no"), ("authorization", "apikey k")],
                None,
                false,
            ),
            (
                &[("x-api-key", ""), ("authorization", "apikey k")],
                None,
                true,
            ),
            (&[("authorization", "apikey no")], Some("api_key=k"), true),
        ];
        for (pairs, query, expected) in cases {
            assert_eq!(
                http(&key, &headers(pairs), *query),
                *expected,
                "{pairs:?} {query:?}"
            );
        }
    }

    #[test]
    fn grpc_keys_are_exact() {
        let key = Secret::from("k");
        for (value, expected) in [
            ("apikey k", true),
            ("Apikey k", false),
            ("apikey  k", false),
            ("apikey k ", false),
            ("apikey", false),
            ("k", false),
        ] {
            assert_eq!(
                grpc(&key, &headers(&[("authorization", value)])),
                expected,
                "{value}"
            );
        }
        assert!(!grpc(&key, &headers(&[("x-api-key", "k")])));
        let two = headers(&[
            ("authorization", "apikey no"),
            ("authorization", "apikey k"),
        ]);
        assert!(!grpc(&key, &two), "the first value counts");
    }
}
