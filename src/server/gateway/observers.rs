//! What watches a gateway while it runs: the process, the runtime, pushes to Graphite, reloads of the configuration.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tracing::Instrument as _;

use crate::{
    config::Config,
    exposition::{GraphiteConfig, Process, graphite::Graphite},
    server::{
        Error,
        entrance::OWN_NAMESPACE,
        runtime::{self, Lag},
    },
    transport::Tasks,
};

/// Made with the gateway, started with it.
#[derive(Debug)]
pub(super) struct Observers {
    lag: Lag,
    graphite: Option<Graphite>,
    pub(super) reloads: Reloads,
}

/// Counts configurations that were read again.
#[derive(Clone, Debug)]
pub(super) struct Reloads {
    taken: IntCounter,
    refused: IntCounter,
}

impl Observers {
    pub(super) fn new(
        config: &Config,
        node: &str,
        namespace: &str,
        registry: &Registry,
    ) -> Result<Self, Error> {
        registry.register(Box::new(Process::new()?))?;
        let graphite: GraphiteConfig = config.section("graphite")?;
        let graphite = graphite
            .enabled
            .then(|| Graphite::new(graphite, node, namespace, registry));
        Ok(Self {
            lag: runtime::register(registry)?,
            graphite: graphite.transpose()?,
            reloads: Reloads::new(registry)?,
        })
    }

    /// Begins to watch, until what is returned is dropped.
    pub(super) fn start(self) -> Tasks {
        let tasks = Tasks::default();
        tasks.spawn(self.lag.run().instrument(tracing::debug_span!("lag")));
        if let Some(graphite) = self.graphite {
            tasks.spawn(graphite.run().instrument(tracing::debug_span!("graphite")));
        }
        tasks
    }
}

impl Reloads {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new("config_reloads_total", "Configurations read again.");
        let reloads = IntCounterVec::new(options.namespace(OWN_NAMESPACE), &["result"])?;
        registry.register(Box::new(reloads.clone()))?;
        Ok(Self {
            taken: reloads.with_label_values(&["ok"]),
            refused: reloads.with_label_values(&["error"]),
        })
    }

    pub(super) fn ended(&self, well: bool) {
        if well {
            self.taken.inc();
        } else {
            self.refused.inc();
        }
    }
}
