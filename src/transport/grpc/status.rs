//! How a stream ends: status and the trailer `disconnect` (client-protocol.md 3.7, gateway.md 1).

use std::time::Duration;

use http::HeaderMap;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::{model::Disconnect, node::Close, transport::close};

/// Trailer with code, reason and whether to reconnect.
const TRAILER: &str = "disconnect";

/// What went wrong on the transport, if anything; it decides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A message above the limit, also after decompression.
    TooLarge,
    /// Bytes that are no gRPC message.
    Malformed,
    /// The time the peer had set is over.
    Deadline,
}

/// Tells what tonic raised while reading apart: a fault of the message, or the end of the stream (`None`).
pub(super) fn failure(status: &Status) -> Option<Failure> {
    // Resets reach us with codes, too, but from the connection and not from the decoder.
    if std::error::Error::source(status).is_some() || status.message().starts_with("h2 protocol") {
        return None;
    }
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Some(Failure::TooLarge),
        Code::Internal => Some(Failure::Malformed),
        _ => None,
    }
}

/// The last word of a stream.
pub(super) fn last(close: &Close, failure: Option<Failure>) -> Status {
    let (code, message) = match failure {
        Some(Failure::TooLarge) => (Code::ResourceExhausted, "message too large"),
        Some(Failure::Malformed) => (Code::InvalidArgument, "malformed message"),
        Some(Failure::Deadline) => (Code::DeadlineExceeded, "deadline exceeded"),
        None if close.undecodable => (Code::InvalidArgument, "malformed message"),
        None => (Code::Ok, ""),
    };
    let mut metadata = MetadataMap::new();
    if close.disconnect.code != Disconnect::CONNECTION_CLOSED.code
        && let Ok(value) = MetadataValue::try_from(close::trailer(&close.disconnect))
    {
        metadata.insert(TRAILER, value);
    }
    Status::with_metadata(code, message, metadata)
}

/// The time limit of a call (`grpc-timeout`); a malformed one is as none.
pub(super) fn time_limit(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::Version;

    fn limit(text: &'static str) -> Option<Duration> {
        time_limit(&HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            HeaderValue::from_static(text),
        )]))
    }

    #[test]
    fn time_limits_are_read() {
        assert_eq!(limit("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(limit("3M"), Some(Duration::from_secs(180)));
        assert_eq!(limit("5S"), Some(Duration::from_secs(5)));
        assert_eq!(limit("250m"), Some(Duration::from_millis(250)));
        assert_eq!(limit("7u"), Some(Duration::from_micros(7)));
        assert_eq!(limit("9n"), Some(Duration::from_nanos(9)));
        for text in ["", "S", "5", "-1S", "123456789S", "5s"] {
            assert_eq!(limit(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_word_fits_the_cause() {
        let close = |disconnect, undecodable| Close {
            disconnect,
            version: Version::V2,
            undecodable,
            error: None,
        };
        let word = last(&close(Disconnect::SHUTDOWN, false), None);
        assert_eq!(word.code(), Code::Ok);
        assert_eq!(
            word.metadata().get(TRAILER).unwrap(),
            r#"{"code":3001,"reason":"shutdown","reconnect":true}"#
        );
        let word = last(&close(Disconnect::CONNECTION_CLOSED, false), None);
        assert!(word.code() == Code::Ok && word.metadata().is_empty());
        let word = last(&close(Disconnect::BAD_REQUEST, true), None);
        assert_eq!(word.code(), Code::InvalidArgument);
        assert!(word.metadata().get(TRAILER).is_some());
        let word = last(
            &close(Disconnect::BAD_REQUEST, true),
            Some(Failure::TooLarge),
        );
        assert_eq!(word.code(), Code::ResourceExhausted);
        let word = last(
            &close(Disconnect::CONNECTION_CLOSED, false),
            Some(Failure::Deadline),
        );
        assert!(word.code() == Code::DeadlineExceeded && word.metadata().is_empty());
    }

    #[test]
    fn faults_of_messages_are_told_from_lost_streams() {
        assert_eq!(failure(&Status::out_of_range("x")), Some(Failure::TooLarge));
        assert_eq!(
            failure(&Status::resource_exhausted("x")),
            Some(Failure::TooLarge)
        );
        assert_eq!(failure(&Status::internal("x")), Some(Failure::Malformed));
        assert_eq!(failure(&Status::cancelled("x")), None);
        assert_eq!(failure(&Status::internal("h2 protocol error: x")), None);
    }
}
