//! The WebSocket bridge: handshake, frames, and a [`crate::node::Link`] over the socket that hyper gives back.
//!
//! Owns nothing but bytes; commands, replies and rules are the node's. `server` mounts [`Endpoint`] on its path table.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, X_CONTENT_TYPE_OPTIONS,
    },
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument;

use self::{
    handshake::{Accepted, Refused},
    link::{Settings, Terms, Uni, WebSocketLink},
    uni::{First, first_request},
};
use super::{ClientConfig, Lent, Metrics, Origins, PeerRules, SecuredStream, Serve, Tasks};
use crate::{model::Peer, protocol::frame::Compression};

mod frame;
mod handshake;
mod keepalive;
mod link;
mod uni;

pub use uni::UniConfig;

/// Native pings where `client.ping_interval` and `client.pong_timeout` are off.
const PING: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(10));

/// The one answer to all offers of permessage-deflate.
const DEFLATE: HeaderValue = HeaderValue::from_static(
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
);

/// Section `websocket`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// No endpoint at all.
    pub disabled: bool,
    /// Path.
    pub handler_prefix: String,
    /// permessage-deflate, for clients that offer it.
    pub compression: bool,
    /// Messages below this many bytes are sent as they are.
    pub compression_min_size: usize,
    /// Effort of compression, 1 to 9.
    pub compression_level: u32,
    /// Time limit of writing one frame.
    pub write_timeout: Duration,
    /// Largest message of a client, bytes.
    pub message_size_limit: usize,
    /// Largest message of a client once decompressed, bytes; 0 means ten times `message_size_limit`.
    pub decompressed_message_size_limit: usize,
}

impl Config {
    /// How to compress and the limit of what is decompressed, when it is on.
    fn deflate(&self) -> Option<(Compression, usize)> {
        let compression = Compression::new(self.compression_level, self.compression_min_size);
        let limit = match self.decompressed_message_size_limit {
            0 => self.message_size_limit.saturating_mul(10),
            limit => limit,
        };
        self.compression.then_some((compression, limit))
    }
}

/// What an endpoint is made of.
#[derive(Debug)]
pub struct Parts<'a, S> {
    /// Where connections go.
    pub serve: S,
    /// Section `websocket`, or what section `uni_websocket` has in common with it.
    pub config: &'a Config,
    /// Section `uni_websocket`, for clients that only listen.
    pub uni: Option<&'a UniConfig>,
    /// Section `client`.
    pub client: &'a ClientConfig,
    /// Who may connect.
    pub origins: Arc<Origins>,
    /// What is told of peers.
    pub peers: Arc<PeerRules>,
    /// Owner of the connections' tasks.
    pub tasks: Tasks,
    /// Counters.
    pub metrics: Metrics,
}

/// The WebSocket endpoint.
#[derive(Debug)]
pub struct Endpoint<S> {
    serve: S,
    settings: Arc<Settings>,
    origins: Arc<Origins>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
}

impl<S: Serve> Endpoint<S> {
    /// Puts an endpoint together.
    #[must_use]
    pub fn new(parts: Parts<'_, S>) -> Self {
        let interval = parts.client.ping_interval.unwrap_or(PING.0);
        let patience = parts.client.pong_timeout.unwrap_or(PING.1);
        Self {
            serve: parts.serve,
            settings: Arc::new(Settings {
                message_size_limit: parts.config.message_size_limit,
                deflate: parts.config.deflate(),
                write_timeout: parts.config.write_timeout,
                ping: (interval, patience),
                metrics: parts.metrics,
                name: if parts.uni.is_some() {
                    "uni_websocket"
                } else {
                    "websocket"
                },
                uni: parts.uni.map(Uni::from),
            }),
            origins: parts.origins,
            peers: parts.peers,
            tasks: parts.tasks,
        }
    }

    /// A router that takes every request as a handshake, whatever its path.
    pub fn into_router(self) -> Router {
        Router::new()
            .fallback(handle::<S>)
            .with_state(Arc::new(self))
    }

    /// Hands a connection to the node once hyper has written the answer.
    fn accept(&self, upgrade: OnUpgrade, terms: Terms, (peer, first): (Peer, First)) {
        let serve = self.serve.clone();
        let settings = self.settings.clone();
        let transport = settings.name;
        // What a future captures keeps its place for as long as the session lives, so it captures a pointer.
        let peer = Box::new(peer);
        let connection = async move {
            let taken = upgrade.await.map(Taken::of);
            match taken {
                Ok(Some(Taken::Socket(socket, read))) => {
                    let link = WebSocketLink::new(socket, &read, terms, settings).opened_by(first);
                    drop(read);
                    serve.serve(link, *peer).await;
                }
                Ok(Some(Taken::Secured(stream, read))) => {
                    let link = WebSocketLink::new(stream, &read, terms, settings).opened_by(first);
                    drop(read);
                    Box::pin(serve.serve(link, *peer)).await;
                }
                Ok(Some(Taken::Wrapped(upgraded))) => {
                    let io = TokioIo::new(upgraded);
                    let link = WebSocketLink::new(io, &[], terms, settings).opened_by(first);
                    Box::pin(serve.serve(link, *peer)).await;
                }
                Ok(None) => tracing::debug!("connection was taken before its upgrade"),
                Err(error) => tracing::debug!(%error, "websocket upgrade error"),
            }
        };
        let span = tracing::debug_span!("connection", transport);
        self.tasks.spawn(connection.instrument(span));
    }
}

/// A connection after hyper is done with it.
enum Taken {
    /// The socket itself, and what was read from it already.
    Socket(TcpStream, Bytes),
    /// The same with TLS.
    Secured(SecuredStream, Bytes),
    /// Something else behind hyper's wrapper, such as the stream of an embedder.
    Wrapped(Upgraded),
}

impl Taken {
    /// What it is; `None` when a stream that was lent has been taken back.
    fn of(upgraded: Upgraded) -> Option<Self> {
        let upgraded = match unwrapped(upgraded) {
            Ok((socket, read)) => return Some(Self::Socket(socket, read)),
            Err(upgraded) => upgraded,
        };
        let upgraded = match unwrapped::<Lent<_>>(upgraded) {
            Ok((lent, read)) => return Some(Self::Socket(lent.take()?, read)),
            Err(upgraded) => upgraded,
        };
        let upgraded = match unwrapped(upgraded) {
            Ok((stream, read)) => return Some(Self::Secured(stream, read)),
            Err(upgraded) => upgraded,
        };
        match unwrapped::<Lent<_>>(upgraded) {
            Ok((lent, read)) => Some(Self::Secured(lent.take()?, read)),
            Err(upgraded) => Some(Self::Wrapped(upgraded)),
        }
    }
}

/// The stream itself, if it is of this type, whether hyper knew the generation of HTTP or had to find out.
fn unwrapped<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    use hyper_util::server::conn::auto::upgrade;
    let upgraded = match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgrade::downcast::<TokioIo<S>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

async fn handle<S: Serve>(
    State(endpoint): State<Arc<Endpoint<S>>>,
    mut request: Request,
) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let accepted = match handshake::check(&parts, &endpoint.origins) {
        Ok(accepted) => accepted,
        Err(refused) => {
            log_refusal(refused, &parts, &endpoint.origins);
            let mut response = refusal(refused);
            if let Refused::Malformed(..) = refused {
                response
                    .headers_mut()
                    .extend(endpoint.origins.cors(&parts.headers));
            }
            return response;
        }
    };
    let is_uni = endpoint.settings.uni.is_some();
    let (accepted, first) = if is_uni {
        match first_request(&parts) {
            Ok(first) => (accepted.of_a_listener(), first),
            Err(_malformed) => {
                let mut response = plain(StatusCode::BAD_REQUEST, "invalid connect request\n");
                let cors = endpoint.origins.cors(&parts.headers);
                response.headers_mut().extend(cors);
                return response;
            }
        }
    } else {
        (accepted, None)
    };
    let dialect = (accepted.encoding, accepted.version);
    let peer = endpoint.peers.http(
        endpoint.settings.name,
        dialect,
        &parts.headers,
        &parts.extensions,
    );
    let terms = Terms {
        native_ping: accepted.native_ping || is_uni,
        deflate: accepted.offers_deflate && endpoint.settings.deflate.is_some(),
    };
    endpoint.accept(upgrade, terms, (peer, first));
    switching(&accepted, terms)
}

fn log_refusal(refused: Refused, request: &http::request::Parts, origins: &Origins) {
    match refused {
        Refused::Origin => {
            let origin = request.headers.get(http::header::ORIGIN);
            let origin = origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()));
            let allowed = origins.patterns();
            tracing::info!(origin = origin.as_deref(), allowed_origins = ?allowed, "request Origin is not authorized");
            tracing::debug!(error = "origin is not allowed", "websocket upgrade error");
        }
        Refused::UnknownVersion => tracing::debug!("unknown protocol version"),
        Refused::Malformed(_, reason) => tracing::debug!(error = reason, "websocket upgrade error"),
    }
}

fn switching(accepted: &Accepted, terms: Terms) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = derive_accept_key(accepted.key.as_bytes());
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = accepted.subprotocol {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(subprotocol),
        );
    }
    if terms.deflate {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, DEFLATE);
    }
    response
}

fn refusal(refused: Refused) -> Response {
    let status = refused.status();
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    let mut response = plain(status, text);
    if refused != Refused::UnknownVersion {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// An answer in words.
fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let fixed: [(HeaderName, &str); 2] = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod taken;
#[cfg(test)]
mod tests;
