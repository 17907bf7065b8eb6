//! SockJS: a WebSocket for browsers and networks that have none, over whatever HTTP lets through (client-protocol.md 3.6).
//!
//! Owns paths, frames and the sessions that outlive a request; commands, replies and rules are the node's. A session lives on
//! one node: its requests have to find it there. `server` mounts [`Endpoint`] on its path table.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{
    Method, StatusCode, Uri,
    header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL},
};
use serde::Deserialize;
use tokio::time::timeout;
use tower::ServiceExt as _;

use self::{
    page::Iframe,
    route::{Leg, Route},
    session::{link::Settings, table::Sessions},
    socket::Framed,
};
use super::{ClientConfig, Origins, PeerRules, Serve, Tasks, drained, websocket};
use crate::model::Version;

mod answer;
mod framing;
mod metrics;
mod page;
mod payload;
mod receive;
mod route;
mod send;
mod session;
mod socket;
mod stream;

pub use metrics::Metrics;

/// Section `centripetal.sockjs`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
    /// Address of the client's script for the iframe page; empty names none.
    pub url: String,
    /// Time between heartbeats; zero for none.
    pub heartbeat_delay: Duration,
    /// Serve a WebSocket without frames of SockJS as well.
    pub raw_websocket: bool,
}

/// What an endpoint is made of.
#[derive(Debug)]
pub struct Parts<'a, S> {
    /// Where connections go.
    pub serve: S,
    /// Section `centripetal.sockjs`.
    pub config: &'a Config,
    /// Section `websocket`, for limits.
    pub websocket: &'a websocket::Config,
    /// Section `client`.
    pub client: &'a ClientConfig,
    /// Who may connect.
    pub origins: Arc<Origins>,
    /// What is told of peers.
    pub peers: Arc<PeerRules>,
    /// Owner of the connections' tasks.
    pub tasks: Tasks,
    /// Counters of all transports.
    pub closes: super::Metrics,
    /// Counters of SockJS.
    pub metrics: Metrics,
}

/// The SockJS endpoint.
#[derive(Debug)]
pub struct Endpoint<S> {
    serve: S,
    prefix: String,
    page: Iframe,
    sockets: Sockets,
    sessions: Sessions,
    settings: Arc<Settings>,
    heartbeat: Option<Duration>,
    /// Longest wait for the body of a request.
    patience: Duration,
    origins: Arc<Origins>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
    metrics: Metrics,
}

/// The WebSockets below the prefix.
#[derive(Clone, Debug)]
struct Sockets {
    framed: Router,
    raw: Option<Router>,
}

impl Sockets {
    fn new<S: Serve>(parts: &Parts<'_, S>) -> Self {
        // Arrays of strings, which gain little by it and cost twice.
        let plain = websocket::Config {
            compression: false,
            ..parts.websocket.clone()
        };
        let framed = Framed {
            serve: parts.serve.clone(),
            heartbeat: heartbeat(parts.config),
            closes: parts.closes.clone(),
        };
        Self {
            framed: router(parts, &plain, framed),
            raw: parts
                .config
                .raw_websocket
                .then(|| router(parts, parts.websocket, parts.serve.clone())),
        }
    }
}

/// A WebSocket endpoint that serves its links in this way.
fn router<S, T: Serve>(parts: &Parts<'_, S>, config: &websocket::Config, serve: T) -> Router {
    let endpoint = websocket::Endpoint::new(websocket::Parts {
        serve,
        config,
        uni: None,
        client: parts.client,
        origins: parts.origins.clone(),
        peers: parts.peers.clone(),
        tasks: parts.tasks.clone(),
        metrics: parts.closes.clone(),
    });
    endpoint.into_router()
}

fn heartbeat(config: &Config) -> Option<Duration> {
    Some(config.heartbeat_delay).filter(|delay| !delay.is_zero())
}

impl<S: Serve> Endpoint<S> {
    /// Puts an endpoint together.
    #[must_use]
    pub fn new(parts: Parts<'_, S>) -> Self {
        Self {
            sockets: Sockets::new(&parts),
            prefix: parts.config.handler_prefix.trim_end_matches('/').to_owned(),
            page: Iframe::new(&parts.config.url),
            sessions: Sessions::new(parts.metrics.clone()),
            settings: Arc::new(Settings {
                message_size_limit: parts.websocket.message_size_limit,
                write_timeout: parts.websocket.write_timeout,
                closes: parts.closes,
            }),
            heartbeat: heartbeat(parts.config),
            patience: parts.client.stale_close_delay,
            serve: parts.serve,
            origins: parts.origins,
            peers: parts.peers,
            tasks: parts.tasks,
            metrics: parts.metrics,
        }
    }

    /// A router of everything at and below the prefix. What belongs before new connections is put `around` those requests
    /// that may open one, and not around those of sessions that are there.
    pub fn into_router(self, around: impl FnOnce(Router) -> Router) -> Router {
        let endpoint = Arc::new(self);
        let opening = Router::new()
            .fallback(handle::<S>)
            .with_state(Arc::clone(&endpoint));
        let opening = around(opening);
        Router::new()
            .fallback(choose::<S>)
            .with_state((endpoint, opening))
    }

    /// What a path names, if it is one of ours.
    fn route<'p>(&self, path: &'p str) -> Option<Route<'p>> {
        Route::of(path.strip_prefix(&self.prefix)?)
    }

    /// Is this about a session that is there, or that has to be?
    fn continues(&self, path: &str) -> bool {
        match self.route(path) {
            Some(Route::Session(_, Leg::WebSocket)) | None => false,
            Some(Route::Session(_, leg)) if leg.is_send() => true,
            Some(Route::Session(key, _)) => self.sessions.find(key).is_some(),
            Some(_) => false,
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let Some(route) = self.route(&path) else {
            return answer::not_found();
        };
        if matches!(route, Route::RawWebSocket) && self.sockets.raw.is_none() {
            return answer::not_found();
        }
        if !route.knows(request.method()) {
            return answer::not_allowed(route.methods());
        }
        let Ok(version) = version(request.uri()) else {
            let line = "unknown protocol version\n";
            return answer::refusal(StatusCode::BAD_REQUEST, line);
        };
        let cors = answer::cors(&self.origins, request.headers());
        if request.method() == Method::OPTIONS {
            return answer::preflight(route.offered(), cors);
        }
        match route {
            Route::Prefix => answer::moved(&path),
            Route::Greeting => {
                let kind = "text/plain;charset=UTF-8";
                answer::answer(StatusCode::OK, kind, "Welcome to SockJS!\n")
            }
            Route::Info => answer::fresh(info(), cors),
            Route::Iframe => answer::iframe(&self.page, request.headers()),
            Route::RawWebSocket => match self.sockets.raw.clone() {
                Some(raw) => call(raw, request).await,
                None => answer::not_found(),
            },
            Route::Session(_, Leg::WebSocket) => {
                call(self.sockets.framed.clone(), bare(request)).await
            }
            Route::Session(key, leg) => {
                let (parts, body) = request.into_parts();
                let response = if leg.is_send() {
                    self.send((key, leg), &parts, body).await
                } else {
                    self.unwanted(body).await;
                    self.receive((key, leg), &parts, version).await
                };
                answer::fresh(response, cors)
            }
        }
    }

    /// Reads a body that says nothing, within reason: the end of a connection is not seen before.
    async fn unwanted(&self, body: Body) {
        timeout(self.patience, drained(body))
            .await
            .unwrap_or_default();
    }
}

/// Sends a request past what belongs before new connections, or not.
async fn choose<S: Serve>(
    State((endpoint, opening)): State<(Arc<Endpoint<S>>, Router)>,
    request: Request,
) -> Response {
    if endpoint.continues(request.uri().path()) {
        endpoint.answer(request).await
    } else {
        call(opening, request).await
    }
}

async fn handle<S: Serve>(State(endpoint): State<Arc<Endpoint<S>>>, request: Request) -> Response {
    endpoint.answer(request).await
}

/// Calls a router, which cannot fail.
async fn call(router: Router, request: Request) -> Response {
    let answered: Result<_, std::convert::Infallible> = router.oneshot(request).await;
    answered.unwrap_or_else(|never| match never {})
}

/// What a client asks first.
fn info() -> Response {
    let entropy = rand::random::<u32>() >> 1;
    let text = format!(
        "{{\"websocket\":true,\"cookie_needed\":false,\"origins\":[\"*:*\"],\"entropy\":{entropy}}}\n"
    );
    answer::answer(StatusCode::OK, "application/json; charset=UTF-8", text)
}

/// The generation that a request names.
fn version(uri: &Uri) -> Result<Option<Version>, UnknownVersion> {
    match parameter(uri, VERSION) {
        None | Some("") => Ok(None),
        Some("v1") => Ok(Some(Version::V1)),
        Some("v2") => Ok(Some(Version::V2)),
        Some(_) => Err(UnknownVersion),
    }
}

/// A generation that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnknownVersion;

const VERSION: &str = "cf_protocol_version";

fn parameter<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// A handshake without what changes the bytes of a WebSocket: here they are frames of SockJS, in JSON.
fn bare(mut request: Request) -> Request {
    let headers = request.headers_mut();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    let version = parameter(request.uri(), VERSION).unwrap_or_default();
    let target = format!("{}?{VERSION}={version}", request.uri().path());
    if let Ok(target) = target.parse() {
        *request.uri_mut() = target;
    }
    request
}

#[cfg(test)]
mod tests;
