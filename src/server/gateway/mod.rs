//! A whole gateway out of one configuration: every module takes its own section, nothing is decided here.
//!
//! [`Gateway::build`] is a list of constructions in the order of dependence and opens the listeners last; nothing is
//! served before [`Gateway::run`].

mod builder;
mod engine;
mod entrances;
mod listeners;
mod observers;
mod streams;
mod traces;

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use prometheus::Registry;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

pub use self::builder::Builder;
use self::{
    builder::{Additions, Wrap},
    entrances::Entrances,
    observers::{Observers, Reloads},
    traces::Tracing,
};
use super::{
    EntranceMetrics, Error, Outcome, Parts, Server, ShutdownConfig, Steps, Stop,
    endpoints::Endpoint,
    http,
    limits::{self, ConnectionLimits},
    tls,
};
use crate::{
    api,
    auth::{self, Authenticator},
    config::{self, Config},
    engine::{event_channel, timed},
    model::NodeId,
    node::{self, Node},
    policy::{self, Policy},
    proxy::Proxies,
    telemetry::otel::Records,
    transport::{
        self, Origins, PeerRules, Tasks, TrustedProxies,
        grpc::{self, Health},
    },
};

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
    proxy_protocol: ProxyProtocol,
    metrics: OwnMetrics,
}

/// What metrics are called.
#[derive(Clone, Debug, Deserialize)]
struct OwnMetrics {
    /// How compatible names begin.
    namespace: String,
}

/// Whether connections of clients begin with the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProxyProtocol {
    Off,
    Required,
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
    entrances: Entrances,
    tasks: Tasks,
    api: api::Api,
    registry: Registry,
    /// How compatible metric names begin.
    namespace: String,
    stopping: CancellationToken,
    observers: Observers,
    tracing: Tracing,
}

/// A gateway, bound and ready to run.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    node: Node,
    reload: Reload,
    shutdown: ShutdownConfig,
    stopping: CancellationToken,
    observers: Observers,
    tracing: Tracing,
}

/// What a new configuration can change while the gateway runs (config.md 6).
#[derive(Clone, Debug)]
pub struct Reload {
    node: Node,
    auth: Authenticator,
    policy: Arc<Policy>,
    limits: Arc<ConnectionLimits>,
    tls: tls::Endpoints,
    counted: Reloads,
}

impl Reload {
    /// Takes over what can change at run time. All of it is checked before anything is replaced.
    ///
    /// # Errors
    /// What the new configuration breaks; the old one stays in force then.
    pub fn apply(&self, config: &Config) -> Result<(), Error> {
        let applied = self.take_over(config);
        self.counted.ended(applied.is_ok());
        applied
    }

    /// The new configuration could not even be read; the old one stays in force.
    pub fn unreadable(&self) {
        self.counted.ended(false);
    }

    fn take_over(&self, config: &Config) -> Result<(), Error> {
        let (auth, policy): (auth::Config, policy::Config) =
            (config.section("")?, config.section("")?);
        let limits: limits::Config = config.section("client")?;
        let node: node::Config = config.section("")?;
        auth.check()?;
        policy.check()?;
        let certificates = self.tls.prepare(&config.section("")?)?;
        self.auth.reload(&auth)?;
        self.policy.reload(&policy)?;
        self.limits.set(limits);
        self.node.reload(&node);
        certificates.install();
        Ok(())
    }
}

/// What HTTP reads of the section `prometheus`.
#[derive(Deserialize)]
struct Instrument {
    /// Requests are counted by handler.
    instrument_http_handlers: bool,
}

impl Gateway {
    /// Builds everything and opens the listeners.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration, or a port that is taken.
    pub async fn build(config: &Config) -> Result<Self, Error> {
        Self::builder(config).build().await
    }

    /// The same, with additions of the program that embeds it.
    pub fn builder(config: &Config) -> Builder<'_> {
        Builder::new(config)
    }

    async fn with(config: &Config, additions: Additions) -> Result<Self, Error> {
        config.refuse_missing()?;
        let own: OwnConfig = config.section("centripetal")?;
        let client: transport::ClientConfig = config.section("client")?;
        let Instrument {
            instrument_http_handlers: counting,
        } = config.section("prometheus")?;
        let Additions {
            hooks,
            front,
            records,
        } = additions;
        let built = Built::new(config, &own, &client, (hooks, records)).await?;
        built.warn_of_plain_listeners(config, &own)?;
        built.entrances.warn_of_operators(config);
        let health = Health::serving().await;
        let parts = Parts {
            http: built.http_listeners(config, &own, &client, (&health, &front))?,
            grpc: built.grpc_listeners(config, &own, (&health, &front))?,
            grpc_config: &own.grpc,
            client: &client,
            health: health.clone(),
            sessions: built.tasks.clone(),
            metrics: http::Metrics::new(&built.registry, &own.metrics.namespace, counting)?,
        };
        let server = Server::bind(parts).await?;
        Ok(Self {
            server,
            reload: Reload {
                node: built.node.clone(),
                auth: built.auth,
                policy: built.policy,
                limits: built.limits,
                tls: built.entrances.tls,
                counted: built.observers.reloads.clone(),
            },
            node: built.node,
            shutdown: config.section("shutdown")?,
            stopping: built.stopping,
            observers: built.observers,
            tracing: built.tracing,
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
        let _observing = self.observers.start();
        let (draining, closing) = (self.node.clone(), self.node);
        let stopping = self.stopping;
        let steps = Steps {
            sessions: Box::pin(async move {
                stopping.cancel();
                draining.drain().await;
            }),
            engine: Box::pin(async move { closing.close().await }),
            telemetry: Box::pin(self.tracing.close()),
        };
        self.server.run(stop, self.shutdown, steps).await
    }
}

impl Built {
    async fn new(
        config: &Config,
        own: &OwnConfig,
        client: &transport::ClientConfig,
        (hooks, records): (Option<Wrap>, Option<Records>),
    ) -> Result<Self, Error> {
        let registry = Registry::new();
        let id = NodeId::from(uuid::Uuid::new_v4().to_string());
        let tracing = Tracing::new(config, &id, &registry, records)?;
        let auth = Authenticator::new(&config.section("")?, &registry)?;
        let namespace = own.metrics.namespace.as_str();
        let proxies = proxies(config, &auth, (&registry, namespace), &tracing)?;
        let policy = Policy::new(&config.section("")?, auth.clone())?;
        let policy = Arc::new(policy.with_proxies(proxies));
        let (sender, events) = event_channel(pumps(), EVENT_QUEUE, own.publish_timeout);
        let asking = engine::Asking {
            id: id.clone(),
            events: sender,
            registry: registry.clone(),
            namespace: namespace.to_owned(),
        };
        let node_config = node_config(config)?;
        let name = &node_config.node.name;
        let observers = Observers::new(config, name, namespace, &registry)?;
        let parts = node::Parts {
            id,
            config: node_config,
            hooks: builder::owner(hooks, policy.clone()),
            engine: tracing.engine(timed(engine::open(config, &asking).await?, &registry)?),
            events,
            registry: registry.clone(),
        };
        let node = Node::start_with(parts, tracing.spans())?;
        let (stopping, counted) = (CancellationToken::new(), node.clone());
        let numbers = move || counted.connections();
        let limits =
            ConnectionLimits::new(config.section("client")?, &registry, namespace, numbers)?;
        let metrics = api::Metrics::new(&registry, namespace)?;
        let section = config.section("centripetal.api")?;
        let api = api::Api::new(node.clone(), section, metrics, stopping.clone());
        let trusted = TrustedProxies::new(&own.trusted_proxies)?;
        let entrances = entrances(config, own, &trusted, &registry)?;
        let user_header = Some(client.user_id_http_header.as_str()).filter(|name| !name.is_empty());
        Ok(Self {
            node,
            auth,
            limits: Arc::new(limits),
            origins: Arc::new(Origins::new(&client.allowed_origins)?),
            peers: Arc::new(PeerRules {
                trusted,
                user_header: user_header.map(str::parse).transpose()?,
                kept: kept(&policy, &tracing),
            }),
            policy,
            entrances,
            tasks: Tasks::default(),
            api: api.traced(tracing.api.clone()),
            registry,
            namespace: namespace.to_owned(),
            stopping,
            observers,
            tracing,
        })
    }
}

/// One for each core.
fn pumps() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn entrances(
    config: &Config,
    own: &OwnConfig,
    trusted: &TrustedProxies,
    registry: &Registry,
) -> Result<Entrances, Error> {
    let announced = own.proxy_protocol == ProxyProtocol::Required;
    Ok(Entrances {
        tls: tls::Endpoints::new(&config.section("")?)?,
        announce: announced.then(|| trusted.clone()),
        metrics: EntranceMetrics::new(registry)?,
    })
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

/// Headers that must be kept of requests, each once.
fn kept(policy: &Policy, tracing: &Tracing) -> Vec<::http::HeaderName> {
    let mut kept = policy.proxies().kept();
    kept.extend(tracing.kept());
    kept.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    kept.dedup();
    kept
}

/// The backends that are asked. Credentials of our own never go there.
fn proxies(
    config: &Config,
    auth: &Authenticator,
    metrics: (&Registry, &str),
    tracing: &Tracing,
) -> Result<Proxies, Error> {
    let own: Vec<&str> = [auth::HEADER]
        .into_iter()
        .chain(auth::LEGACY_HEADERS)
        .collect();
    let excluded: &[&str] = if auth.reads_hmac() { &own } else { &[] };
    let read = |option: &str| config::read_pem(option).ok();
    let tracer = tracing.proxies.as_ref();
    Ok(Proxies::new(
        &config.section("")?,
        metrics,
        excluded,
        read,
        tracer,
    )?)
}
