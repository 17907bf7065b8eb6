//! SSE and HTTP stream for clients that only listen (client-protocol.md 3.9). The other transports of such clients are beside
//! their bidirectional kin: [`super::websocket`], [`super::grpc`].
//!
//! Reads the connect request, streams pushes. Where it is configured, the answer waits until it is known whether the connect has
//! succeeded, and a failure becomes an HTTP status.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts as Head};
use serde::Deserialize;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{
    END_WAIT, Origins, PeerRules, Serve, Tasks,
    emulated::{EVENTS, PRELUDE, TEXT},
    outlet::outlet,
    stream::{
        Rules, Settings, StreamBody, StreamLink, Unreadable, empty, guard, head, percent_decoded,
        query_value, read_body,
    },
};
use crate::{
    model::{Direction, Encoding, Version},
    node::{Close, Inbound, LinkTraits},
    protocol::{ConnectRequest, decode_connect_request, frame::Framing},
};

/// Sections `uni_sse` and `uni_http_stream`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
    /// Longest body of the request, bytes.
    pub max_request_body_size: usize,
    /// Statuses in place of streams that end at once.
    pub connect_code_to_http_response: Responses,
}

/// HTTP statuses for failed connects.
#[derive(Clone, Debug, Deserialize)]
pub struct Responses {
    /// Switched on.
    pub enabled: bool,
    /// Which code becomes which answer.
    pub transforms: Vec<ResponseRule>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
pub struct ResponseRule {
    /// Code of an error or a disconnect.
    pub code: u32,
    /// The answer.
    pub to: ResponseTarget,
}

/// An HTTP answer.
#[derive(Clone, Debug, Deserialize)]
pub struct ResponseTarget {
    /// Status.
    pub status_code: u16,
    /// Body; empty for the text of the error or disconnect.
    pub body: String,
}

/// What an endpoint is made of.
#[derive(Debug)]
pub struct Parts<'a, S> {
    /// Where connections go.
    pub serve: S,
    /// The section.
    pub config: &'a Config,
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
    responses: Option<Vec<ResponseRule>>,
    settings: Arc<Settings>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
}

/// The endpoint of HTTP streams.
pub fn http_stream<S: Serve>(parts: Parts<'_, S>) -> Router {
    router(parts, Shape::HttpStream)
}

/// The endpoint of server-sent events.
pub fn sse<S: Serve>(parts: Parts<'_, S>) -> Router {
    router(parts, Shape::Sse)
}

fn router<S: Serve>(parts: Parts<'_, S>, shape: Shape) -> Router {
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
            message_size_limit: parts.config.max_request_body_size,
            close_carries_reason: false,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Push,
        },
        write_timeout: parts.write_timeout,
        end_wait: END_WAIT,
    };
    let responses = &parts.config.connect_code_to_http_response;
    let endpoint = Endpoint {
        shape,
        serve: parts.serve,
        body_limit: parts.config.max_request_body_size,
        patience: parts.patience,
        responses: responses.enabled.then(|| responses.transforms.clone()),
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
    match endpoint.connect_request(&request, body).await {
        Ok(connect) => endpoint.open(&request, connect).await,
        Err(refusal) => refusal,
    }
}

impl<S: Serve> Endpoint<S> {
    async fn connect_request(
        &self,
        request: &Head,
        body: Body,
    ) -> Result<ConnectRequest, Response> {
        let text = if request.method == Method::GET {
            let value = query_value(request.uri.query(), "cf_connect");
            match value.filter(|value| !value.is_empty()) {
                None => return Ok(ConnectRequest::default()),
                Some(value) => percent_decoded(value),
            }
        } else {
            Some(self.body(request, body).await?)
        };
        let request = text.and_then(|text| decode_connect_request(Encoding::Json, &text).ok());
        request.ok_or_else(|| empty(StatusCode::BAD_REQUEST))
    }

    async fn body(&self, request: &Head, body: Body) -> Result<Bytes, Response> {
        let read = read_body(body, self.body_limit, self.patience).await;
        read.map_err(|why| match why {
            // Nobody is there to read an error.
            Unreadable::Broken => empty(StatusCode::OK),
            why => why.response(request.version),
        })
    }

    /// Starts a session and answers with its stream, or with the status that its failure is.
    async fn open(&self, request: &Head, connect: ConnectRequest) -> Response {
        let (transport, kind, prelude) = match self.shape {
            Shape::Sse => ("uni_sse", EVENTS, PRELUDE),
            Shape::HttpStream => ("uni_http_stream", TEXT, &b""[..]),
        };
        let dialect = (Encoding::Json, Some(Version::V2));
        let peer = self
            .peers
            .http(transport, dialect, &request.headers, &request.extensions);
        let (outlet, messages) = outlet();
        let first = Inbound::Connect(Box::new(connect));
        let mut link = StreamLink::new(first, outlet, self.settings.clone());
        let mut begun = None;
        if let Some(rules) = &self.responses {
            let (sender, receiver) = oneshot::channel();
            link = link.watched(sender);
            begun = Some((rules, receiver));
        }
        let serve = self.serve.clone();
        // What a future captures keeps its place for as long as the session lives, so it captures a pointer.
        let start = Box::new((link, peer));
        let session = async move {
            let (link, peer) = *start;
            serve.serve(link, peer).await;
        };
        let span = tracing::debug_span!("connection", transport);
        self.tasks.spawn(session.instrument(span));
        if let Some((rules, begun)) = begun {
            match begun.await {
                Ok(Ok(())) => {}
                Ok(Err(close)) => return failure(rules, &close),
                Err(_lost) => return text(StatusCode::INTERNAL_SERVER_ERROR, ""),
            }
        }
        head(StreamBody::new(prelude, messages), request.version, kind)
    }
}

/// The answer to a connect that has failed.
fn failure(rules: &[ResponseRule], close: &Close) -> Response {
    let disconnect = (close.disconnect.code, &*close.disconnect.reason);
    let (code, reason) = match &close.error {
        Some(error) => (error.code, &*error.message),
        None => disconnect,
    };
    let rule = rules.iter().find(|rule| rule.code == code);
    let Some(ResponseRule { to, .. }) = rule else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return text(status, status.canonical_reason().unwrap_or_default());
    };
    let status = StatusCode::from_u16(to.status_code);
    let body = if to.body.is_empty() { reason } else { &to.body };
    text(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
}

fn text(status: StatusCode, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(TEXT);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
