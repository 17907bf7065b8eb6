//! Keeps websites away from a development server: only requests that name it by one of its own names are served.
//!
//! A website whose name was pointed at 127.0.0.1 has its own name in `Host`, whatever its browser connects to; a website
//! under its own address has it in `Origin`, which the transports check against `client.allowed_origins`. Both lists are
//! one: a front is named once, as an origin.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};

/// The address of a front as browsers write it into `Origin`: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// A text that names no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it as the browser does: https://HOST or https://HOST:PORT, without a path or wildcards"
)]
pub(crate) struct NoOrigin;

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let (scheme, rest) = text.split_once("://").ok_or(NoOrigin)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(NoOrigin),
        };
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, own_port(port).ok_or(NoOrigin)?),
            None => (rest, scheme.port()),
        };
        // Letters, digits, hyphens and dots: nothing that is a pattern where origins are compared.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(NoOrigin);
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.name(), self.host)?;
        if self.port != self.scheme.port() {
            write!(out, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl Origin {
    /// Does a `Host` header mean this origin? Fronts leave the port of their scheme out or write it.
    fn is_named_by(&self, host: &str) -> bool {
        let Ok(named) = host.parse::<Authority>() else {
            return false;
        };
        let port = match host.rsplit_once(':') {
            Some((_, port)) => own_port(port),
            None => Some(self.scheme.port()),
        };
        !host.contains('@')
            && named.host().eq_ignore_ascii_case(&self.host)
            && port == Some(self.port)
    }
}

/// A port in digits; not 0, which nobody listens on.
fn own_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|port| *port > 0)
}

/// The names under which a development server answers: this machine's, and those of its fronts.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    fronts: Arc<[Origin]>,
}

impl Guard {
    /// Takes the origins that may open connections (`client.allowed_origins`); what is a pattern there names no host.
    pub(crate) fn new(allowed: &[String]) -> Self {
        let origins = allowed.iter().filter_map(|origin| origin.parse().ok());
        Self {
            fronts: origins.collect(),
        }
    }

    fn admits(&self, host: &str) -> bool {
        is_loopback(host) || self.fronts.iter().any(|front| front.is_named_by(host))
    }
}

/// Middleware: refuses requests that name another host (403). Belongs around everything `dev` serves.
pub(crate) async fn only_own_names(
    State(guard): State<Guard>,
    request: Request,
    next: Next,
) -> Response {
    let named = request.headers().get(header::HOST);
    let host = match named {
        Some(host) => host.to_str().ok(),
        // HTTP/2 has it in the address.
        None => request
            .uri()
            .authority()
            .map(|authority| authority.as_str()),
    };
    if host.is_some_and(|host| guard.admits(host)) {
        return next.run(request).await;
    }
    let mut refused = Response::new(Body::from(
        "this server answers to localhost only; `centripetal dev --origin` names further addresses\n",
    ));
    *refused.status_mut() = StatusCode::FORBIDDEN;
    refused
}

/// `localhost`, `127.0.0.1` or `[::1]`, with any port or none: it may be forwarded.
fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        let Some(prefix) = host.get(..name.len()) else {
            return false;
        };
        let rest = &host[name.len()..];
        let port = rest.strip_prefix(':');
        prefix.eq_ignore_ascii_case(name)
            && (rest.is_empty()
                || port.is_some_and(|port| {
                    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
                }))
    })
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn_with_state, routing::any};
    use tower::ServiceExt as _;

    use super::*;

    /// What a guarded server answers to a request for this address with this `Host`.
    async fn ask(allowed: &[&str], uri: &str, host: Option<&str>) -> StatusCode {
        let allowed: Vec<String> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        let guard = from_fn_with_state(Guard::new(&allowed), only_own_names);
        let router = Router::new()
            .fallback(any(|| async { "served" }))
            .layer(guard);
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    const FRONTS: [&str; 2] = ["http://localhost:8000", "https://chat.example.com:8443"];

    #[tokio::test]
    async fn other_hosts_are_refused() {
        for host in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io:8000",
            "localhost:x",
            "localhost:",
            "",
            "[::1",
            "chat.example.com",
            "chat.example.com:443",
            "chat.example.com:8443x",
            "x@chat.example.com:8443",
            "evil.chat.example.com:8443",
            "chat.example.com.evil.com:8443",
        ] {
            let status = ask(&FRONTS, "/", Some(host)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{host}");
        }
    }

    #[tokio::test]
    async fn this_machine_and_named_fronts_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1",
            "127.0.0.1:9",
            "[::1]",
            "[::1]:8000",
            "chat.example.com:8443",
            "Chat.Example.COM:8443",
        ] {
            assert_eq!(
                ask(&FRONTS, "/", Some(host)).await,
                StatusCode::OK,
                "{host}"
            );
        }
        let unnamed = ask(&["http://localhost:8000"], "/", Some(FRONTS[1])).await;
        assert_eq!(unnamed, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn port_of_the_scheme_may_be_left_out() {
        for host in ["example.com", "example.com:443"] {
            let status = ask(&["https://example.com"], "/", Some(host)).await;
            assert_eq!(status, StatusCode::OK, "{host}");
            let other = ask(&["http://example.com:8080"], "/", Some(host)).await;
            assert_eq!(other, StatusCode::FORBIDDEN, "{host}");
        }
    }

    #[tokio::test]
    async fn patterns_name_no_host() {
        for pattern in ["*", "https://*.example.com", "https://*"] {
            let status = ask(&[pattern], "/", Some("a.example.com")).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{pattern}");
        }
    }

    #[tokio::test]
    async fn http2_names_the_host_in_its_address() {
        for (uri, status) in [
            ("http://localhost:8000/", StatusCode::OK),
            ("https://chat.example.com:8443/", StatusCode::OK),
            ("http://example.com/", StatusCode::FORBIDDEN),
            ("/", StatusCode::FORBIDDEN),
        ] {
            assert_eq!(ask(&FRONTS, uri, None).await, status, "{uri}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        for (text, written) in [
            ("https://localhost:8443", "https://localhost:8443"),
            ("HTTPS://Example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://10.0.0.5:80", "http://10.0.0.5"),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), written);
        }
        for odd in [
            "",
            "example.com",
            "wss://example.com",
            "https://",
            "https://:8443",
            "https://example.com/",
            "https://example.com:",
            "https://example.com:0",
            "https://example.com:70000",
            "https://*.example.com",
            "https://a@example.com",
            "https://[::1]:8443",
        ] {
            assert_eq!(odd.parse::<Origin>(), Err(NoOrigin), "{odd}");
        }
    }
}
