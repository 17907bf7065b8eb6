//! What is counted of Redis, under the names of metrics.md 6.

use std::sync::Arc;

use prometheus::{
    IntCounterVec, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::engine::{EventSender, sequencer};

/// Counters of PUB/SUB.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    errors: IntCounterVec,
    /// Of the sequencers, one a shard.
    pub(super) sequencer: Arc<sequencer::Metrics>,
}

impl Metrics {
    /// Registers the counters under `namespace`, and what waits in the queues of the events.
    pub(super) fn new(
        registry: &Registry,
        namespace: &str,
        events: &EventSender,
    ) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help: &str| {
            let options = Opts::new(name, help).namespace(namespace);
            options.subsystem("broker")
        };
        let help = "Troubles of connections for PUB/SUB, by kind.";
        let options_of_errors = options("redis_pub_sub_errors", help);
        let errors = IntCounterVec::new(options_of_errors, &["broker_name", "error"])?;
        registry.register(Box::new(errors.clone()))?;
        let help = "Messages that were received and wait for their turn.";
        let labels = ["broker_name", "channel_type", "pub_sub_processor"];
        let queues = options("redis_pub_sub_buffered_messages", help);
        registry.register(Box::new(Buffered {
            queues: IntGaugeVec::new(queues, &labels)?,
            events: events.clone(),
        }))?;
        let sequencer = Arc::new(sequencer::Metrics::new(registry)?);
        Ok(Self { errors, sequencer })
    }

    /// Something went wrong on a connection for PUB/SUB.
    pub(super) fn error(&self, what: &str) {
        self.errors.with_label_values(&["", what]).inc();
    }
}

/// Lengths of the queues between Redis and the node, looked at when somebody asks. Messages of nodes and of channels share
/// them; all count as those of channels.
#[derive(Debug)]
struct Buffered {
    queues: IntGaugeVec,
    events: EventSender,
}

impl Collector for Buffered {
    fn desc(&self) -> Vec<&Desc> {
        self.queues.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (pump, waiting) in self.events.waiting().enumerate() {
            self.queues
                .with_label_values(&["", "client", &pump.to_string()])
                .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
        self.queues.collect()
    }
}
