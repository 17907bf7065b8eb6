//! Who may open a connection: reads metadata or headers before a stream or an upgrade reaches its service
//! (gateway.md 2).
//!
//! [`CredentialsLayer`] puts [`Credentials`] into the extensions of the request, or refuses: over gRPC with
//! UNAUTHENTICATED and a `disconnect` trailer, over HTTP with a [`Refused`] mark, so that the transport can close in
//! its own way. [`ApiKeyGuard`] guards the server API. The only file here that knows tonic. Sees no payload.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    server::NamedService,
    service::Interceptor,
};
use tower::{Layer, Service};

use super::{
    Authenticator, HEADER, HeaderValues, Kind, LEGACY_HEADERS, Reason, Refusal, api_key::ApiKey,
};
use crate::model::{Certified, Channel, ClientError, Credentials, Disconnect, Now, Refused};

/// Trailer with code, reason and whether to reconnect (client-protocol.md 6.2).
const TRAILER: &str = "disconnect";

/// What kind of service is behind the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// gRPC streams: a refusal ends the call.
    Grpc,
    /// HTTP upgrades and requests: a refusal is left to the transport as a [`Refused`] mark.
    Http,
}

/// What is read, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is behind the layer.
    pub surface: Surface,
    /// `Authorization: Bearer` is a connection token. On HTTP only with `centripetal.http.bearer`, nowhere while a
    /// connect proxy forwards that header.
    pub bearer: bool,
    /// Refuse requests without credentials (`centripetal.grpc.require_credentials`).
    pub required: bool,
}

/// Wraps a service with [`CredentialsService`].
#[derive(Clone, Debug)]
pub struct CredentialsLayer {
    auth: Authenticator,
    options: Options,
}

/// Verifies the credentials of a request before the inner service sees it.
#[derive(Clone, Debug)]
pub struct CredentialsService<S> {
    inner: S,
    auth: Authenticator,
    options: Options,
}

/// A request that must not go on, and what to tell.
#[derive(Debug)]
struct Stop {
    disconnect: Disconnect,
    refusal: Option<Refusal>,
}

impl CredentialsLayer {
    /// A layer for services of one kind.
    #[must_use]
    pub const fn new(auth: Authenticator, options: Options) -> Self {
        Self { auth, options }
    }
}

impl<S> Layer<S> for CredentialsLayer {
    type Service = CredentialsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CredentialsService {
            inner,
            auth: self.auth.clone(),
            options: self.options,
        }
    }
}

impl<S: NamedService> NamedService for CredentialsService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for CredentialsService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let (auth, mut options) = (self.auth.clone(), self.options);
        // Row 3 was the listener's; it is enough where something is demanded.
        options.required &= request.extensions().get::<Certified>().is_none();
        Box::pin(async move {
            if request.extensions().get::<Credentials>().is_none() {
                let now = Now::at(tokio::time::Instant::now().into_std());
                match identify(&auth, options, request.headers(), &now).await {
                    Ok(Some(credentials)) => {
                        request.extensions_mut().insert(credentials);
                    }
                    Ok(None) => {}
                    Err(stop) => {
                        stop.log(&auth, &now);
                        if options.surface == Surface::Grpc {
                            return Ok(stop.status().into_http());
                        }
                        request.extensions_mut().insert(Refused(stop.disconnect));
                    }
                }
            }
            auth.hide(request.headers_mut());
            inner.call(request).await
        })
    }
}

impl Authenticator {
    /// Nobody behind the layer sees credentials that were read here, nor forwards them.
    fn hide(&self, headers: &mut HeaderMap) {
        if self.reads_hmac() {
            for name in std::iter::once(HEADER).chain(LEGACY_HEADERS) {
                while headers.remove(name).is_some() {}
            }
        }
    }
}

/// Rows 1, 2 and 4 of gateway.md 2. Row 0 was looked at before, as was row 3, which the policy weighs against a token.
async fn identify(
    auth: &Authenticator,
    options: Options,
    headers: &HeaderMap,
    now: &Now,
) -> Result<Option<Credentials>, Stop> {
    let bearer = if options.bearer {
        bearer(headers).map_err(|reason| auth.refuse(Kind::Jwt, reason))?
    } else {
        None
    };
    let presented = auth.find_in_request(|name| values(headers, name))?;
    let token = match (bearer, presented) {
        (Some(_), Some(_)) => return Err(auth.refuse(Kind::H1, Reason::Places).into()),
        (Some(token), None) => auth.jwt(token, now, &anywhere).await?,
        (None, Some(presented)) => auth.presented(&presented, now)?,
        (None, None) if options.required => {
            return Err(Stop {
                disconnect: Disconnect::BAD_REQUEST,
                refusal: None,
            });
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Credentials {
        user: token.user,
        expire_at: token.expire_at,
        info: token.info,
    }))
}

/// [`Credentials`] carry no channels, so it does not matter here whether those of a token exist.
#[expect(clippy::unnecessary_wraps, reason = "has the type of a lookup")]
fn anywhere(_: &Channel) -> Result<std::sync::Arc<crate::model::ChannelOptions>, ClientError> {
    Ok(std::sync::Arc::default())
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> HeaderValues<'a> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().ok()).collect()
}

/// The token of a bearer authorization; other schemes are not credentials.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut found = None;
    for value in headers.get_all(AUTHORIZATION) {
        let Some((scheme, rest)) = value.as_bytes().split_at_checked(6) else {
            continue;
        };
        if !scheme.eq_ignore_ascii_case(b"bearer") || !matches!(rest.first(), None | Some(b' ')) {
            continue;
        }
        let token = std::str::from_utf8(rest).map_err(|_not_shown| Reason::Malformed)?;
        if found.replace(token.trim()).is_some() {
            return Err(Reason::Places);
        }
    }
    Ok(found)
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let disconnect = match refusal.reason {
            Reason::Unavailable => Disconnect::SERVER_ERROR,
            _ => refusal.disconnect(),
        };
        Self {
            disconnect,
            refusal: Some(refusal),
        }
    }
}

impl Stop {
    fn log(&self, auth: &Authenticator, now: &Now) {
        let Some(refusal) = self.refusal else {
            return;
        };
        // Expired ones are the normal course of things.
        if refusal.reason != Reason::Expired && auth.may_log(refusal.reason, now) {
            tracing::info!(error = %refusal, "invalid connection token");
        }
    }

    fn status(&self) -> Status {
        let Disconnect { code, reason } = &self.disconnect;
        let mut status = if self.disconnect == Disconnect::SERVER_ERROR {
            Status::unavailable("unavailable")
        } else {
            Status::unauthenticated("unauthenticated")
        };
        let text = serde_json::json!({
            "code": code,
            "reason": reason,
            "reconnect": self.disconnect.reconnect(),
        });
        if let Ok(value) = AsciiMetadataValue::try_from(text.to_string()) {
            status.metadata_mut().insert(TRAILER, value);
        }
        status
    }
}

/// Guards the gRPC server API: every call carries the key, or there is none (server-api.md 2.2).
#[derive(Clone, Debug)]
pub struct ApiKeyGuard(Option<ApiKey>);

impl ApiKeyGuard {
    /// Without a key everybody passes.
    #[must_use]
    pub const fn new(key: Option<ApiKey>) -> Self {
        Self(key)
    }

    fn admits(&self, metadata: &MetadataMap) -> bool {
        let Some(key) = &self.0 else {
            return true;
        };
        let first = metadata.get(AUTHORIZATION.as_str());
        first
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| key.matches_metadata(value))
    }
}

impl Interceptor for ApiKeyGuard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if self.admits(request.metadata()) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("unauthenticated"))
        }
    }
}

#[cfg(test)]
mod tests;
