//! Wiring: listeners, the path table, limits, and the order of the end. Contains no rule of protocol or domain.
//!
//! [`Server::bind`] opens what it is given and [`Server::run`] serves until it is told to stop; `main`, tests and embedders
//! stop it the same way, through a [`Stop`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;

use self::entrance::{Admitted, Arrival};
use crate::transport::{
    self, Tasks,
    grpc::{self, Health},
};
use crate::{auth, config, policy, proxy};

mod debug;
mod drain;
mod endpoints;
mod entrance;
mod gateway;
mod h2;
pub mod http;
pub mod limits;
mod listener;
mod process;
mod proxy_protocol;
mod runtime;
mod scrape;
mod signals;
mod spans;
pub mod storage;
pub mod tls;

pub use drain::{Config as ShutdownConfig, Outcome, Steps};
pub use endpoints::{Endpoint, health, init, readiness};
pub use entrance::{Entrance, Metrics as EntranceMetrics};
pub use gateway::{Builder, Gateway, Reload};
pub use listener::BindError;
pub use process::run;
pub use scrape::router as metrics;
pub use signals::{Stop, watch};

/// How often the memory of finished tasks is given back.
const REAP: Duration = Duration::from_secs(1);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A port is taken or a host has no address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Two handlers want one path.
    #[error(transparent)]
    DuplicatePath(#[from] http::DuplicatePath),
    /// A pattern of allowed origins does not compile.
    #[error(transparent)]
    Origins(#[from] transport::InvalidOrigin),
    /// A trusted network is none.
    #[error(transparent)]
    TrustedProxies(#[from] transport::InvalidNetwork),
    /// The page of operators has no source.
    #[error(transparent)]
    Admin(#[from] crate::api::admin::Error),
    /// A metric has a name that is taken.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// The schemas of reflection cannot be read.
    #[error(transparent)]
    Reflection(#[from] grpc::ReflectionError),
    /// The configuration does not fit a module.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// An option switches on what this version does not have.
    #[error(transparent)]
    Missing(#[from] config::Invalid),
    /// Keys, patterns or secrets of tokens are wrong.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// A namespace breaks a rule.
    #[error(transparent)]
    Policy(#[from] policy::Error),
    /// A proxy to the backend cannot be used.
    #[error(transparent)]
    Proxy(#[from] proxy::BuildError),
    /// `client.user_id_http_header` is no header name.
    #[error("client.user_id_http_header is no header name")]
    UserHeader(#[from] ::http::header::InvalidHeaderName),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The storage cannot be used.
    #[error("{place}: {why}")]
    Engine {
        /// The section.
        place: String,
        /// Why not.
        why: crate::engine::redis::Failure,
    },
    /// Traces cannot be exported.
    #[error(transparent)]
    Tracing(#[from] crate::telemetry::otel::Error),
    /// `centripetal.grpc.api` without a key.
    #[error("centripetal.grpc.api needs grpc_api.key")]
    ApiWithoutKey,
    /// Something of the operating system, such as a signal.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Error {
    /// What was being done, in the words that operators look for (metrics.md 17.4).
    #[must_use]
    pub const fn step(&self) -> &'static str {
        match self {
            Self::Tracing(_) => "error setting up opentelemetry tracing",
            Self::Auth(_) => "error creating JWT verifier config",
            Self::Engine { .. } => "configure engines error",
            Self::Bind(_) => "error ListenAndServe",
            _ => "server stopped",
        }
    }
}

/// One HTTP listener to open.
#[derive(Debug)]
pub struct HttpListener {
    /// Host; empty for all interfaces.
    pub host: String,
    /// Port; 0 for any that is free.
    pub port: u16,
    /// What it serves.
    pub paths: http::Paths,
    /// gRPC on the same port, when shared.
    pub grpc: Option<Router>,
    /// HTTP/2 without TLS as well.
    pub h2c: bool,
    /// What connections pass first.
    pub entrance: Entrance,
}

/// One gRPC listener to open.
#[derive(Debug)]
pub struct GrpcListener {
    /// What the log calls it.
    pub name: &'static str,
    /// Host; empty for all interfaces.
    pub host: String,
    /// Port; 0 for any that is free.
    pub port: u16,
    /// A port that is taken stops the start; otherwise it is a warning, and there is no such listener.
    pub required: bool,
    /// What it serves.
    pub router: Router,
    /// What connections pass first.
    pub entrance: Entrance,
}

impl GrpcListener {
    /// Opens it; nothing when it cannot be opened and need not be.
    async fn bind(&self, unread: Duration) -> Result<Option<TcpListener>, Error> {
        let name = self.name;
        let listener = match listener::bind(&self.host, self.port, unread).await {
            Ok(listener) => listener,
            Err(error) if self.required => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "no {name}: choose a port with centripetal.grpc.port");
                return Ok(None);
            }
        };
        let address = listener.local_addr()?;
        tracing::info!("serving {name} on {address}");
        Ok(Some(listener))
    }
}

/// What a server is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// HTTP listeners; those without handlers are not opened.
    pub http: Vec<HttpListener>,
    /// gRPC listeners.
    pub grpc: Vec<GrpcListener>,
    /// Section `centripetal.grpc`.
    pub grpc_config: &'a grpc::Config,
    /// Section `client`.
    pub client: &'a transport::ClientConfig,
    /// Health over gRPC.
    pub health: Health,
    /// Owner of the sessions' tasks, the same that transports spawn on.
    pub sessions: Tasks,
    /// Counter of requests.
    pub metrics: http::Metrics,
}

/// What serves the connections of a listener.
trait Site: Send + Sync + 'static {
    fn serve<S: http::Duplex>(
        self: Arc<Self>,
        stream: S,
        arrival: Arrival,
        streams: Tasks,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

impl Site for http::Site {
    async fn serve<S: http::Duplex>(
        self: Arc<Self>,
        stream: S,
        arrival: Arrival,
        streams: Tasks,
        stop: CancellationToken,
    ) {
        http::serve(stream, arrival, self, streams, stop).await;
    }
}

impl Site for h2::GrpcSite {
    async fn serve<S: http::Duplex>(
        self: Arc<Self>,
        stream: S,
        arrival: Arrival,
        streams: Tasks,
        stop: CancellationToken,
    ) {
        h2::serve(stream, arrival, self, streams, stop).await;
    }
}

/// A bound listener, what connections pass first, and what they find behind.
#[derive(Debug)]
struct Opened<T> {
    listener: TcpListener,
    entrance: Entrance,
    site: Arc<T>,
}

impl<T: Site> Opened<T> {
    fn new(listener: TcpListener, entrance: Entrance, site: T) -> Self {
        Self {
            listener,
            entrance,
            site: Arc::new(site),
        }
    }

    /// Starts the task that accepts. Each connection, from its first byte on, is a task of its own.
    fn start(self, patience: Duration, connections: &Tasks, accepting: &CancellationToken) {
        let Self {
            listener,
            entrance,
            site,
        } = self;
        let (tasks, stop) = (connections.clone(), accepting.clone());
        let serve = move |socket, remote| {
            let (entrance, site) = (entrance.clone(), site.clone());
            let (streams, stop) = (tasks.clone(), stop.clone());
            async move {
                let admitted = entrance.admit(socket, remote, patience);
                match stop.run_until_cancelled(admitted).await.flatten() {
                    Some(Admitted::Plain(socket, arrival)) => {
                        site.serve(socket, arrival, streams, stop).await;
                    }
                    Some(Admitted::Secured(stream, arrival)) => {
                        site.serve(stream, arrival, streams, stop).await;
                    }
                    None => {}
                }
            }
        };
        let accept = listener::accept(listener, accepting.clone(), connections.clone(), serve);
        connections.spawn(accept);
    }
}

/// Bound listeners and everything they serve.
#[derive(Debug)]
pub struct Server {
    http: Vec<Opened<http::Site>>,
    grpc: Vec<Opened<h2::GrpcSite>>,
    /// Longest time a connection may take to get in.
    patience: Duration,
    health: Health,
    sessions: Tasks,
}

impl Server {
    /// Opens the listeners, gRPC first.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn bind(parts: Parts<'_>) -> Result<Self, Error> {
        let config = parts.grpc_config;
        let http2 = http::Http2::new(config, &parts.metrics);
        let patience = parts.client.stale_close_delay;
        let mut grpc = Vec::new();
        for wanted in parts.grpc {
            let Some(listener) = wanted.bind(http2.unread()).await? else {
                continue;
            };
            let site = h2::GrpcSite {
                router: wanted.router,
                http2: http2.clone(),
                patience,
            };
            grpc.push(Opened::new(listener, wanted.entrance, site));
        }
        let mut http = Vec::new();
        for HttpListener {
            host,
            port,
            paths,
            grpc,
            h2c,
            entrance,
        } in parts.http
        {
            if paths.is_empty() && grpc.is_none() {
                continue;
            }
            let listener = listener::bind(&host, port, http2.unread()).await?;
            let (names, address) = (paths.names().join(", "), listener.local_addr()?);
            tracing::info!("serving {names} endpoints on {address}");
            let site = http::Site {
                paths,
                grpc,
                h2c,
                metrics: parts.metrics.clone(),
                patience,
                http2: http2.clone(),
            };
            http.push(Opened::new(listener, entrance, site));
        }
        Ok(Self {
            http,
            grpc,
            patience,
            health: parts.health,
            sessions: parts.sessions,
        })
    }

    /// Addresses of the HTTP listeners, in the order given.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn http_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.http
            .iter()
            .map(|opened| opened.listener.local_addr())
            .collect()
    }

    /// Addresses of the gRPC listeners that were opened, in the order given.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn grpc_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.grpc
            .iter()
            .map(|opened| opened.listener.local_addr())
            .collect()
    }

    /// Serves until told to stop, then ends everything within the grace period.
    pub async fn run(self, stop: &Stop, shutdown: ShutdownConfig, steps: Steps) -> Outcome {
        let (accepting, connections) = (CancellationToken::new(), Tasks::default());
        let patience = self.patience;
        for opened in self.http {
            opened.start(patience, &connections, &accepting);
        }
        for opened in self.grpc {
            opened.start(patience, &connections, &accepting);
        }
        let mut tick = interval(REAP);
        while stop
            .graceful
            .run_until_cancelled(tick.tick())
            .await
            .is_some()
        {
            self.sessions.reap();
            connections.reap();
        }
        let owned = drain::Owned {
            health: self.health,
            accepting,
            sessions: self.sessions,
            connections,
        };
        drain::drain(owned, steps, shutdown.timeout, &stop.hurry).await
    }
}

#[cfg(test)]
mod tests;
