//! What operators see in a browser (server-api.md 13): a page, a password, and the server API behind the page's sessions.
//!
//! Knows no method of the API and decides nothing about channels; the page calls the same commands as everybody. The key
//! of the API opens nothing here, and a session of the page opens nothing elsewhere.

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State},
    http::{
        HeaderMap, HeaderValue, Method as Verb, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
        request::Parts,
    },
    response::Response,
    routing::any,
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use self::{attempts::Attempts, interface::Interface, session::Sessions};
use super::{Api, forged::is_forged, http};
use crate::model::{Now, Secret};

mod attempts;
mod interface;
mod session;

pub use interface::Error;

/// Longest body of a request for a session, bytes.
const LARGEST_FORM: usize = 1 << 20;
/// Header value of what sessions are told as.
const WORD: &str = "token";

/// Options `admin.*` (config.md 8.25).
#[derive(Clone, Debug, Deserialize)]
pub struct AdminConfig {
    /// Switched on; whoever mounts the router looks at it.
    pub enabled: bool,
    /// Path prefix; trailing slashes do not count.
    pub handler_prefix: String,
    /// Password of the operator; without one nobody gets a session.
    pub password: Secret,
    /// Signs sessions; without one nobody gets a session.
    pub secret: Secret,
    /// Everybody is an operator.
    pub insecure: bool,
    /// Folder with another interface.
    pub web_path: String,
    /// Address of another interface, `http` or `https`.
    pub web_proxy_address: String,
    /// Serve on the external listener; whoever mounts the router looks at it.
    pub external: bool,
}

/// Finds out who sent a request, so that guesses are counted by address.
pub type AddressOf = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

struct Admin {
    api: Api,
    password: Secret,
    sessions: Sessions,
    insecure: bool,
    attempts: Attempts,
    address: AddressOf,
    interface: Interface,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Answer to `/admin/init`.
#[derive(Serialize)]
struct Init {
    insecure: bool,
    edition: &'static str,
    authenticated: bool,
}

/// Answer to a right password.
#[derive(Serialize)]
struct Granted {
    token: String,
}

/// The tree of paths below the prefix.
///
/// # Errors
/// When the address of another interface is none, or no client for it can be made.
pub fn router(api: Api, config: &AdminConfig, address: AddressOf) -> Result<Router, Error> {
    let prefix = config.handler_prefix.trim_end_matches('/');
    let admin = Arc::new(Admin {
        api,
        password: config.password.clone(),
        sessions: Sessions::new(&config.secret, &config.password),
        insecure: config.insecure,
        attempts: Attempts::default(),
        address,
        interface: Interface::new(config)?,
    });
    let paths = Router::new()
        .route("/admin/init", any(init))
        .route("/admin/auth", any(authenticate))
        .route("/admin/api", any(call))
        .route("/admin/", any(nothing))
        .route("/admin/{*rest}", any(nothing))
        .fallback(page)
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .with_state(admin);
    if prefix.is_empty() {
        return Ok(paths);
    }
    // `nest` would leave the prefix with its slash to nobody.
    let below = prefix.to_owned();
    Ok(Router::new().fallback(async move |mut request: Request| {
        strip(&mut request, &below);
        tower::ServiceExt::oneshot(paths, request).await
    }))
}

/// Takes the prefix from the path.
fn strip(request: &mut Request, prefix: &str) {
    let uri = request.uri();
    let rest = uri.path_and_query().map_or("/", |path| path.as_str());
    let rest = rest.strip_prefix(prefix).unwrap_or(rest);
    if let Ok(uri) = rest.parse() {
        *request.uri_mut() = uri;
    }
}

async fn init(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let answer = Init {
        insecure: admin.insecure,
        edition: "oss",
        authenticated: admin.allows(request.headers()),
    };
    line(&answer)
}

async fn authenticate(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    if request.method() != Verb::POST {
        return http::bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    let (parts, body) = request.into_parts();
    let now = Instant::now().into_std();
    let address = (admin.address)(&parts);
    if let Some(wait) = admin.attempts.refused(address, now) {
        tracing::warn!(?address, "too many wrong passwords of an operator");
        let mut refusal = http::text(StatusCode::TOO_MANY_REQUESTS);
        let wait = HeaderValue::from(wait.as_secs() + 1);
        refusal.headers_mut().insert(RETRY_AFTER, wait);
        return refusal;
    }
    let given = password(Request::from_parts(parts, body)).await;
    let right = given.is_some_and(|given| admin.is_password(&given));
    if !right {
        admin.attempts.failed(address, now);
        tracing::warn!(?address, "wrong password of an operator");
        return http::text(StatusCode::BAD_REQUEST);
    }
    admin.attempts.passed(address);
    tracing::info!(?address, "operator signed in");
    match admin.sessions.open(Now::at(now)) {
        Some(token) => line(&Granted { token }),
        None => http::text(StatusCode::BAD_REQUEST),
    }
}

async fn call(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    if request.method() != Verb::POST {
        return http::bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !admin.allows(request.headers()) {
        return http::bare(StatusCode::UNAUTHORIZED);
    }
    if admin.insecure && is_forged(request.headers()) {
        tracing::warn!("operator's call of a foreign page refused");
        return http::bare(StatusCode::FORBIDDEN);
    }
    let body = match http::read(&admin.api, request.into_body()).await {
        Ok(body) => body,
        Err(code) => return http::text(code),
    };
    http::legacy(&admin.api, &body).await
}

async fn page(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    admin.interface.answer(request).await
}

async fn nothing() -> Response {
    interface::not_found()
}

impl Admin {
    /// Whether a request comes from an operator.
    fn allows(&self, headers: &HeaderMap) -> bool {
        if self.insecure {
            return true;
        }
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((word, token)) = given.and_then(|given| given.split_once(' ')) else {
            return false;
        };
        let now = Now::at(Instant::now().into_std());
        word.eq_ignore_ascii_case(WORD) && self.sessions.holds(token, now)
    }

    /// Compared in constant time. Without a password, or a secret for sessions, nothing is right.
    fn is_password(&self, given: &[u8]) -> bool {
        let right: bool = self.password.expose().as_bytes().ct_eq(given).into();
        right && !self.password.is_empty() && self.sessions.possible()
    }
}

/// The field `password` of a form, or else of the query.
async fn password(request: Request) -> Option<Bytes> {
    let field = |form: &[u8]| {
        let mut fields = url::form_urlencoded::parse(form);
        let found = fields.find(|(name, _)| name == "password");
        found.map(|(_, value)| Bytes::from(value.into_owned()))
    };
    let query = request
        .uri()
        .query()
        .and_then(|query| field(query.as_bytes()));
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let sent = match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => {
            let body = Bytes::from_request(request, &()).await.ok()?;
            field(&body)
        }
        "multipart/form-data" => {
            let mut form = Multipart::from_request(request, &()).await.ok()?;
            let mut found = None;
            while let Some(part) = form.next_field().await.ok()? {
                if part.name() == Some("password") && found.is_none() {
                    found = Some(part.bytes().await.ok()?);
                }
            }
            found
        }
        _ => None,
    };
    sent.or(query)
}

/// A JSON object and a newline.
fn line(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(mut body) => {
            body.push(b'\n');
            http::json(StatusCode::OK, body)
        }
        Err(error) => {
            tracing::error!(%error, "error encoding an answer for operators");
            http::bare(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests;
