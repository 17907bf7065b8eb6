//! Requests with bounded bodies and parameters, and the answers to those that cannot be read (client-protocol.md 3.1, 6.4).

use std::time::Duration;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header::CONNECTION};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::ext::ReasonPhrase;
use tokio::time::timeout;

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Unreadable {
    /// It is longer than allowed.
    TooLarge,
    /// It ended too early.
    Broken,
    /// It took too long.
    Slow,
}

impl Unreadable {
    /// What the peer is told.
    pub(in crate::transport) fn response(self, version: Version) -> Response {
        match self {
            Self::TooLarge => {
                let mut response = closing(StatusCode::PAYLOAD_TOO_LARGE, version);
                let reason = ReasonPhrase::from_static(b"Request Entity Too Large");
                response.extensions_mut().insert(reason);
                response
            }
            Self::Slow => closing(StatusCode::REQUEST_TIMEOUT, version),
            Self::Broken => cut(),
        }
    }
}

/// The answer to a request of which only a part came.
fn cut() -> Response {
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = empty(status);
    let reason = ReasonPhrase::from_static(b"status code 499");
    response.extensions_mut().insert(reason);
    response
}

/// An answer without a body.
pub(in crate::transport) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer after which nothing else is read on the connection.
fn closing(status: StatusCode, version: Version) -> Response {
    let mut response = empty(status);
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// Reads a body of at most `limit` bytes within `patience`.
pub(in crate::transport) async fn read_body(
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Unreadable> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Unreadable::TooLarge);
    }
    match timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unreadable::TooLarge),
        Ok(Err(error)) => {
            tracing::debug!(%error, "request body ended too early");
            Err(Unreadable::Broken)
        }
        Err(_elapsed) => Err(Unreadable::Slow),
    }
}

/// The value of the first query parameter of this name, as it stands there.
pub(in crate::transport) fn query_value<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// A query value without percent signs and plus signs; `None` when an escape is broken.
pub(in crate::transport) fn percent_decoded(value: &str) -> Option<Bytes> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                high * 16 + low
            }
            other => other,
        });
    }
    Some(out.into())
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
