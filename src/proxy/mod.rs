//! The application answers: questions about clients, asked of a backend over HTTP or gRPC (proxy.md).
//!
//! Asks and translates; never decides what an answer means, which is the policy's business, and knows no session, hub
//! or engine. A question costs a bounded time, a bounded answer, and one of a bounded number of places; whatever goes
//! wrong is a [`Failure`], counted and logged here.

mod answer;
mod config;
mod forward;
mod gate;
mod grpc;
mod http;
mod json;
mod metrics;
mod question;
mod tls;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ::http::HeaderName;
use prometheus::Registry;
use tokio::time::{Instant, timeout};

use self::{
    config::{DEFAULT, LimitsConfig, Place, ProxyConfig},
    forward::Forwarding,
    gate::Gate,
    metrics::{InFlight, Metrics, Series},
    question::Carriage,
};
use crate::hooks::Feed;

pub(crate) use answer::{
    Answer, BadBase64, ConnectResult, Granted, PublishResult, RefreshResult, RpcResult,
    SubRefreshResult,
};
pub use config::Config;
pub(crate) use question::{Introduction, Kind, Question};
pub use tls::TlsError;

/// Reads a PEM option in any of its forms (config.md 4).
pub type ReadPem = fn(&str) -> Option<String>;

/// Why proxies cannot be made. Every one of these stops the start.
#[derive(Debug, thiserror::Error)]
#[error("in {place}: {why}")]
pub struct Unusable {
    place: String,
    why: Error,
}

/// What is wrong with one proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No address.
    #[error("endpoint not set")]
    NoEndpoint,
    /// Not an address.
    #[error("endpoint is not an address")]
    Address,
    /// The time limit is zero.
    #[error("timeout not set")]
    NoTimeout,
    /// No header can be called so.
    #[error("{0:?} cannot be the name of a header")]
    Name(String),
    /// A constant header has a value that cannot be sent; it is not shown.
    #[error("the value of header {0:?} cannot be sent")]
    Value(String),
    /// TLS options.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
}

/// Why proxies are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The options of one.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A metric is registered already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// The backend did not answer as it should (proxy.md 7). The client learns nothing of it but error 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// All places are taken, and all places to wait as well, or the turn did not come in time.
    #[error("too many questions at a time, see centripetal.proxy.concurrency")]
    Busy,
    /// No answer in time.
    #[error("no answer within the timeout")]
    Timeout,
    /// No connection.
    #[error("the backend cannot be reached")]
    Connect,
    /// The connection broke before the answer was complete.
    #[error("the connection to the backend broke")]
    Broken,
    /// An HTTP status other than 200.
    #[error("the backend answered with HTTP status {0}")]
    Status(u16),
    /// A gRPC status other than OK.
    #[error("the backend answered with gRPC status {0}")]
    Grpc(i32),
    /// The answer is longer than allowed.
    #[error("the answer is larger than centripetal.proxy.max_response_size")]
    TooLarge,
    /// The answer cannot be understood.
    #[error("the answer cannot be decoded")]
    Decode,
    /// The question cannot be written: a payload is not JSON.
    #[error("a payload is not JSON; use binary_encoding")]
    Encode,
}

impl Failure {
    /// Label values.
    const REASONS: [&'static str; 9] = [
        "busy",
        "timeout",
        "connect",
        "broken",
        "status",
        "grpc_status",
        "too_large",
        "decode",
        "encode",
    ];

    const fn index(self) -> usize {
        match self {
            Self::Busy => 0,
            Self::Timeout => 1,
            Self::Connect => 2,
            Self::Broken => 3,
            Self::Status(_) => 4,
            Self::Grpc(_) => 5,
            Self::TooLarge => 6,
            Self::Decode => 7,
            Self::Encode => 8,
        }
    }
}

/// Something a backend can be asked for one answer.
pub(crate) trait Answers: json::Fields + grpc::Unary + Send {}

impl<T: json::Fields + grpc::Unary + Send> Answers for T {}

/// The way to one backend.
#[derive(Debug)]
enum Way {
    Http(http::Http),
    Grpc(grpc::Grpc),
}

/// One backend with its options, shared by all questions that go there.
#[derive(Debug)]
pub(crate) struct Backend {
    way: Way,
    forwarding: Forwarding,
    carriage: Carriage,
    timeout: Duration,
    gate: Gate,
    series: [Option<Series>; Kind::ALL.len()],
}

impl Backend {
    fn new(place: Place<'_>, kinds: &[Kind], parts: &Parts<'_>) -> Result<Self, Unusable> {
        Self::build(place.proxy, place.name, kinds, parts).map_err(|why| Unusable {
            place: place.key.to_owned(),
            why,
        })
    }

    fn build(
        config: &ProxyConfig,
        name: &str,
        kinds: &[Kind],
        parts: &Parts<'_>,
    ) -> Result<Self, Error> {
        check(config, parts.read)?;
        let over_http = is_http(&config.endpoint);
        let way = if over_http {
            Way::Http(http::Http::new(
                config,
                parts.limits.max_response_size,
                parts.read,
            )?)
        } else {
            Way::Grpc(grpc::Grpc::new(config, &parts.limits, parts.read)?)
        };
        let protocol = if over_http { "http" } else { "grpc" };
        let mut series = [const { None }; Kind::ALL.len()];
        for kind in kinds {
            series[kind.index()] = Some(parts.metrics.series([protocol, kind.name(), name]));
        }
        Ok(Self {
            way,
            forwarding: Forwarding::new(config, !over_http, parts.excluded)?,
            carriage: Carriage {
                binary: config.binary_encoding,
                meta: config.include_connection_meta,
            },
            timeout: config.timeout,
            gate: Gate::new(&parts.limits),
            series,
        })
    }

    /// Asks. Refusals of the backend are answers.
    ///
    /// # Errors
    /// The failure, which is counted and logged.
    pub(crate) async fn ask<T: Answers>(
        &self,
        kind: Kind,
        question: &Question<'_>,
    ) -> Result<Answer<T>, Failure> {
        let asked = self.counted(kind, async {
            let headers = self
                .forwarding
                .headers(&question.client.peer, question.emulated);
            match &self.way {
                Way::Http(http) => {
                    let body = json::question(kind, question, self.carriage)?;
                    http.ask(body, headers).await
                }
                Way::Grpc(grpc) => {
                    let request = T::request(question, self.carriage);
                    grpc.ask(request, headers, self.timeout).await
                }
            }
        });
        asked
            .await
            .inspect_err(|failure| log(kind, question, *failure))
    }

    /// Opens a stream that feeds a subscription.
    ///
    /// # Errors
    /// The failure, which is counted and logged.
    pub(crate) async fn open(
        &self,
        question: &Question<'_>,
        bidirectional: bool,
    ) -> Result<(Answer<Granted>, Feed), Failure> {
        let kind = Kind::SubscribeStream;
        let opened = self.counted(kind, async {
            let headers = self
                .forwarding
                .headers(&question.client.peer, question.emulated);
            let Way::Grpc(grpc) = &self.way else {
                return Err(Failure::Connect);
            };
            grpc.open(
                question,
                self.carriage,
                headers,
                (bidirectional, self.timeout),
            )
            .await
        });
        opened
            .await
            .inspect_err(|failure| log(kind, question, *failure))
    }

    /// Waits for a turn and runs a call within the time limit; counts both.
    async fn counted<T>(
        &self,
        kind: Kind,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(series) = &self.series[kind.index()] else {
            return Err(Failure::Connect);
        };
        let outcome = async {
            let _turn = self.gate.enter(&series.waiting).await?;
            let _running = InFlight::new(&series.inflight);
            let started = Instant::now();
            let outcome = timeout(self.timeout, call).await;
            series.took(started.elapsed());
            outcome.unwrap_or(Err(Failure::Timeout))
        };
        outcome.await.inspect_err(|failure| series.failed(failure))
    }
}

fn log(kind: Kind, question: &Question<'_>, error: Failure) {
    let client = &question.client.id;
    let channel = (!question.channel.is_empty()).then_some(question.channel);
    tracing::error!(%error, %client, channel, "error proxying {}", kind.name());
}

/// What every backend is made with.
struct Parts<'a> {
    limits: LimitsConfig,
    metrics: &'a Metrics,
    excluded: &'a [&'a str],
    read: ReadPem,
}

/// All proxies of a configuration. Which namespace uses which may change; what they are does not.
#[derive(Debug, Default)]
pub struct Proxies {
    connect: Option<Arc<Backend>>,
    refresh: Option<Arc<Backend>>,
    defaults: HashMap<Kind, Arc<Backend>>,
    named: HashMap<String, Arc<Backend>>,
    emulated: Vec<HeaderName>,
}

impl Config {
    /// Checks everything that can be checked without connecting.
    ///
    /// # Errors
    /// The first proxy that cannot be used.
    pub fn check(&self, read: ReadPem) -> Result<(), Unusable> {
        let one = [self.connect(), self.refresh()];
        let used = self.defaults().into_iter().filter(|(_, used)| *used);
        let used = used.map(|(place, _)| place);
        let mut all = one.into_iter().flatten().chain(used).chain(self.named());
        all.try_for_each(|place| {
            check(place.proxy, read).map_err(|why| Unusable {
                place: place.key.to_owned(),
                why,
            })
        })
    }
}

impl Proxies {
    /// Proxies as configured. Headers called as in `excluded` are never passed on.
    ///
    /// # Errors
    /// One cannot be used, or metrics are registered already.
    pub fn new(
        config: &Config,
        (registry, namespace): (&Registry, &str),
        excluded: &[&str],
        read: ReadPem,
    ) -> Result<Self, BuildError> {
        let metrics = Metrics::new(registry, namespace)?;
        let parts = Parts {
            limits: config.limits(),
            metrics: &metrics,
            excluded,
            read,
        };
        Ok(Self::build(config, &parts)?)
    }

    fn build(config: &Config, parts: &Parts<'_>) -> Result<Self, Unusable> {
        let one = |place: Option<Place<'_>>, kind| {
            let made = place.map(|place| Backend::new(place, &[kind], parts));
            made.transpose().map(|made| made.map(Arc::new))
        };
        let mut proxies = Self {
            connect: one(config.connect(), Kind::Connect)?,
            refresh: one(config.refresh(), Kind::Refresh)?,
            ..Self::default()
        };
        for ((place, used), kind) in config.defaults().into_iter().zip(Kind::SHARED) {
            // What nobody uses may be half a configuration; a reload may use it if it is a whole one.
            match Backend::new(place, &[kind], parts) {
                Ok(backend) => {
                    proxies.defaults.insert(kind, Arc::new(backend));
                }
                Err(error) if used => return Err(error),
                Err(_) => {}
            }
        }
        for place in config.named() {
            let backend = Backend::new(place, &Kind::SHARED, parts)?;
            let name = place.name.to_owned();
            proxies.named.insert(name, Arc::new(backend));
        }
        let mut emulated: Vec<HeaderName> = proxies
            .all()
            .flat_map(|backend| backend.forwarding.kept_emulated().cloned())
            .collect();
        emulated.dedup();
        proxies.emulated = emulated;
        Ok(proxies)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let one = [&self.connect, &self.refresh];
        let one = one.into_iter().flatten();
        one.chain(self.defaults.values()).chain(self.named.values())
    }

    /// Who is asked about connections.
    #[must_use]
    pub(crate) const fn connect(&self) -> Option<&Arc<Backend>> {
        self.connect.as_ref()
    }

    /// Who is asked about expired connections.
    #[must_use]
    pub(crate) const fn refresh(&self) -> Option<&Arc<Backend>> {
        self.refresh.as_ref()
    }

    /// The proxy of this name for this kind of question.
    #[must_use]
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Backend>> {
        if name == DEFAULT {
            self.defaults.get(&kind)
        } else {
            self.named.get(name)
        }
    }

    /// Headers and metadata that have to be kept of requests, because some proxy passes them on.
    #[must_use]
    pub fn kept(&self) -> Vec<HeaderName> {
        let all = self.all();
        let names: BTreeSet<&str> = all
            .flat_map(|backend| backend.forwarding.kept().map(HeaderName::as_str))
            .collect();
        let names = names.into_iter();
        names.filter_map(|name| name.parse().ok()).collect()
    }

    /// Emulated headers that some proxy passes on, of those a client sent.
    #[must_use]
    pub(crate) fn keep<'a>(
        &self,
        sent: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Arc<[(String, String)]> {
        if self.emulated.is_empty() {
            return Arc::default();
        }
        sent.filter(|(name, _)| {
            let mut listed = self.emulated.iter();
            listed.any(|listed| listed.as_str().eq_ignore_ascii_case(name))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
    }

    /// The connect proxy gets `authorization` of clients, so it is no place for a token of the gateway's own
    /// (gateway.md 2).
    #[must_use]
    pub fn takes_authorization(&self) -> bool {
        self.connect
            .as_ref()
            .is_some_and(|backend| backend.forwarding.forwards("authorization"))
    }
}

/// Everything that can be checked without connecting.
fn check(config: &ProxyConfig, read: ReadPem) -> Result<(), Error> {
    if config.endpoint.is_empty() {
        return Err(Error::NoEndpoint);
    }
    if config.timeout.is_zero() {
        return Err(Error::NoTimeout);
    }
    let over_http = is_http(&config.endpoint);
    Forwarding::new(config, !over_http, &[])?;
    if over_http {
        http::check(config, read)
    } else {
        grpc::check(config, read)
    }
}

/// The scheme decides the way.
fn is_http(endpoint: &str) -> bool {
    endpoint.starts_with("http://") || endpoint.starts_with("https://")
}
