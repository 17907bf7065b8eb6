//! What is counted of Redis, under the names of metrics.md 6.

use std::sync::Arc;

use prometheus::{IntCounterVec, Opts, Registry};

use crate::engine::sequencer;

/// Counters of PUB/SUB.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    errors: IntCounterVec,
    /// Of the sequencers, one a shard.
    pub(super) sequencer: Arc<sequencer::Metrics>,
}

impl Metrics {
    /// Registers the counters under `namespace`.
    pub(super) fn new(registry: &Registry, namespace: &str) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let options = Opts::new(name, help)
                .namespace(namespace)
                .subsystem("broker");
            let family = IntCounterVec::new(options, labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let errors = family(
            "redis_pub_sub_errors",
            "Troubles of connections for PUB/SUB, by kind.",
            &["broker_name", "error"],
        )?;
        let sequencer = Arc::new(sequencer::Metrics::new(registry)?);
        Ok(Self { errors, sequencer })
    }

    /// Something went wrong on a connection for PUB/SUB.
    pub(super) fn error(&self, what: &str) {
        self.errors.with_label_values(&["", what]).inc();
    }
}
