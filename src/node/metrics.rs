//! What a node counts, under the names of metrics.md 4 to 6.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Borders of short durations, seconds (metrics.md 3, set NS).
const NS: [f64; 18] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Counters of a node.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Messages given to the broker, by type.
    pub(super) messages_sent: IntCounterVec,
    /// Messages received from the broker, by type.
    pub(super) messages_received: IntCounterVec,
    /// Internal operations.
    pub(super) actions: IntCounterVec,
    /// Fan-out of one publication.
    pub(super) broadcast_duration: Histogram,
    /// Connections closed because they read too slowly.
    pub(super) slow: IntCounter,
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
    /// Publishes suppressed by idempotency or version.
    pub(super) suppressed: IntCounterVec,
    /// Replies and pushes to clients.
    pub(super) frames_sent: IntCounterVec,
    /// Their bytes.
    pub(super) frames_sent_size: IntCounterVec,
    /// Commands from clients.
    pub(super) frames_received: IntCounterVec,
    /// Connections by transport and code of the close.
    pub(super) closes: IntCounterVec,
    num_clients: IntGauge,
    num_users: IntGauge,
    num_subscriptions: IntGauge,
    num_channels: IntGauge,
    num_nodes: IntGauge,
    /// How long commands take, by method.
    pub(super) command_duration: HistogramVec,
}

/// Numbers of a node at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) clients: usize,
    pub(super) users: usize,
    pub(super) subscriptions: u64,
    pub(super) channels: usize,
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
        let by_type = ["type", "channel_namespace"];
        let by_frame = ["transport", "frame_type", "channel_namespace"];
        let by_client = [
            "transport",
            "accept_protocol",
            "client_name",
            "client_version",
        ];
        let metrics = Self {
            messages_sent: of.counters(
                "node_messages_sent_count",
                "messages given to the broker",
                &by_type,
            )?,
            messages_received: of.counters(
                "node_messages_received_count",
                "messages from the broker",
                &by_type,
            )?,
            actions: of.counters(
                "node_action_count",
                "internal operations",
                &["action", "channel_namespace"],
            )?,
            broadcast_duration: of
                .durations(
                    "node_broadcast_duration_seconds",
                    "fan-out of one publication",
                    &by_type,
                )?
                .with_label_values(&["publication", ""]),
            slow: own
                .counters(
                    "client_slow_total",
                    "connections closed as slow readers",
                    &[],
                )?
                .with_label_values::<&str>(&[]),
            reply_errors: of.counters(
                "client_num_reply_errors",
                "error replies",
                &["method", "code", "channel_namespace"],
            )?,
            unsubscribes: of.counters(
                "client_num_server_unsubscribes",
                "unsubscribes by the server",
                &["code", "channel_namespace"],
            )?,
            disconnects: of.counters(
                "client_num_server_disconnects",
                "disconnects by the server",
                &["code"],
            )?,
            recover: of.counters(
                "client_recover",
                "recovery attempts",
                &[
                    "recovered",
                    "channel_namespace",
                    "has_recovered_publications",
                ],
            )?,
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
            suppressed: of.counters(
                "broker_publish_suppressed_count",
                "publishes suppressed by idempotency or version",
                &["reason", "channel_namespace"],
            )?,
            frames_sent: of.counters("transport_messages_sent", "replies and pushes", &by_frame)?,
            frames_sent_size: of.counters(
                "transport_messages_sent_size",
                "bytes of replies and pushes",
                &by_frame,
            )?,
            frames_received: of.counters("transport_messages_received", "commands", &by_frame)?,
            closes: own.counters(
                "connection_closes_total",
                "ended connections",
                &["transport", "code"],
            )?,
            num_clients: of.gauge("node_num_clients", "connections on this node")?,
            num_users: of.gauge("node_num_users", "distinct users on this node")?,
            num_subscriptions: of.gauge("node_num_subscriptions", "subscriptions on this node")?,
            num_channels: of.gauge(
                "node_num_channels",
                "channels with a subscriber on this node",
            )?,
            num_nodes: of.gauge("node_num_nodes", "nodes known in the cluster")?,
            command_duration: of.durations(
                "client_command_duration_seconds_histogram",
                "handling of one command",
                &["method", "channel_namespace"],
            )?,
        };
        metrics.num_nodes.set(1);
        for kind in ["publication", "join", "leave", "control"] {
            metrics.messages_sent.with_label_values(&[kind, ""]);
            metrics.messages_received.with_label_values(&[kind, ""]);
        }
        of.gauges("node_build", "server version", &["version"])?
            .with_label_values(&[version])
            .set(1);
        Ok(metrics)
    }

    /// Sets the gauges.
    pub(super) fn set(&self, numbers: Numbers) {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.num_clients.set(int(numbers.clients));
        self.num_users.set(int(numbers.users));
        self.num_channels.set(int(numbers.channels));
        self.num_subscriptions
            .set(i64::try_from(numbers.subscriptions).unwrap_or(i64::MAX));
    }

    /// Counts an internal operation.
    pub(super) fn action(&self, action: &str) {
        self.actions.with_label_values(&[action, ""]).inc();
    }
}
