//! The demo page of `centripetal dev`, embedded, and the guard that keeps websites away from a development server.
//!
//! Serves files and hands out sessions (a made-up user with a token); knows nothing of connections or channels beyond the
//! name the page begins with. Never part of a server that was not started by `centripetal dev`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};

use crate::model::Secret;

mod guard;
mod session;

pub(crate) use guard::{Guard, Origin, only_own_names};

/// Channel the page begins with.
pub(crate) const CHANNEL: &str = "demo";

/// How long a token of the page is good; the page fetches another one by itself.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the page needs to know of the server it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Demo {
    /// Signs the tokens of the page: `client.token.hmac_secret_key` of the server.
    pub(crate) token_secret: Secret,
    /// Port of the gRPC stream, for the commands the page shows.
    pub(crate) grpc_port: u16,
}

/// The page at `/`, its files, and `/dev/session`. Belongs behind the [`Guard`], as all of a development server.
pub(crate) fn router(demo: Demo) -> Router {
    let mut router = Router::new().route("/dev/session", get(new_session));
    for asset in &ASSETS {
        router = router.route(asset.path, get(move || async move { asset.response() }));
    }
    router.with_state(Arc::new(demo))
}

async fn new_session(State(demo): State<Arc<Demo>>, request: Request) -> Response {
    let wanted = request.uri().query().and_then(|query| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == "user").map(|(_, user)| user)
    });
    match session::new(&demo, wanted) {
        Ok(json) => respond("application/json", "no-store", Body::from(json)),
        Err(error) => {
            tracing::error!(%error, "no session for the demo page");
            let mut failed = Response::new(Body::empty());
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            failed
        }
    }
}

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 9] = [
    Asset {
        path: "/",
        kind: "text/html; charset=utf-8",
        text: include_str!("index.html"),
    },
    Asset {
        path: "/style.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("style.css"),
    },
    Asset {
        path: "/app.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("app.js"),
    },
    Asset {
        path: "/line.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("line.js"),
    },
    Asset {
        path: "/sockjs.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("sockjs.js"),
    },
    Asset {
        path: "/sockjs.LICENSE",
        kind: "text/plain; charset=utf-8",
        text: include_str!("sockjs.LICENSE"),
    },
    Asset {
        path: "/icon.svg",
        kind: "image/svg+xml",
        text: include_str!("icon.svg"),
    },
    Asset {
        path: "/centrifuge.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("centrifuge.js"),
    },
    Asset {
        path: "/centrifuge.LICENSE",
        kind: "text/plain; charset=utf-8",
        text: include_str!("centrifuge.LICENSE"),
    },
];

impl Asset {
    fn response(&self) -> Response {
        respond(self.kind, "no-cache", Body::from(self.text))
    }
}

/// Nothing from elsewhere, nothing inline, no frames around the page; what it connects to is where it came from, which `'self'`
/// covers: the same host and port, with `ws` for `http` and `wss` for `https`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn respond(kind: &'static str, cache: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str) -> (StatusCode, http::HeaderMap, String) {
        let demo = Demo {
            token_secret: Secret::from("secret"),
            grpc_port: 8001,
        };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(demo).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (parts.status, parts.headers, text)
    }

    #[tokio::test]
    async fn every_file_the_page_names_is_served() {
        let (status, headers, page) = ask("/").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let named: Vec<&str> = page
            .split(['"', '\''])
            .filter(|text| text.starts_with('/'))
            .collect();
        assert!(
            named.contains(&"/app.js") && named.contains(&"/centrifuge.LICENSE"),
            "{named:?}"
        );
        for path in named {
            let (status, _, text) = ask(path).await;
            assert_eq!((status, text.is_empty()), (StatusCode::OK, false), "{path}");
        }
    }

    #[tokio::test]
    async fn page_needs_nothing_from_elsewhere_and_nothing_inline() {
        let (_, headers, page) = ask("/").await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        for forbidden in ["http://", "https://", "<style", " style=", " onclick="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".css")) {
            assert!(!asset.text.contains("url("), "{}", asset.path);
        }
        let own = concat!(include_str!("app.js"), include_str!("line.js"));
        assert!(
            !policy.contains("ws:"),
            "its own origin is enough: {policy}"
        );
        assert!(!own.contains("innerHTML") && !own.contains("eval("));
    }

    #[tokio::test]
    async fn sessions_are_not_kept_by_anybody() {
        let (status, headers, _) = ask("/dev/session").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
