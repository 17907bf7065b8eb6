//! The small endpoints of server-api.md 14 that need nothing but themselves: health and the connection helper.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::Response,
};
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::limits::ConnectionLimits;
use crate::{node::Node, transport::Origins};

/// Sections `health` and `init`: a switch and a path.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
}

/// Longest time the engine may take to say that it is there.
const ENGINE: Duration = Duration::from_secs(2);

/// Says whether this node should get clients: 200 while its engine answers, 503 otherwise, and from the first step of the
/// drain.
pub fn readiness(node: Node, stopping: CancellationToken) -> Router {
    let answer = move || async move {
        let mut answer = empty_object("application/json");
        if stopping.is_cancelled() || !answers(&node).await {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    };
    Router::new().fallback(answer)
}

async fn answers(node: &Node) -> bool {
    match timeout(ENGINE, node.ready()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready, the engine fails");
            false
        }
        Err(_elapsed) => {
            tracing::warn!("not ready, the engine does not answer");
            false
        }
    }
}

/// Says that the process serves HTTP, to any method.
pub fn health() -> Router {
    Router::new().fallback(|| async { empty_object("application/json") })
}

/// Answers `{}` so that load balancers can set cookies and clients warm up connections.
pub fn init(limits: &Arc<ConnectionLimits>, origins: Arc<Origins>) -> Router {
    let answer = Router::new().fallback(answer).with_state(origins);
    // The method is looked at before the limits.
    limits.guard(answer).layer(from_fn(only_get))
}

async fn only_get(request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let mut refusal = Response::new(Body::empty());
    *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    refusal
}

async fn answer(State(origins): State<Arc<Origins>>, request: Request) -> Response {
    let mut response = empty_object("application/json; charset=utf-8");
    response
        .headers_mut()
        .extend(origins.cors(request.headers()));
    response
}

fn empty_object(kind: &'static str) -> Response {
    answer_with(kind, "{}")
}

fn answer_with(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use http::header::ORIGIN;
    use prometheus::Registry;
    use tower::ServiceExt;

    use super::*;
    use crate::server::limits;

    fn limited(connection_limit: usize) -> Arc<ConnectionLimits> {
        let config = limits::Config {
            connection_limit,
            connection_rate_limit: 0,
        };
        Arc::new(ConnectionLimits::new(config, &Registry::new(), "c", || 1).unwrap())
    }

    async fn ask(router: Router, method: Method, origin: &'static str) -> Response {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        request
            .headers_mut()
            .insert(ORIGIN, HeaderValue::from_static(origin));
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn init_answers_as_recorded() {
        let origins = Arc::new(Origins::new(&["http://app.example.com".to_owned()]).unwrap());
        let free = || init(&limited(0), origins.clone());
        let answer = ask(free(), Method::GET, "http://app.example.com").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()[CONTENT_TYPE],
            "application/json; charset=utf-8"
        );
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "http://app.example.com"
        );
        let answer = ask(free(), Method::GET, "http://evil.example.org").await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        for method in [Method::POST, Method::OPTIONS, Method::HEAD] {
            let answer = ask(free(), method, "http://app.example.com").await;
            assert_eq!(answer.status(), 405);
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
        let full = init(&limited(1), origins);
        assert_eq!(ask(full.clone(), Method::GET, "").await.status(), 503);
        assert_eq!(ask(full, Method::OPTIONS, "").await.status(), 405);
    }

    #[tokio::test]
    async fn health_answers_any_method() {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = ask(health(), method, "http://evil.example.org").await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        }
    }
}
