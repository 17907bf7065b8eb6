//! HTTP connections of a listener: one table of paths, one way to serve, count and log a request.
//!
//! What a path answers is its handler's; this never looks into a body.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Version, header::HOST};
use hyper::body::Incoming;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::Instant;
use tower::ServiceExt;

use super::entrance::{Arrival, OWN_NAMESPACE};
use crate::transport::{drained, grpc};

mod connection;
mod fault;
mod headers;
mod paths;
mod unending;

pub(super) use connection::{Duplex, Http2, Limits, Streams, drive, serve};
pub use paths::{DuplicatePath, Paths};
use paths::{Lookup, not_found, redirect};
use unending::Handover;

/// Methods that appear in metrics by their name.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
    Method::TRACE,
];

/// Counters of requests (metrics.md 4), of those that no handler saw, and of HTTP/2 connections that this side ended.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    too_large: IntCounter,
    http2_errors: IntCounterVec,
    counting: bool,
}

impl Metrics {
    /// Makes and registers the counters; with `counting` (`prometheus.instrument_http_handlers`) that of requests has values.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn new(
        registry: &Registry,
        namespace: &str,
        counting: bool,
    ) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("node_incoming_http_requests_total", "HTTP requests.").namespace(namespace),
            &["path", "method", "status"],
        )?;
        let http2_errors = IntCounterVec::new(
            Opts::new(
                "http2_errors_total",
                "HTTP/2 connections ended for a fault of the peer.",
            )
            .namespace(OWN_NAMESPACE),
            &["reason"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(http2_errors.clone()))?;
        let too_large = IntCounter::with_opts(
            Opts::new(
                "http_headers_too_large_total",
                "Requests answered 431 for their headers.",
            )
            .namespace(OWN_NAMESPACE),
        )?;
        registry.register(Box::new(too_large.clone()))?;
        Ok(Self {
            requests,
            too_large,
            http2_errors,
            counting,
        })
    }

    /// A request was refused before it had a path.
    fn too_large(&self) {
        self.too_large.inc();
    }

    fn count(&self, path: &str, method: &Method, status: u16) {
        if self.counting {
            // Names outside the standard are chosen by clients.
            let known = METHODS.contains(method);
            let method = if known { method.as_str() } else { "UNKNOWN" };
            let labels = [path, method, &status.to_string()];
            self.requests.with_label_values(&labels).inc();
        }
    }
}

/// What an HTTP listener serves.
#[derive(Debug)]
pub(super) struct Site {
    /// Handlers by path.
    pub(super) paths: Paths,
    /// gRPC on the same port (`centripetal.grpc.shared`).
    pub(super) grpc: Option<Router>,
    /// HTTP/2 without TLS as well, for requests that are no gRPC (`http_server.h2c_external`).
    pub(super) h2c: bool,
    /// Counter of requests.
    pub(super) metrics: Metrics,
    /// Longest wait for the first request of a connection.
    pub(super) patience: Duration,
    /// Settings of HTTP/2 connections.
    pub(super) http2: Http2,
}

impl Site {
    /// Where no handshake has settled it: is the generation of HTTP read off the first bytes? Otherwise it is HTTP/1.
    const fn finds_out(&self) -> bool {
        self.grpc.is_some() || self.h2c
    }

    /// Answers one request.
    async fn answer(
        self: Arc<Self>,
        remote: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Response {
        if let Some(refusal) = self.http2.refusal(&request) {
            return refusal;
        }
        if let Some(grpc) = self
            .grpc
            .as_ref()
            .filter(|_| grpc::is_grpc(request.headers()))
        {
            return call(grpc.clone(), request).await;
        }
        name_host(&mut request);
        let found = match self.paths.find(request.uri().path()) {
            Lookup::Handler(found) => found,
            Lookup::Redirect(to) => return unwanted(request, redirect(&to)).await,
            Lookup::Nothing => return unwanted(request, not_found()).await,
        };
        let start = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let addr = tracing::enabled!(tracing::Level::DEBUG).then(|| address(&request, remote));
        let response = call(found.router.clone(), request).await;
        let status = response.status().as_u16();
        self.metrics.count(&found.pattern, &method, status);
        tracing::debug!(%method, status, path, addr, duration = ?start.elapsed(), "http request");
        response
    }
}

/// Answers a request that nobody wants, on HTTP/2 when it has ended.
async fn unwanted(request: Request<Incoming>, answer: Response) -> Response {
    if request.version() == Version::HTTP_2 {
        drained(request.into_body()).await;
    }
    answer
}

/// Calls a router, which cannot fail.
async fn call(router: Router, request: Request<Incoming>) -> Response {
    let answered: Result<_, Infallible> = router.oneshot(request).await;
    answered.unwrap_or_else(|never| match never {})
}

/// Where a request came from, in the words of its headers.
fn address<B>(request: &Request<B>, remote: SocketAddr) -> String {
    let headers: &HeaderMap = request.headers();
    let named = headers
        .get("x-real-ip")
        .or_else(|| headers.get("x-forwarded-for"));
    match named.and_then(|value| value.to_str().ok()) {
        Some(named) => named.to_owned(),
        None => remote.to_string(),
    }
}

/// HTTP/2 names the host in the address; handlers find it where HTTP/1 has it.
fn name_host<B>(request: &mut Request<B>) {
    if request.version() == Version::HTTP_2
        && !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// One connection's view of a site.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    site: Arc<Site>,
    arrival: Arrival,
    limits: Limits,
}

impl hyper::service::Service<Request<Incoming>> for Visit {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.limits.mark(&mut request);
        self.arrival.mark(request.extensions_mut());
        let handover = Handover::suits(&request).then(|| self.limits.handover.clone());
        let answer = self.site.clone().answer(self.arrival.remote, request);
        Box::pin(async move {
            let response = answer.await;
            match handover {
                None => Ok(response),
                Some(handover) => handover.offer(response).await,
            }
        })
    }
}

#[cfg(test)]
mod tests;
