//! The interface of operators: the embedded page, a folder (`admin.web_path`), or another server
//! (`admin.web_proxy_address`). Hands out files; knows no session.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{self, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
    },
    response::Response,
};
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::AdminConfig;

/// Longest wait for another server to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no interface.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address of a server.
    #[error("admin.web_proxy_address is no address: write http://HOST:PORT or https://HOST:PORT")]
    Address,
    /// The client for it cannot be made.
    #[error("no client for admin.web_proxy_address")]
    Client(#[from] reqwest::Error),
}

/// Where files come from.
#[derive(Debug)]
pub(super) enum Interface {
    Embedded,
    Folder(ServeDir),
    Server(reqwest::Client, String),
}

/// A file of the embedded page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($path:literal $kind:literal $file:literal),* $(,)?) => {
        [$(Asset {
            path: $path,
            kind: $kind,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/admin/", $file)),
        }),*]
    };
}

const ASSETS: [Asset; 8] = assets![
        "/" "text/html; charset=utf-8" "index.html",
        "/style.css" "text/css; charset=utf-8" "style.css",
        "/app.js" "text/javascript; charset=utf-8" "app.js",
        "/charts.js" "text/javascript; charset=utf-8" "charts.js",
        "/icon.svg" "image/svg+xml" "icon.svg",
        "/uplot.js" "text/javascript; charset=utf-8" "uplot.js",
        "/uplot.css" "text/css; charset=utf-8" "uplot.css",
        "/uplot.LICENSE" "text/plain; charset=utf-8" "uplot.LICENSE",
];

/// Nothing from elsewhere, nothing inline, no frames around the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Interface {
    pub(super) fn new(config: &AdminConfig) -> Result<Self, Error> {
        if !config.web_proxy_address.is_empty() {
            let address = config.web_proxy_address.trim_end_matches('/');
            let uri: Uri = address.parse().map_err(|_odd| Error::Address)?;
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            if !known || uri.host().is_none_or(str::is_empty) {
                return Err(Error::Address);
            }
            let client = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(PATIENCE)
                .read_timeout(PATIENCE)
                .build()?;
            return Ok(Self::Server(client, address.to_owned()));
        }
        Ok(match config.web_path.as_str() {
            "" => Self::Embedded,
            folder => Self::Folder(ServeDir::new(folder)),
        })
    }

    pub(super) async fn answer(&self, request: Request) -> Response {
        match self {
            Self::Embedded => embedded(request.uri().path()),
            Self::Folder(_) if request.uri().path().ends_with("/index.html") => to_folder(),
            Self::Folder(folder) => match folder.clone().oneshot(request).await {
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => not_found(),
                Ok(answer) => answer.map(Body::new),
                Err(never) => match never {},
            },
            Self::Server(client, address) => proxied(client, address, request).await,
        }
    }
}

fn embedded(path: &str) -> Response {
    if path == "/index.html" {
        return to_folder();
    }
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return not_found();
    };
    let mut response = Response::new(Body::from(asset.text));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The page has one address.
fn to_folder() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let here = HeaderValue::from_static("./");
    response.headers_mut().insert(LOCATION, here);
    response
}

/// The answer where nothing is.
pub(super) fn not_found() -> Response {
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Headers that belong to one connection (RFC 9110 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

fn without_hops(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

async fn proxied(client: &reqwest::Client, address: &str, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    without_hops(&mut parts.headers);
    parts.headers.remove(header::HOST);
    let Ok(body) = axum::body::to_bytes(body, super::LARGEST_FORM).await else {
        return super::http::text(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let asked = client
        .request(parts.method, format!("{address}{path}"))
        .headers(parts.headers)
        .body(body)
        .send()
        .await;
    match asked {
        Ok(answer) => {
            let answer: axum::http::Response<reqwest::Body> = answer.into();
            let mut answer = answer.map(Body::new);
            without_hops(answer.headers_mut());
            answer
        }
        Err(error) => {
            tracing::error!(error = %error.without_url(), "admin.web_proxy_address does not answer");
            super::http::text(StatusCode::BAD_GATEWAY)
        }
    }
}
