//! Limits on new connections (server-api.md 15.2): how many there may be, and how many may come in a second.
//!
//! Comes before everything else, so a refusal over HTTP has an empty body and no CORS headers; over gRPC it is UNAVAILABLE.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use prometheus::{IntCounter, Opts, Registry};
use serde::Deserialize;
use tokio::time::Instant;
use tonic::{Status, server::NamedService};
use tower::Service;

/// Pause between two warnings about the limit.
const QUIET: Duration = Duration::from_secs(3);

/// What the limits read of the section `client`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Config {
    /// Connections of this node; 0 for no limit.
    pub connection_limit: usize,
    /// New connections in a second; 0 for no limit.
    pub connection_rate_limit: usize,
}

#[derive(Debug)]
struct Bucket {
    /// Connections that may come at once.
    tokens: f64,
    /// When `tokens` was counted.
    at: Option<Instant>,
    warned: Option<Instant>,
}

/// Counts and refuses connections.
pub struct ConnectionLimits {
    most: AtomicUsize,
    per_second: AtomicUsize,
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    refused: IntCounter,
    state: Mutex<Bucket>,
}

impl fmt::Debug for ConnectionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimits")
            .field("most", &self.most)
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

impl ConnectionLimits {
    /// Makes the limits and registers their counter. `connections` tells how many the node has now.
    ///
    /// # Errors
    /// When the name of the counter is taken in the registry.
    pub fn new(
        config: Config,
        registry: &Registry,
        namespace: &str,
        connections: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Result<Self, prometheus::Error> {
        let refused = IntCounter::with_opts(
            Opts::new(
                "node_client_connection_limit",
                "Connections refused by the limit.",
            )
            .namespace(namespace),
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            most: AtomicUsize::new(config.connection_limit),
            per_second: AtomicUsize::new(config.connection_rate_limit),
            connections: Box::new(connections),
            refused,
            state: Mutex::new(Bucket {
                tokens: 0.0,
                at: None,
                warned: None,
            }),
        })
    }

    /// Takes other limits from now on, after a reload.
    pub fn set(&self, config: Config) {
        self.most.store(config.connection_limit, Ordering::Relaxed);
        self.per_second
            .store(config.connection_rate_limit, Ordering::Relaxed);
    }

    /// Puts the limits in front of a handler.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), check))
    }

    /// May one more connection come?
    fn admit(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if most > 0 && (self.connections)() >= most {
            self.refused.inc();
            self.warn(most);
            return false;
        }
        self.take_token()
    }

    /// A bucket of N tokens, N of which come back in a second.
    fn take_token(&self) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        let Some(size) = u32::try_from(per_second).ok().filter(|size| *size > 0) else {
            return true;
        };
        let (size, now) = (f64::from(size), Instant::now());
        let mut state = self.state.lock();
        let tokens = match state.at {
            Some(at) => (now - at)
                .as_secs_f64()
                .mul_add(size, state.tokens)
                .min(size),
            None => size,
        };
        state.at = Some(now);
        state.tokens = if tokens >= 1.0 { tokens - 1.0 } else { tokens };
        tokens >= 1.0
    }

    fn warn(&self, limit: usize) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.warned.is_none_or(|at| now - at >= QUIET) {
            state.warned = Some(now);
            drop(state);
            tracing::warn!(limit, "node connection limit reached");
        }
    }
}

/// A gRPC service with the limits in front: a call above them is UNAVAILABLE.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    inner: S,
    limits: Arc<ConnectionLimits>,
}

impl<S> Limited<S> {
    /// Puts the limits in front of a service.
    pub fn new(inner: S, limits: Arc<ConnectionLimits>) -> Self {
        Self { inner, limits }
    }
}

impl<S: NamedService> NamedService for Limited<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<http::Request<B>> for Limited<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if self.limits.admit() {
            return Box::pin(self.inner.call(request));
        }
        let refusal = Status::unavailable("too many connections").into_http();
        Box::pin(std::future::ready(Ok(refusal)))
    }
}

async fn check(
    State(limits): State<Arc<ConnectionLimits>>,
    request: Request,
    next: Next,
) -> Response {
    if limits.admit() {
        return next.run(request).await;
    }
    let mut refusal = Response::new(Body::empty());
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    refusal
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    fn limits(connection_limit: usize, connection_rate_limit: usize) -> Arc<ConnectionLimits> {
        let config = Config {
            connection_limit,
            connection_rate_limit,
        };
        let registry = Registry::new();
        Arc::new(ConnectionLimits::new(config, &registry, "centrifugo", || 5).unwrap())
    }

    async fn status(limits: &Arc<ConnectionLimits>) -> u16 {
        let router = limits.guard(Router::new().fallback(|| async { "served" }));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn a_full_node_refuses_with_503() {
        assert_eq!(status(&limits(0, 0)).await, 200);
        assert_eq!(status(&limits(6, 0)).await, 200);
        let full = limits(5, 0);
        assert_eq!(status(&full).await, 503);
        assert_eq!(full.refused.get(), 1);
        full.set(Config {
            connection_limit: 0,
            connection_rate_limit: 0,
        });
        assert_eq!(status(&full).await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_back_at_the_rate() {
        let limits = limits(0, 4);
        let burst = |limits: &ConnectionLimits| (0..10).filter(|_| limits.admit()).count();
        assert_eq!(burst(&limits), 4);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(burst(&limits), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(burst(&limits), 4);
        assert_eq!(limits.refused.get(), 0);
    }
}
