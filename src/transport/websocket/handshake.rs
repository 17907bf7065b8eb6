//! The opening handshake: which requests become WebSockets, in which dialect, and how the others are refused
//! (client-protocol.md 3.2, 1.2). Looks at the head of a request only.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};

use crate::{
    model::{Encoding, Version},
    transport::Origins,
};

const JSON: &str = "centrifuge-json";
const PROTOBUF: &str = "centrifuge-protobuf";
const DEFLATE: &str = "permessage-deflate";

/// What a handshake has settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) key: HeaderValue,
    pub(super) subprotocol: Option<&'static str>,
    pub(super) encoding: Encoding,
    pub(super) version: Option<Version>,
    pub(super) native_ping: bool,
    /// The client offers permessage-deflate, in whatever way.
    pub(super) offers_deflate: bool,
}

impl Accepted {
    /// Clients that only listen speak JSON, and no subprotocol is agreed upon.
    pub(super) fn of_a_listener(self) -> Self {
        Self {
            subprotocol: None,
            encoding: Encoding::Json,
            version: Some(Version::V2),
            ..self
        }
    }
}

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// `cf_protocol_version` names a generation nobody knows.
    UnknownVersion,
    /// The handshake is malformed.
    Malformed(StatusCode, &'static str),
    /// The origin may not connect.
    Origin,
}

impl Refused {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::UnknownVersion => StatusCode::BAD_REQUEST,
            Self::Malformed(status, _) => status,
            Self::Origin => StatusCode::FORBIDDEN,
        }
    }
}

/// Checks a request, in the order a client can observe.
pub(super) fn check(request: &Parts, origins: &Origins) -> Result<Accepted, Refused> {
    let query = request.uri.query().unwrap_or_default();
    let version = match parameter(query, "cf_protocol_version") {
        None | Some("") => None,
        Some("v1") => Some(Version::V1),
        Some("v2") => Some(Version::V2),
        Some(_) => return Err(Refused::UnknownVersion),
    };
    let key = check_headers(request)?;
    if !origins.allow(&request.headers) {
        return Err(Refused::Origin);
    }
    let subprotocol = subprotocol(&request.headers);
    let protobuf = parameter(query, "format") == Some("protobuf")
        || parameter(query, "cf_protocol") == Some("protobuf")
        || subprotocol == Some(PROTOBUF);
    Ok(Accepted {
        key: key.clone(),
        subprotocol,
        encoding: if protobuf {
            Encoding::Protobuf
        } else {
            Encoding::Json
        },
        version,
        native_ping: parameter(query, "cf_ws_frame_ping_pong") == Some("true"),
        offers_deflate: offers_deflate(&request.headers),
    })
}

/// The part of RFC 6455; returns the key.
fn check_headers(request: &Parts) -> Result<&HeaderValue, Refused> {
    let headers = &request.headers;
    let bad = |reason| Err(Refused::Malformed(StatusCode::BAD_REQUEST, reason));
    if !has_token(headers, &CONNECTION, "upgrade") {
        return bad("no upgrade in Connection");
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return bad("no websocket in Upgrade");
    }
    if request.method != Method::GET {
        return Err(Refused::Malformed(
            StatusCode::METHOD_NOT_ALLOWED,
            "not GET",
        ));
    }
    if !has_token(headers, &SEC_WEBSOCKET_VERSION, "13") {
        return bad("not version 13");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
    key.map_or_else(|| bad("not a key of 16 bytes"), Ok)
}

/// The value of the first query parameter of this name. Names and values that matter here need no decoding.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The first subprotocol of the client that the server knows.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offered| [JSON, PROTOBUF].into_iter().find(|known| *known == offered))
}

/// Whether one of the offered extensions is permessage-deflate. Its parameters change nothing: the answer is always the same
/// (client-protocol.md 3.2), and no client needs a smaller window than that of an offer without parameters.
fn offers_deflate(headers: &HeaderMap) -> bool {
    tokens(headers, &SEC_WEBSOCKET_EXTENSIONS)
        .filter_map(|offer| offer.split(';').next())
        .any(|name| name.trim() == DEFLATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn good(extra: &[(&'static str, &'static str)], query: &str) -> Result<Accepted, Refused> {
        let mut headers = vec![
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        headers.extend(extra);
        let parts = request(
            Method::GET,
            &format!("/connection/websocket?{query}"),
            &headers,
        );
        check(
            &parts,
            &Origins::new(&["http://app.example.com".to_owned()]).unwrap(),
        )
    }

    #[test]
    fn checks_come_in_order() {
        let origins = Origins::new(&[]).unwrap();
        let foreign = ("origin", "http://evil.example.org");
        let mut headers = vec![foreign];
        let status = |method: &Method, headers: &[(&'static str, &str)]| {
            check(&request(method.clone(), "/", headers), &origins)
                .unwrap_err()
                .status()
                .as_u16()
        };
        assert_eq!(status(&Method::POST, &headers), 400);
        headers.push(("connection", "upgrade"));
        assert_eq!(status(&Method::POST, &headers), 400);
        headers.push(("upgrade", "h2c, websocket"));
        assert_eq!(status(&Method::POST, &headers), 405);
        assert_eq!(status(&Method::OPTIONS, &headers), 405);
        assert_eq!(status(&Method::GET, &headers), 400);
        headers.push(("sec-websocket-version", "8"));
        assert_eq!(status(&Method::GET, &headers), 400);
        headers.push(("sec-websocket-version", "13"));
        assert_eq!(status(&Method::GET, &headers), 400);
        for key in ["", "YWJj", "!!!"] {
            headers.push(("sec-websocket-key", key));
            assert_eq!(status(&Method::GET, &headers), 400);
            headers.pop();
        }
        headers.push(("sec-websocket-key", KEY));
        assert_eq!(status(&Method::GET, &headers), 403);
        headers.retain(|header| *header != foreign);
        assert!(check(&request(Method::GET, "/", &headers), &origins).is_ok());
    }

    #[test]
    fn unknown_versions_are_refused_before_anything_else() {
        let origins = Origins::new(&[]).unwrap();
        let parts = request(Method::GET, "/?cf_protocol_version=v9", &[]);
        assert_eq!(check(&parts, &origins), Err(Refused::UnknownVersion));
        assert_eq!(
            good(&[], "cf_protocol_version=V2"),
            Err(Refused::UnknownVersion)
        );
        assert_eq!(
            good(&[], "cf_protocol_version=v1").unwrap().version,
            Some(Version::V1)
        );
        assert_eq!(
            good(&[], "cf_protocol_version=v2").unwrap().version,
            Some(Version::V2)
        );
        assert_eq!(good(&[], "cf_protocol_version=").unwrap().version, None);
        assert_eq!(good(&[], "").unwrap().version, None);
    }

    #[test]
    fn encodings_and_subprotocols() {
        use Encoding::{Json, Protobuf};
        for (offered, query, chosen, encoding) in [
            ("centrifuge-json", "", Some(JSON), Json),
            ("centrifuge-protobuf", "", Some(PROTOBUF), Protobuf),
            ("other", "", None, Json),
            (
                "other, centrifuge-protobuf, centrifuge-json",
                "",
                Some(PROTOBUF),
                Protobuf,
            ),
            ("centrifuge-json,centrifuge-protobuf", "", Some(JSON), Json),
            ("Centrifuge-Protobuf", "", None, Json),
            ("", "", None, Json),
            ("centrifuge-json", "format=protobuf", Some(JSON), Protobuf),
            ("", "cf_protocol=protobuf", None, Protobuf),
            ("", "a=b&format=protobuf&format=json", None, Protobuf),
            ("", "format=json&cf_protocol=msgpack", None, Json),
        ] {
            let accepted = good(&[("sec-websocket-protocol", offered)], query).unwrap();
            assert_eq!(
                (accepted.subprotocol, accepted.encoding),
                (chosen, encoding),
                "{offered}"
            );
        }
    }

    #[test]
    fn native_pings_are_asked_for_exactly() {
        for (query, wanted) in [
            ("cf_ws_frame_ping_pong=true", true),
            ("cf_ws_frame_ping_pong=1", false),
            ("cf_ws_frame_ping_pong", false),
            ("", false),
        ] {
            assert_eq!(good(&[], query).unwrap().native_ping, wanted, "{query}");
        }
    }

    #[test]
    fn any_offer_of_deflate_is_one() {
        for (offered, wanted) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("foo, permessage-deflate ;server_max_window_bits=10", true),
            ("permessage-deflate; made_up=1", true),
            ("x-webkit-deflate-frame", false),
            ("permessage-deflated", false),
            ("foo; permessage-deflate", false),
            ("", false),
        ] {
            let accepted = good(&[("sec-websocket-extensions", offered)], "").unwrap();
            assert_eq!(accepted.offers_deflate, wanted, "{offered}");
        }
        assert!(!good(&[], "").unwrap().offers_deflate);
        let second = [
            ("sec-websocket-extensions", "foo"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        assert!(good(&second, "").unwrap().offers_deflate);
    }

    #[test]
    fn origins_pass_in_any_case() {
        assert!(good(&[("origin", "HTTP://APP.EXAMPLE.COM")], "").is_ok());
        assert_eq!(good(&[("origin", "null")], ""), Err(Refused::Origin));
    }
}
