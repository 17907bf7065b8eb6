//! What a node counts, under the names of metrics.md 4 to 6.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::summary::SummaryVec;

/// Borders of short durations, seconds (metrics.md 3, set NS).
const NS: [f64; 18] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Borders of longer durations, seconds (metrics.md 3, set MS).
const MS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counters of a node.
#[derive(Debug)]
pub(super) struct Metrics {
    /// What goes through the broker.
    pub(super) broker: Broker,
    /// What happens to clients.
    pub(super) clients: Clients,
    /// What crosses the wire.
    pub(super) wire: Wire,
    /// Internal operations.
    actions: IntCounterVec,
    /// Messages of other nodes that were not taken, by reason.
    control_dropped: IntCounterVec,
    /// How long surveys take, by question.
    surveys: (HistogramVec, SummaryVec),
    gauges: Gauges,
}

/// Messages between node and broker.
#[derive(Debug)]
pub(super) struct Broker {
    /// Given to the broker, by type.
    pub(super) sent: IntCounterVec,
    /// Received from the broker, by type.
    pub(super) received: IntCounterVec,
    /// Suppressed by idempotency or version.
    pub(super) suppressed: IntCounterVec,
    /// Not delivered because of a tags filter.
    pub(super) unwanted: IntCounterVec,
    /// Fan-out of one publication.
    pub(super) broadcast_duration: Histogram,
}

/// What clients get besides what they asked for.
#[derive(Debug)]
pub(super) struct Clients {
    /// Error replies by method and code.
    pub(super) reply_errors: IntCounterVec,
    /// Unsubscribes by the server.
    pub(super) unsubscribes: IntCounterVec,
    /// Disconnects by the server.
    pub(super) disconnects: IntCounterVec,
    /// Recovery attempts.
    pub(super) recover: IntCounterVec,
    /// Authenticated connections.
    pub(super) accepted: IntCounterVec,
    /// Open authenticated connections.
    pub(super) inflight: IntGaugeVec,
    /// Closed because they read too slowly.
    pub(super) slow: IntCounter,
    /// Deliveries that were left out, or put off, because a client reads too slowly.
    pub(super) lagging: IntCounterVec,
    /// Ended connections by transport and code of the close.
    pub(super) closes: IntCounterVec,
}

/// Frames in both directions.
#[derive(Debug)]
pub(super) struct Wire {
    /// Replies and pushes.
    pub(super) sent: IntCounterVec,
    /// Their bytes.
    pub(super) sent_size: IntCounterVec,
    /// Commands.
    pub(super) received: IntCounterVec,
    /// How long commands take, by method.
    pub(super) command_duration: HistogramVec,
}

#[derive(Debug)]
struct Gauges {
    clients: IntGauge,
    users: IntGauge,
    subscriptions: IntGauge,
    channels: IntGauge,
    nodes: IntGauge,
}

/// Numbers of a node at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) clients: usize,
    pub(super) users: usize,
    pub(super) subscriptions: u64,
    pub(super) channels: usize,
    /// Known in the cluster, this one counted.
    pub(super) nodes: usize,
}

/// Registers metrics under one prefix.
struct Family<'a> {
    registry: &'a Registry,
    prefix: &'a str,
}

impl Family<'_> {
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let metric =
            IntCounterVec::new(Opts::new(format!("{}_{name}", self.prefix), help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Opts::new(format!("{}_{name}", self.prefix), help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        Ok(self.gauges(name, help, &[])?.with_label_values::<&str>(&[]))
    }

    fn durations(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options =
            HistogramOpts::new(format!("{}_{name}", self.prefix), help).buckets(NS.to_vec());
        let metric = HistogramVec::new(options, labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

impl Metrics {
    pub(super) fn new(registry: &Registry, version: &str) -> Result<Self, prometheus::Error> {
        let of = Family {
            registry,
            prefix: "centrifugo",
        };
        let own = Family {
            registry,
            prefix: "centripetal",
        };
        let actions = ["action", "channel_namespace"];
        of.gauges("node_build", "server version", &["version"])?
            .with_label_values(&[version])
            .set(1);
        Ok(Self {
            broker: Broker::new(&of)?,
            clients: Clients::new(&of, &own)?,
            wire: Wire::new(&of)?,
            actions: of.counters("node_action_count", "internal operations", &actions)?,
            control_dropped: own.counters(
                "control_dropped_total",
                "messages of other nodes that were not taken",
                &["reason"],
            )?,
            surveys: surveys(&of)?,
            gauges: Gauges::new(&of)?,
        })
    }

    /// Sets the gauges.
    pub(super) fn set(&self, numbers: Numbers) {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = &self.gauges;
        gauges.clients.set(int(numbers.clients));
        gauges.users.set(int(numbers.users));
        gauges.channels.set(int(numbers.channels));
        gauges.nodes.set(int(numbers.nodes));
        gauges
            .subscriptions
            .set(i64::try_from(numbers.subscriptions).unwrap_or(i64::MAX));
    }

    /// Counts a message of another node that was not taken.
    pub(super) fn control_dropped(&self, reason: &str) {
        self.control_dropped.with_label_values(&[reason]).inc();
    }

    /// A survey took so long.
    pub(super) fn surveyed(&self, op: &str, duration: Duration) {
        let (histogram, summary) = &self.surveys;
        let seconds = duration.as_secs_f64();
        histogram.with_label_values(&[op]).observe(seconds);
        summary.with_label_values(&[op]).observe(seconds);
    }

    /// Counts an internal operation.
    pub(super) fn action(&self, action: &str) {
        self.actions.with_label_values(&[action, ""]).inc();
    }
}

fn surveys(of: &Family<'_>) -> Result<(HistogramVec, SummaryVec), prometheus::Error> {
    let (name, help) = (
        format!("{}_node_survey_duration_seconds", of.prefix),
        "duration of cluster questions",
    );
    let options = HistogramOpts::new(format!("{name}_histogram"), help).buckets(MS.to_vec());
    let histogram = HistogramVec::new(options, &["op"])?;
    of.registry.register(Box::new(histogram.clone()))?;
    let summary = SummaryVec::new(Opts::new(name, help), &["op"])?;
    of.registry.register(Box::new(summary.clone()))?;
    Ok((histogram, summary))
}

impl Broker {
    fn new(of: &Family<'_>) -> Result<Self, prometheus::Error> {
        let by_type = ["type", "channel_namespace"];
        let broadcast = "node_broadcast_duration_seconds";
        let suppressed = "broker_publish_suppressed_count";
        let broker = Self {
            sent: of.counters(
                "node_messages_sent_count",
                "messages given to the broker",
                &by_type,
            )?,
            received: of.counters(
                "node_messages_received_count",
                "messages from the broker",
                &by_type,
            )?,
            suppressed: of.counters(
                suppressed,
                "publishes suppressed by idempotency or version",
                &["reason", "channel_namespace"],
            )?,
            unwanted: of.counters(
                "node_tags_filter_dropped_publications",
                "publications not delivered because of a tags filter",
                &["channel_namespace"],
            )?,
            broadcast_duration: of
                .durations(broadcast, "fan-out of one publication", &by_type)?
                .with_label_values(&["publication", ""]),
        };
        for kind in ["publication", "join", "leave", "control"] {
            broker.sent.with_label_values(&[kind, ""]);
            broker.received.with_label_values(&[kind, ""]);
        }
        broker.unwanted.with_label_values(&[""]);
        Ok(broker)
    }
}

impl Clients {
    fn new(of: &Family<'_>, own: &Family<'_>) -> Result<Self, prometheus::Error> {
        let by_client = [
            "transport",
            "accept_protocol",
            "client_name",
            "client_version",
        ];
        let by_error = ["method", "code", "channel_namespace"];
        let by_recovery = [
            "recovered",
            "channel_namespace",
            "has_recovered_publications",
        ];
        let by_code = ["code", "channel_namespace"];
        let slow = own.counters(
            "client_slow_total",
            "connections closed as slow readers",
            &[],
        )?;
        Ok(Self {
            reply_errors: of.counters("client_num_reply_errors", "error replies", &by_error)?,
            unsubscribes: of.counters(
                "client_num_server_unsubscribes",
                "unsubscribes by the server",
                &by_code,
            )?,
            disconnects: of.counters(
                "client_num_server_disconnects",
                "disconnects by the server",
                &["code"],
            )?,
            recover: of.counters("client_recover", "recovery attempts", &by_recovery)?,
            accepted: of.counters(
                "client_connections_accepted",
                "authenticated connections",
                &by_client,
            )?,
            inflight: of.gauges(
                "client_connections_inflight",
                "open authenticated connections",
                &by_client,
            )?,
            slow: slow.with_label_values::<&str>(&[]),
            lagging: own.counters(
                "lagging_deliveries_total",
                "deliveries left out or put off because a client reads too slowly",
                &[],
            )?,
            closes: own.counters(
                "connection_closes_total",
                "ended connections",
                &["transport", "code"],
            )?,
        })
    }
}

impl Wire {
    fn new(of: &Family<'_>) -> Result<Self, prometheus::Error> {
        let by_frame = ["transport", "frame_type", "channel_namespace"];
        Ok(Self {
            sent: of.counters("transport_messages_sent", "replies and pushes", &by_frame)?,
            sent_size: of.counters(
                "transport_messages_sent_size",
                "bytes of replies and pushes",
                &by_frame,
            )?,
            received: of.counters("transport_messages_received", "commands", &by_frame)?,
            command_duration: of.durations(
                "client_command_duration_seconds_histogram",
                "handling of one command",
                &["method", "channel_namespace"],
            )?,
        })
    }
}

impl Gauges {
    fn new(of: &Family<'_>) -> Result<Self, prometheus::Error> {
        let gauges = Self {
            clients: of.gauge("node_num_clients", "connections on this node")?,
            users: of.gauge("node_num_users", "distinct users on this node")?,
            subscriptions: of.gauge("node_num_subscriptions", "subscriptions on this node")?,
            channels: of.gauge(
                "node_num_channels",
                "channels with a subscriber on this node",
            )?,
            nodes: of.gauge("node_num_nodes", "nodes known in the cluster")?,
        };
        gauges.nodes.set(1);
        Ok(gauges)
    }
}
