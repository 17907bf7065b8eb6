//! Who makes spans, out of the sections `opentelemetry` and `centripetal.telemetry` (config.md 8.28, 11).

use prometheus::Registry;
use serde::Deserialize;

use super::super::Error;
use crate::{
    config::{self, Config},
    engine::Engine,
    model::NodeId,
    telemetry::otel::{Exporters, Identity, More, Records},
    trace::{self, SCOPE, Spans, Tracer},
};

#[derive(Debug, Deserialize)]
struct Section {
    enabled: bool,
    api: bool,
}

#[derive(Debug, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of a section, each of its own"
)]
struct OwnSection {
    own_service_name: bool,
    command_spans: bool,
    proxy_spans: bool,
    engine_spans: bool,
    metrics: bool,
    logs: bool,
}

/// The exporters of the gateway, and a tracer for each who makes spans. All are empty without OpenTelemetry.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    exporters: Option<Exporters>,
    pub(super) api: Option<Tracer>,
    pub(super) proxies: Option<Tracer>,
    commands: Option<Tracer>,
    engine: Option<Tracer>,
}

impl Tracing {
    /// `records` is what hands the log lines of the process on, if there is such.
    pub(super) fn new(
        config: &Config,
        node: &NodeId,
        registry: &Registry,
        records: Option<Records>,
    ) -> Result<Self, Error> {
        let section: Section = config.section("opentelemetry")?;
        if !section.enabled {
            return Ok(Self::default());
        }
        let own: OwnSection = config.section("centripetal.telemetry")?;
        let identity = Identity {
            service: if own.own_service_name {
                "centripetal"
            } else {
                "centrifugo"
            },
            node: node.as_str(),
        };
        let variables = config::variables("OTEL_").collect();
        let more = More {
            metrics: own.metrics,
            logs: records.filter(|_| own.logs),
        };
        let exporters = Exporters::start(identity, &variables, registry, &more)?;
        let tracer = |wanted: bool| wanted.then(|| Tracer::from(exporters.tracer(SCOPE)));
        Ok(Self {
            api: tracer(section.api),
            proxies: tracer(own.proxy_spans),
            commands: tracer(own.command_spans),
            engine: tracer(own.engine_spans),
            exporters: Some(exporters),
        })
    }

    /// Headers that must be kept of the requests of clients.
    pub(super) fn kept(&self) -> impl Iterator<Item = ::http::HeaderName> {
        let commands = self.commands.is_some();
        trace::FIELDS.into_iter().filter(move |_| commands)
    }

    /// Spans inside of the node.
    pub(super) fn spans(&self) -> Spans {
        Spans {
            commands: self.commands.clone(),
            broadcasts: self.engine.clone(),
        }
    }

    /// The engine, with spans if it has some.
    pub(super) fn engine(&self, engine: Engine) -> Engine {
        match &self.engine {
            Some(tracer) => trace::traced(engine, tracer),
            None => engine,
        }
    }

    /// Sends what is left.
    pub(super) async fn close(self) {
        if let Some(exporters) = self.exporters {
            exporters.close().await;
        }
    }
}
