//! The application answers: questions about clients, asked of a backend over HTTP or gRPC (proxy.md).
//!
//! Asks and translates; never decides what an answer means, which is the policy's business, and knows no session, hub
//! or engine. A question costs a bounded time, a bounded answer, and one of a bounded number of places; whatever goes
//! wrong is a `Failure`, counted and logged here.

mod answer;
mod backend;
mod config;
mod error;
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
};

use ::http::HeaderName;
use prometheus::Registry;

use crate::trace::Tracer;

use self::{
    backend::{Parts, check},
    config::{DEFAULT, Place},
    metrics::Metrics,
};

pub(crate) use answer::{
    Answer, BadBase64, ConnectResult, Granted, PublishResult, RefreshResult, RpcResult,
    SubRefreshResult,
};
pub(crate) use backend::Backend;
pub use config::Config;
pub(crate) use error::Failure;
pub use error::{BuildError, Error, Unusable};
pub(crate) use question::{Introduction, Kind, Question};
pub use tls::TlsError;

/// Reads a PEM option in any of its forms (config.md 4).
pub type ReadPem = fn(&str) -> Option<String>;

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
    /// Proxies as configured. Headers called as in `excluded` are never passed on; with a tracer every question has a span, and
    /// the backend is told of it.
    ///
    /// # Errors
    /// One cannot be used, or metrics are registered already.
    pub fn new(
        config: &Config,
        (registry, namespace): (&Registry, &str),
        excluded: &[&str],
        read: ReadPem,
        tracer: Option<&Tracer>,
    ) -> Result<Self, BuildError> {
        let metrics = Metrics::new(registry, namespace)?;
        let parts = Parts {
            limits: config.limits(),
            metrics: &metrics,
            excluded,
            read,
            tracer,
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
