//! What a node counts, under the names of metrics.md 4 to 6 and its own.
//!
//! Whatever happens for every publication or command has its series resolved once; the vectors are for what is rare.

mod clients;
mod family;
mod wire;

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use self::family::{Family, MS, NS, Twin};
pub(super) use self::{
    clients::Clients,
    wire::{Wire, method},
};
use crate::{
    engine::Suppressed,
    model::{ChannelEvent, Now, Publication},
};

/// Borders of the lag of publications, seconds (metrics.md 3, set LAG).
const LAG: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Borders of the time until a publication is with everybody, seconds.
const DELIVERY: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

/// How compatible metrics are called, and what their labels show.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// How their names begin.
    pub(super) namespace: String,
    /// Names of clients that may be label values.
    pub(super) client_names: Vec<String>,
    /// Whether recovered publications are counted by recovery.
    pub(super) recovered_publications: bool,
}

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
    /// Nodes that keep channels under other names.
    schemes_differ: IntCounterVec,
    /// How long surveys take, by question.
    surveys: Twin,
    gauges: Gauges,
}

/// Messages between node and broker.
#[derive(Debug)]
pub(super) struct Broker {
    /// Given to the broker.
    pub(super) sent: Messages,
    /// Received from the broker.
    pub(super) received: Messages,
    suppressed: IntCounterVec,
    /// Not delivered because of a tags filter.
    pub(super) unwanted: IntCounter,
    /// Fan-out of one publication.
    pub(super) broadcast_duration: Histogram,
    /// From the publish until the publication is here.
    lag: Histogram,
    /// From the publish until the last subscriber's socket has it.
    pub(super) delivery: Histogram,
    /// Channels whose positioned subscribers are told that something was lost.
    insufficient: IntCounter,
}

/// Messages by type.
#[derive(Debug)]
pub(super) struct Messages {
    publication: IntCounter,
    join: IntCounter,
    leave: IntCounter,
    /// Between nodes.
    pub(super) control: IntCounter,
}

#[derive(Debug)]
struct Gauges {
    clients: IntGauge,
    users: IntGauge,
    subscriptions: IntGauge,
    channels: IntGauge,
    nodes: IntGauge,
    mailboxes: IntGauge,
    fullest: IntGauge,
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

/// Bytes that wait for clients.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// In all queues.
    pub(super) all: usize,
    /// In the fullest one.
    pub(super) most: usize,
}

impl Metrics {
    pub(super) fn new(
        registry: &Registry,
        naming: &Naming,
        version: &str,
    ) -> Result<Self, prometheus::Error> {
        let of = Family {
            registry,
            prefix: &naming.namespace,
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
            broker: Broker::new(&of, &own)?,
            clients: Clients::new(&of, &own, naming)?,
            wire: Wire::new(&of)?,
            actions: of.counters("node_action_count", "internal operations", &actions)?,
            control_dropped: control_dropped(&own)?,
            schemes_differ: own.counters(
                "control_schemes_differ_total",
                "nodes seen that keep their channels under other names",
                &[],
            )?,
            surveys: of.twin(
                "node_survey_duration_seconds",
                "duration of cluster questions",
                &["op"],
                &MS,
            )?,
            gauges: Gauges::new(&of, &own)?,
        })
    }

    /// Sets the gauges.
    pub(super) fn set(&self, numbers: Numbers, waiting: Waiting) {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = &self.gauges;
        gauges.clients.set(int(numbers.clients));
        gauges.users.set(int(numbers.users));
        gauges.channels.set(int(numbers.channels));
        gauges.nodes.set(int(numbers.nodes));
        gauges
            .subscriptions
            .set(i64::try_from(numbers.subscriptions).unwrap_or(i64::MAX));
        gauges.mailboxes.set(int(waiting.all));
        gauges.fullest.set(int(waiting.most));
    }

    /// Counts a message of another node that was not taken.
    pub(super) fn control_dropped(&self, reason: &str) {
        self.control_dropped.with_label_values(&[reason]).inc();
    }

    /// Counts a node that keeps its channels under other names than this one.
    pub(super) fn schemes_differ(&self) {
        let labels: &[&str] = &[];
        self.schemes_differ.with_label_values(labels).inc();
    }

    /// A survey took so long.
    pub(super) fn surveyed(&self, op: &str, duration: Duration) {
        self.surveys.series(&[op]).observe(duration.as_secs_f64());
    }

    /// Counts an internal operation.
    pub(super) fn action(&self, action: &str) {
        self.actions.with_label_values(&[action, ""]).inc();
    }
}

fn control_dropped(own: &Family<'_>) -> Result<IntCounterVec, prometheus::Error> {
    let help = "messages of other nodes that were not taken";
    let dropped = own.counters("control_dropped_total", help, &["reason"])?;
    for reason in ["answer", "channel", "nodes", "queue"] {
        dropped.with_label_values(&[reason]);
    }
    Ok(dropped)
}

impl Broker {
    fn new(of: &Family<'_>, own: &Family<'_>) -> Result<Self, prometheus::Error> {
        let suppressed = "publishes suppressed by idempotency or version";
        let dropped = of.counters(
            "broker_redis_pub_sub_dropped_messages",
            "messages of PUB/SUB that were dropped, which never happens here",
            &["broker_name", "channel_type"],
        )?;
        for kind in ["control", "client"] {
            dropped.with_label_values(&["", kind]);
        }
        let broadcast = of.histograms(
            "node_broadcast_duration_seconds",
            "fan-out of one publication",
            &["type", "channel_namespace"],
            &NS,
        )?;
        let lag = of.histograms(
            "node_pub_sub_lag_seconds",
            "time from publishing to receiving through the broker",
            &["channel_namespace"],
            &LAG,
        )?;
        let unwanted = of.counters(
            "node_tags_filter_dropped_publications",
            "publications not delivered because of a tags filter",
            &["channel_namespace"],
        )?;
        Ok(Self {
            sent: Messages::new(of, "node_messages_sent_count", "messages given to the broker")?,
            received: Messages::new(
                of,
                "node_messages_received_count",
                "messages from the broker",
            )?,
            suppressed: of.counters(
                "broker_publish_suppressed_count",
                suppressed,
                &["reason", "channel_namespace"],
            )?,
            unwanted: unwanted.with_label_values(&[""]),
            broadcast_duration: broadcast.with_label_values(&["publication", ""]),
            lag: lag.with_label_values(&[""]),
            delivery: own.histogram(
                "delivery_duration_seconds",
                "time from a publish until the last subscriber's socket has it, of some publications",
                &DELIVERY,
            )?,
            insufficient: own.counter(
                "insufficient_state_channels_total",
                "channels whose positioned subscribers were told of a loss",
            )?,
        })
    }

    /// Counts a publish that changed nothing.
    pub(super) fn suppressed(&self, why: Suppressed) {
        let reason = match why {
            Suppressed::Idempotency => "idempotency",
            Suppressed::Version => "version",
        };
        self.suppressed.with_label_values(&[reason, ""]).inc();
    }

    /// Counts what came from the broker.
    pub(super) fn received(&self, event: &ChannelEvent) {
        match event {
            ChannelEvent::InsufficientState(_) => self.insufficient.inc(),
            event => self.received.of(event),
        }
    }

    /// A publication is here; says how long it was under way, if it tells when it was made.
    pub(super) fn arrived(&self, publication: &Publication, now: Now) -> Option<Duration> {
        let made = Some(publication.time).filter(|time| *time > 0)?;
        let under_way = u64::try_from(now.unix_ms.saturating_sub(made)).unwrap_or(0);
        let under_way = Duration::from_millis(under_way);
        self.lag.observe(under_way.as_secs_f64());
        Some(under_way)
    }
}

impl Messages {
    fn new(of: &Family<'_>, name: &str, help: &str) -> Result<Self, prometheus::Error> {
        let messages = of.counters(name, help, &["type", "channel_namespace"])?;
        let kind = |kind| messages.with_label_values(&[kind, ""]);
        Ok(Self {
            publication: kind("publication"),
            join: kind("join"),
            leave: kind("leave"),
            control: kind("control"),
        })
    }

    /// Counts an event of a channel. That something was lost is no message.
    pub(super) fn of(&self, event: &ChannelEvent) {
        match event {
            ChannelEvent::Publication(..) => self.publication.inc(),
            ChannelEvent::Join(_) => self.join.inc(),
            ChannelEvent::Leave(_) => self.leave.inc(),
            ChannelEvent::InsufficientState(_) => {}
        }
    }

    /// Counts a publication.
    pub(super) fn publication(&self) {
        self.publication.inc();
    }
}

impl Gauges {
    fn new(of: &Family<'_>, own: &Family<'_>) -> Result<Self, prometheus::Error> {
        let gauges = Self {
            clients: of.gauge("node_num_clients", "connections on this node")?,
            users: of.gauge("node_num_users", "distinct users on this node")?,
            subscriptions: of.gauge("node_num_subscriptions", "subscriptions on this node")?,
            channels: of.gauge(
                "node_num_channels",
                "channels with a subscriber on this node",
            )?,
            nodes: of.gauge("node_num_nodes", "nodes known in the cluster")?,
            mailboxes: own.gauge("mailbox_bytes", "bytes that wait for clients")?,
            fullest: own.gauge(
                "mailbox_largest_bytes",
                "bytes that wait for the client with the most",
            )?,
        };
        gauges.nodes.set(1);
        Ok(gauges)
    }
}
