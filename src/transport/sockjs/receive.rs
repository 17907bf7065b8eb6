//! Requests that take what a session has for its client, and open it if there is none.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, request::Parts};
use tracing::Instrument as _;
use url::form_urlencoded;

use super::{
    Endpoint, answer, framing,
    framing::Wrapping,
    metrics::Refusal,
    route::Leg,
    session::{
        link::SessionLink,
        receiver::{Receiver, Taken},
    },
    stream::{ResponseLimit, Stream},
};
use crate::{
    model::{Encoding, Version},
    transport::Serve,
};

impl<S: Serve> Endpoint<S> {
    /// Answers a receiver on one of the transports over HTTP.
    pub(super) async fn receive(
        &self,
        (key, leg): (&str, Leg),
        request: &Parts,
        version: Option<Version>,
    ) -> Response {
        let wrapping = match wrapping(leg, request.uri.query().unwrap_or_default()) {
            Ok(wrapping) => wrapping,
            Err(wrong) => return wrong.refusal(leg),
        };
        let (session, is_new) = self.sessions.open(key, version != Some(Version::V2));
        if is_new {
            let dialect = (Encoding::Json, version);
            let peer = &self.peers;
            let peer =
                Box::new(peer.http("sockjs", dialect, &request.headers, &request.extensions));
            let (sessions, settings) = (self.sessions.clone(), self.settings.clone());
            let link = SessionLink::new(session.clone(), sessions, settings);
            let serve = self.serve.clone();
            let connection = async move { serve.serve(link, *peer).await };
            let span = tracing::debug_span!("connection", transport = "sockjs");
            self.tasks.spawn(connection.instrument(span));
        }
        let receiver = Receiver::attach(session, self.sessions.clone(), self.heartbeat);
        if receiver.is_none() {
            self.metrics.refused(Refusal::SecondReceiver);
        }
        let body = match leg {
            Leg::Xhr => Body::from(wrapping.wrap(&polled(receiver).await)),
            Leg::Jsonp => streamed(receiver, wrapping, ResponseLimit::ONE),
            _ => streamed(receiver, wrapping, ResponseLimit::LONG),
        };
        answer::answer(StatusCode::OK, leg.content_type(), body)
    }
}

/// One frame, when there is one.
async fn polled(receiver: Option<Receiver>) -> Bytes {
    let Some(mut receiver) = receiver else {
        return Bytes::from_static(framing::BUSY);
    };
    let taken = receiver.take().await;
    receiver.leave();
    match taken {
        Taken::Frame(frame) | Taken::Last(frame) => frame,
        // The next poll finds a new session, which tells the client that this one is gone.
        Taken::Nothing => Bytes::from_static(framing::HEARTBEAT),
    }
}

/// Frames as they come.
fn streamed(receiver: Option<Receiver>, wrapping: Wrapping, limit: ResponseLimit) -> Body {
    if let Some(receiver) = receiver {
        return Body::new(Stream::new(receiver, wrapping, limit));
    }
    let refusal = wrapping.wrap(framing::BUSY);
    let chunks = wrapping.prelude().into_iter().chain([refusal]);
    Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)))
}

/// What is wrong with the callback that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callback {
    Missing,
    Harmful,
}

impl Callback {
    fn refusal(self, leg: Leg) -> Response {
        let (status, line) = match (self, leg) {
            (Self::Missing, Leg::Jsonp) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "\"callback\" parameter required\n",
            ),
            (Self::Missing, _) => (StatusCode::BAD_REQUEST, "\"callback\" parameter required\n"),
            (Self::Harmful, _) => (
                StatusCode::BAD_REQUEST,
                "invalid character in \"callback\" parameter\n",
            ),
        };
        answer::refusal(status, line)
    }
}

/// What the transport puts around frames; the callback it names, where it has to name one, is checked here.
fn wrapping(leg: Leg, query: &str) -> Result<Wrapping, Callback> {
    let make: fn(Box<str>) -> Wrapping = match leg {
        Leg::EventSource => return Ok(Wrapping::Events),
        Leg::HtmlFile => Wrapping::Scripts,
        Leg::Jsonp => Wrapping::Call,
        _ => return Ok(Wrapping::Lines),
    };
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let callback = pairs.find(|(name, _)| name == "c").map(|(_, value)| value);
    let callback = callback.filter(|callback| !callback.is_empty());
    let callback = callback.ok_or(Callback::Missing)?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !callback.bytes().all(harmless) {
        return Err(Callback::Harmful);
    }
    Ok(make(callback.into()))
}
