//! Why a connection ended, when it was this side that ended it. Only reads errors; counting is done where they come up.

use std::{error::Error, io};

use super::connection::Failure;

/// Did hyper refuse a request by itself, since its line or headers were too large?
pub(super) fn is_too_large(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<hyper::Error>();
    error.is_some_and(hyper::Error::is_parse_too_large)
}

/// The code of the GOAWAY that this side has sent, or that the peer did not answer PING or took nothing for too long.
pub(super) fn goaway(failure: &Failure) -> Option<&'static str> {
    let mut next: Option<&(dyn Error + 'static)> = Some(&**failure);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return error.reason().filter(|_| error.is_library()).map(name);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return (error.kind() == io::ErrorKind::TimedOut).then_some("unread");
        }
        next = cause.source();
        // A slow head of HTTP/1 is a timeout as well, but one without a cause.
        if next.is_some() && cause.downcast_ref().is_some_and(hyper::Error::is_timeout) {
            return Some("keepalive_timeout");
        }
    }
    None
}

/// Codes that this side sends.
fn name(reason: h2::Reason) -> &'static str {
    match reason {
        h2::Reason::PROTOCOL_ERROR => "protocol_error",
        h2::Reason::FLOW_CONTROL_ERROR => "flow_control_error",
        h2::Reason::STREAM_CLOSED => "stream_closed",
        h2::Reason::FRAME_SIZE_ERROR => "frame_size_error",
        h2::Reason::COMPRESSION_ERROR => "compression_error",
        h2::Reason::ENHANCE_YOUR_CALM => "enhance_your_calm",
        _ => "other",
    }
}
