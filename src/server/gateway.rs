//! A whole gateway out of one configuration: every module takes its own section, nothing is decided here.
//!
//! [`Gateway::build`] is a list of constructions in the order of dependence and opens the listeners last; nothing is
//! served before [`Gateway::run`].

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn};
use prometheus::Registry;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;

use super::{
    Error, GrpcListener, HttpListener, Outcome, Parts, Server, ShutdownConfig, Steps, Stop,
    endpoints::{self, Endpoint},
    http::{self, Paths},
    limits::{self, ConnectionLimits},
};
use crate::{
    api,
    auth::{
        self, Authenticator,
        interceptor::{ApiKeyGuard, CredentialsLayer, Options, Surface},
    },
    config::Config,
    engine::{self, memory::Memory},
    node::{self, Node},
    policy::{self, Policy},
    transport::{
        self, Origins, PeerRules, Tasks, TrustedProxies,
        grpc::{self, Communicate, Health},
        websocket,
    },
};

/// Prefix of compatible metric names unless configured.
const NAMESPACE: &str = "centrifugo";
/// Events between the engine and the hub, a pump.
const EVENT_QUEUE: usize = 4096;

/// What the gateway itself reads of section `centripetal`.
#[derive(Clone, Debug, Deserialize)]
struct OwnConfig {
    grpc: grpc::Config,
    http: OwnHttpConfig,
    readiness: Endpoint,
    publish_timeout: Duration,
    trusted_proxies: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct OwnHttpConfig {
    bearer: bool,
}

/// Parts that serve requests, made from the configuration.
struct Built {
    node: Node,
    auth: Authenticator,
    policy: Arc<Policy>,
    limits: Arc<ConnectionLimits>,
    origins: Arc<Origins>,
    peers: Arc<PeerRules>,
    tasks: Tasks,
    api: api::Api,
    registry: Registry,
    stopping: CancellationToken,
}

/// A gateway, bound and ready to run.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    node: Node,
    reload: Reload,
    shutdown: ShutdownConfig,
    stopping: CancellationToken,
}

/// What a new configuration can change while the gateway runs (config.md 6).
#[derive(Clone, Debug)]
pub struct Reload {
    node: Node,
    auth: Authenticator,
    policy: Arc<Policy>,
    limits: Arc<ConnectionLimits>,
}

impl Reload {
    /// Takes over what can change at run time. All of it is checked before anything is replaced.
    ///
    /// # Errors
    /// What the new configuration breaks; the old one stays in force then.
    pub fn apply(&self, config: &Config) -> Result<(), Error> {
        let (auth, policy): (auth::Config, policy::Config) =
            (config.section("")?, config.section("")?);
        let limits: limits::Config = config.section("client")?;
        let node: node::Config = config.section("")?;
        Authenticator::check(&auth)?;
        Policy::check(&policy)?;
        self.auth.reload(&auth)?;
        self.policy.reload(&policy)?;
        self.limits.set(limits);
        self.node.reload(node);
        Ok(())
    }
}

impl Gateway {
    /// Builds everything and opens the listeners. `page` is served under the root of the external listener.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration, or a port that is taken.
    pub async fn build(config: &Config, page: Option<Router>) -> Result<Self, Error> {
        let own: OwnConfig = config.section("centripetal")?;
        let client: transport::ClientConfig = config.section("client")?;
        let built = Built::new(config, &own, &client)?;
        let health = Health::serving().await;
        let parts = Parts {
            http: built.http_listeners(config, &own, &client, (&health, page))?,
            grpc: built.grpc_listeners(config, &own, &health)?,
            grpc_config: &own.grpc,
            client: &client,
            health: health.clone(),
            sessions: built.tasks.clone(),
            metrics: http::Metrics::new(&built.registry, NAMESPACE, false)?,
        };
        let server = Server::bind(parts).await?;
        Ok(Self {
            server,
            reload: Reload {
                node: built.node.clone(),
                auth: built.auth,
                policy: built.policy,
                limits: built.limits,
            },
            node: built.node,
            shutdown: config.section("shutdown")?,
            stopping: built.stopping,
        })
    }

    /// The handle that takes another configuration over.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// The node, for an embedder that publishes by itself.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The bound listeners.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Serves until told to stop, then ends everything within the grace period.
    pub async fn run(self, stop: &Stop) -> Outcome {
        let (draining, closing) = (self.node.clone(), self.node);
        let stopping = self.stopping;
        let steps = Steps {
            sessions: Box::pin(async move {
                stopping.cancel();
                draining.drain().await;
            }),
            engine: Box::pin(async move { closing.close().await }),
            telemetry: Box::pin(std::future::ready(())),
        };
        self.server.run(stop, self.shutdown, steps).await
    }
}

impl Built {
    fn new(
        config: &Config,
        own: &OwnConfig,
        client: &transport::ClientConfig,
    ) -> Result<Self, Error> {
        let registry = Registry::new();
        let auth = Authenticator::new(&config.section("")?, &registry)?;
        let policy = Arc::new(Policy::new(&config.section("")?, auth.clone())?);
        let pumps = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (sender, events) = engine::event_channel(pumps, EVENT_QUEUE, own.publish_timeout);
        let node = Node::start(node::Parts {
            config: node_config(config)?,
            hooks: policy.clone(),
            engine: Memory::new(sender).into_engine(),
            events,
            registry: registry.clone(),
        })?;
        let (stopping, counted) = (CancellationToken::new(), node.clone());
        let limits =
            ConnectionLimits::new(config.section("client")?, &registry, NAMESPACE, move || {
                counted.connections()
            })?;
        let api = api::Api::new(
            node.clone(),
            config.section("centripetal.api")?,
            api::Metrics::new(&registry, NAMESPACE)?,
            stopping.clone(),
        );
        let user_header = Some(client.user_id_http_header.as_str()).filter(|name| !name.is_empty());
        Ok(Self {
            node,
            auth,
            policy,
            limits: Arc::new(limits),
            origins: Arc::new(Origins::new(&client.allowed_origins)?),
            peers: Arc::new(PeerRules {
                trusted: TrustedProxies::new(&own.trusted_proxies)?,
                user_header: user_header.map(str::parse).transpose()?,
                kept: Vec::new(),
            }),
            tasks: Tasks::default(),
            api,
            registry,
            stopping,
        })
    }

    /// The external and the internal listener; one when both have the same address.
    fn http_listeners(
        &self,
        config: &Config,
        own: &OwnConfig,
        client: &transport::ClientConfig,
        (health, page): (&Health, Option<Router>),
    ) -> Result<Vec<HttpListener>, Error> {
        let (mut external, mut internal) = (Paths::default(), Paths::default());
        let websocket: websocket::Config = config.section("websocket")?;
        if !websocket.disabled {
            let prefix = websocket.handler_prefix.clone();
            let router = self.websocket(&websocket, own, client)?;
            external.exact("websocket", &prefix, router)?;
        }
        let separate = config.http_server.internal() != config.http_server.external();
        let internal_paths = if separate {
            &mut internal
        } else {
            &mut external
        };
        self.internal_handlers(config, own, internal_paths)?;
        let api: api::http::HttpConfig = config.section("http_api")?;
        if !api.disabled {
            let outside = api.external || !separate;
            let paths = if outside {
                &mut external
            } else {
                &mut internal
            };
            let router = api::http::router(self.api.clone(), &api);
            for path in api::http::paths(&api) {
                paths.exact("api", &path, router.clone())?;
            }
        }
        let init: Endpoint = config.section("init")?;
        if init.enabled {
            let router = endpoints::init(&self.limits, self.origins.clone());
            external.exact("init", &init.handler_prefix, router)?;
        }
        if let Some(page) = page {
            external.exact("dev", "/", page)?;
            // Nothing of a development server may answer to the name of a website.
            external.each(|router| router.layer(from_fn(crate::dev::loopback_only)));
        }
        let shared = if own.grpc.shared {
            Some(self.grpc_router(config, own, health)?)
        } else {
            None
        };
        let listener = |(host, port): (&str, u16), paths, grpc| HttpListener {
            host: host.to_owned(),
            port,
            paths,
            grpc,
        };
        let mut listeners = vec![listener(config.http_server.external(), external, shared)];
        if separate {
            listeners.push(listener(config.http_server.internal(), internal, None));
        }
        Ok(listeners)
    }

    fn websocket(
        &self,
        config: &websocket::Config,
        own: &OwnConfig,
        client: &transport::ClientConfig,
    ) -> Result<Router, Error> {
        if config.compression {
            tracing::warn!(
                key = "websocket.compression",
                "permessage-deflate is not available yet, the extension is declined"
            );
        }
        let endpoint = websocket::Endpoint::new(websocket::Parts {
            serve: self.node.clone(),
            config,
            client,
            origins: self.origins.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
            metrics: transport::Metrics::new(&self.registry, NAMESPACE)?,
        });
        let layer = CredentialsLayer::new(
            self.auth.clone(),
            Options {
                surface: Surface::Http,
                bearer: own.http.bearer,
                required: false,
            },
        );
        Ok(self.limits.guard(endpoint.into_router().layer(layer)))
    }

    /// Handlers for operators.
    fn internal_handlers(
        &self,
        config: &Config,
        own: &OwnConfig,
        paths: &mut Paths,
    ) -> Result<(), Error> {
        let prometheus: Endpoint = config.section("prometheus")?;
        if prometheus.enabled {
            let router = endpoints::metrics(self.registry.clone());
            paths.exact("prometheus", &prometheus.handler_prefix, router)?;
        }
        if config.health.enabled {
            paths.exact("health", &config.health.handler_prefix, endpoints::health())?;
        }
        if own.readiness.enabled {
            let router = endpoints::readiness(self.stopping.clone());
            paths.exact("readiness", &own.readiness.handler_prefix, router)?;
        }
        Ok(())
    }

    /// The canonical stream's listener and that of the server API.
    fn grpc_listeners(
        &self,
        config: &Config,
        own: &OwnConfig,
        health: &Health,
    ) -> Result<Vec<GrpcListener>, Error> {
        let mut listeners = Vec::new();
        if own.grpc.enabled {
            listeners.push(GrpcListener {
                name: "GRPC client service",
                host: if config.is_given("centripetal.grpc.address") {
                    own.grpc.address.clone()
                } else {
                    config.http_server.address.clone()
                },
                port: own.grpc.port,
                // A port nobody asked for must not stop a server that is dropped in place of another.
                required: config.is_given("centripetal.grpc.port"),
                router: self.grpc_router(config, own, health)?,
            });
        }
        let api: api::grpc::GrpcConfig = config.section("grpc_api")?;
        if api.enabled {
            let open = api.key.is_empty() && !is_loopback(&api.address);
            if open {
                tracing::warn!("INSECURE gRPC API without key on an address that others reach");
            }
            listeners.push(GrpcListener {
                name: "GRPC API service",
                host: api.address.clone(),
                port: api.port,
                required: true,
                router: self.api_router(&api)?,
            });
        }
        Ok(listeners)
    }

    /// The server API over gRPC; reflection wants the same key.
    fn api_router(&self, config: &api::grpc::GrpcConfig) -> Result<Router, Error> {
        let service = api::grpc::service(self.api.clone(), config);
        let mut routes = tonic::service::Routes::new(service);
        if config.reflection {
            let guard = ApiKeyGuard::new(auth::api_key::ApiKey::new(&config.key));
            routes = routes.add_service(InterceptedService::new(grpc::reflection()?, guard));
        }
        Ok(routes.into_axum_router().reset_fallback())
    }

    /// Everything that is served beside the canonical stream, and the stream itself.
    fn grpc_router(
        &self,
        config: &Config,
        own: &OwnConfig,
        health: &Health,
    ) -> Result<Router, Error> {
        let websocket: websocket::Config = config.section("websocket")?;
        let communicate = Communicate::new(
            self.node.clone(),
            &own.grpc,
            websocket.write_timeout,
            self.peers.clone(),
            self.tasks.clone(),
        );
        let layer = CredentialsLayer::new(
            self.auth.clone(),
            Options {
                surface: Surface::Grpc,
                bearer: true,
                required: own.grpc.require_credentials,
            },
        );
        let mut more = None;
        if own.grpc.api {
            let api: api::grpc::GrpcConfig = config.section("grpc_api")?;
            if api.key.is_empty() {
                return Err(Error::ApiWithoutKey);
            }
            more = Some(self.api_router(&api::grpc::GrpcConfig {
                reflection: false,
                ..api
            })?);
        }
        Ok(grpc::routes(grpc::Routes {
            communicate: tower::Layer::layer(&layer, communicate),
            health: health.clone(),
            reflection: own.grpc.reflection,
            more,
        })?)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The node's settings; a node without a name is called by its host and port.
fn node_config(config: &Config) -> Result<node::Config, Error> {
    let mut node: node::Config = config.section("")?;
    if node.node.name.is_empty() {
        let host = host_name().unwrap_or_else(|error| {
            tracing::warn!(%error, "this host has no name");
            "localhost".to_owned()
        });
        node.node.name = format!("{host}_{}", config.http_server.port);
    }
    Ok(node)
}

fn host_name() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?
        .trim()
        .to_owned())
}
