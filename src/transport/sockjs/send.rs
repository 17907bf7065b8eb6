//! Requests with frames of the client.

use std::time::Duration;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use url::form_urlencoded;

use super::{
    Endpoint, answer,
    metrics::Refusal,
    payload::{Frame, Unusable, frames},
    route::Leg,
    session::Rejected,
};
use crate::transport::Serve;

/// A byte takes at most so many as part of a form.
const ESCAPED: usize = 3;

impl<S: Serve> Endpoint<S> {
    /// Answers a request that sends.
    pub(super) async fn send(
        &self,
        (key, leg): (&str, Leg),
        request: &Parts,
        body: Body,
    ) -> Response {
        let limit = self.settings.message_size_limit;
        let form = leg == Leg::JsonpSend && is_form(&request.headers);
        let most = if form {
            limit.saturating_mul(ESCAPED)
        } else {
            limit
        };
        let payload = read(body, most, self.patience).await;
        let payload = payload.map(|body| if form { field(&body) } else { body });
        let payload = match payload {
            Ok(payload) if payload.len() > limit => Err(Unread::TooLarge),
            payload => payload,
        };
        let payload = match payload {
            Ok(payload) => payload,
            Err(unread) => {
                unread
                    .refusal()
                    .into_iter()
                    .for_each(|why| self.metrics.refused(why));
                return answer::given_up(unread.status(), request.version);
            }
        };
        let frames = match frames(&payload) {
            Ok(frames) => frames,
            Err(Unusable::OtherType) if leg == Leg::XhrSend => Vec::new(),
            Err(unusable) => return refused(leg, unusable),
        };
        let Some(session) = self.sessions.find(key) else {
            return answer::not_found();
        };
        if !session.is_open() {
            return ended();
        }
        if !self.origins.allow(&request.headers) {
            // The page cannot read the answer, so this is all the same to it; but nobody acts for a user from elsewhere.
            tracing::info!(allowed_origins = ?self.origins.patterns(), "request Origin is not authorized");
            self.metrics.refused(Refusal::Origin);
            return accepted(leg);
        }
        if frames.is_empty() {
            return accepted(leg);
        }
        let frames = frames.into_iter().map(Frame::into_bytes).collect();
        match session.push(frames).await {
            Ok(()) => accepted(leg),
            Err(Rejected::Ended) => ended(),
            Err(Rejected::Busy) => {
                self.metrics.refused(Refusal::Busy);
                answer::empty(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}

fn accepted(leg: Leg) -> Response {
    let (status, body) = match leg {
        Leg::JsonpSend => (StatusCode::OK, "ok"),
        _ => (StatusCode::NO_CONTENT, ""),
    };
    answer::answer(status, leg.content_type(), body)
}

fn ended() -> Response {
    let line = "sockjs: session not in open state\n";
    answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, line)
}

fn refused(leg: Leg, unusable: Unusable) -> Response {
    let status = StatusCode::BAD_REQUEST;
    match (leg, unusable) {
        (Leg::JsonpSend, Unusable::Empty) => answer::refusal(status, "Payload expected.\n"),
        (Leg::JsonpSend, _) => answer::refusal(status, "Broken JSON encoding.\n"),
        (_, Unusable::Empty) => answer::plain(status, "Payload expected."),
        (_, _) => answer::plain(status, "Broken JSON encoding."),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded"))
}

/// The payload of a form.
fn field(body: &[u8]) -> Bytes {
    let mut pairs = form_urlencoded::parse(body);
    let payload = pairs.find(|(name, _)| name == "d");
    payload.map_or_else(Bytes::new, |(_, payload)| payload.into_owned().into())
}

/// A body that was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    TooLarge,
    Timeout,
    Broken,
}

impl Unread {
    const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }

    const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::TooLarge => Some(Refusal::TooLarge),
            Self::Timeout => Some(Refusal::Timeout),
            Self::Broken => None,
        }
    }
}

/// Reads a body, which has to fit and to come in time.
async fn read(body: Body, limit: usize, patience: Duration) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLarge);
    }
    match timeout(patience, Limited::new(body, limit).collect()).await {
        Err(_elapsed) => Err(Unread::Timeout),
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::Broken),
    }
}
