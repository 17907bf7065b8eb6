//! HTTP stream and SSE for clients that also send commands (client-protocol.md 3.3, 3.4): one response that never ends, and a
//! way back by requests that may reach any node ([`post`]).
//!
//! Turns a request into the first frame of a session. What a frame says is the session's, how a body is streamed is
//! [`super::stream`]'s.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE, request::Parts as Head};
use serde::Deserialize;
use tracing::Instrument as _;

use super::{
    END_WAIT, Origins, PeerRules, Serve, Tasks,
    outlet::outlet,
    stream::{
        Rules, Settings, StreamBody, StreamLink, empty, guard, head, percent_decoded, query_value,
        read_body,
    },
};
use crate::{
    model::{Direction, Encoding, Version},
    node::{Inbound, LinkTraits},
    protocol::frame::{Framing, Kind},
};

mod post;

pub use post::{EmulationConfig, emulation};

/// Content of Protobuf requests and answers; anything else is JSON.
const OCTETS: &str = "application/octet-stream";
/// Content of JSON answers.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// Content of a stream of events.
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";
/// What a stream of events begins with, so that everybody on the way sees a beginning.
pub(super) const PRELUDE: &[u8] = b"\r\n";

/// Sections `http_stream` and `sse`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
    /// Longest body of the request, bytes.
    pub max_request_body_size: usize,
}

/// What an endpoint is made of.
#[derive(Debug)]
pub struct Parts<S> {
    /// Where connections go.
    pub serve: S,
    /// Longest body of the request, bytes.
    pub body_limit: usize,
    /// Longest command, however it comes.
    pub command_limit: usize,
    /// Longest time for the body of the request.
    pub patience: Duration,
    /// Longest time in which a client takes nothing.
    pub write_timeout: Duration,
    /// Who may read answers.
    pub origins: Arc<Origins>,
    /// What is told of peers.
    pub peers: Arc<PeerRules>,
    /// Owner of the sessions' tasks.
    pub tasks: Tasks,
}

/// The two forms of the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    HttpStream,
    Sse,
}

#[derive(Debug)]
struct Endpoint<S> {
    shape: Shape,
    serve: S,
    body_limit: usize,
    patience: Duration,
    settings: Arc<Settings>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
}

/// The endpoint of HTTP streams.
pub fn http_stream<S: Serve>(parts: Parts<S>) -> Router {
    router(parts, Shape::HttpStream)
}

/// The endpoint of server-sent events.
pub fn sse<S: Serve>(parts: Parts<S>) -> Router {
    router(parts, Shape::Sse)
}

fn router<S: Serve>(parts: Parts<S>, shape: Shape) -> Router {
    let rules = match shape {
        Shape::HttpStream => Rules {
            origins: parts.origins,
            methods: &[Method::POST],
            preflight: true,
        },
        Shape::Sse => Rules {
            origins: parts.origins,
            methods: &[Method::GET, Method::POST],
            preflight: false,
        },
    };
    let settings = Settings {
        traits: LinkTraits {
            framing: match shape {
                Shape::HttpStream => Framing::Stream,
                Shape::Sse => Framing::Event,
            },
            message_size_limit: parts.command_limit,
            close_carries_reason: false,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Emulated,
        },
        write_timeout: parts.write_timeout,
        end_wait: END_WAIT,
    };
    let endpoint = Endpoint {
        shape,
        serve: parts.serve,
        body_limit: parts.body_limit,
        patience: parts.patience,
        settings: Arc::new(settings),
        peers: parts.peers,
        tasks: parts.tasks,
    };
    let handler = Router::new()
        .fallback(handle::<S>)
        .with_state(Arc::new(endpoint));
    guard(handler, rules)
}

async fn handle<S: Serve>(State(endpoint): State<Arc<Endpoint<S>>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    match endpoint.first_frame(&request, body).await {
        Ok(frame) => endpoint.open(&request, frame),
        Err(refusal) => refusal,
    }
}

impl<S: Serve> Endpoint<S> {
    /// The commands that come with the request.
    async fn first_frame(&self, request: &Head, body: Body) -> Result<Bytes, Response> {
        if request.method == Method::GET {
            let value = query_value(request.uri.query(), "cf_connect");
            let frame = value.and_then(percent_decoded);
            return frame
                .filter(|frame| !frame.is_empty())
                .ok_or_else(|| empty(StatusCode::BAD_REQUEST));
        }
        let read = read_body(body, self.body_limit, self.patience).await;
        read.map_err(|why| why.response(request.version))
    }

    fn encoding(&self, headers: &HeaderMap) -> Encoding {
        match self.shape {
            Shape::HttpStream if is_octets(headers) => Encoding::Protobuf,
            Shape::HttpStream | Shape::Sse => Encoding::Json,
        }
    }

    /// Starts a session and answers with its stream.
    fn open(&self, request: &Head, frame: Bytes) -> Response {
        let encoding = self.encoding(&request.headers);
        let (transport, kind, prelude) = match (self.shape, encoding) {
            (Shape::Sse, _) => ("sse", EVENTS, PRELUDE),
            (Shape::HttpStream, Encoding::Json) => ("http_stream", TEXT, &b""[..]),
            (Shape::HttpStream, Encoding::Protobuf) => ("http_stream", OCTETS, &b""[..]),
        };
        let dialect = (encoding, Some(Version::V2));
        let peer = self
            .peers
            .http(transport, dialect, &request.headers, &request.extensions);
        let (outlet, messages) = outlet();
        let first = Inbound::Frame(frame, Kind::from(encoding));
        let link = StreamLink::new(first, outlet, self.settings.clone());
        let serve = self.serve.clone();
        // What a future captures keeps its place for as long as the session lives, so it captures a pointer.
        let start = Box::new((link, peer));
        let session = async move {
            let (link, peer) = *start;
            serve.serve(link, peer).await;
        };
        let span = tracing::debug_span!("connection", transport);
        self.tasks.spawn(session.instrument(span));
        head(StreamBody::new(prelude, messages), request.version, kind)
    }
}

/// True for exactly the content type of Protobuf.
fn is_octets(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes() == OCTETS.as_bytes())
}

#[cfg(test)]
mod tests;
