//! Settings of a node (config.md 8.9, 8.34).

use std::time::Duration;

use serde::Deserialize;

use super::metrics::Naming;
use crate::{model::Disconnect, session::Unidirectional};

/// The part of the configuration tree a node reads.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Section `client`.
    pub client: ClientConfig,
    /// Section `channel`.
    pub channel: ChannelConfig,
    /// Section `node`.
    pub node: NodeConfig,
    /// Section `prometheus`.
    pub prometheus: PrometheusConfig,
    /// Section `centripetal`.
    pub centripetal: OwnConfig,
}

/// What a node reads of section `prometheus`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct PrometheusConfig {
    /// Count how many publications a recovery brings.
    pub recovered_publications_histogram: bool,
}

/// What a node reads of section `centripetal`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OwnConfig {
    /// Section `metrics` of it.
    pub metrics: MetricsConfig,
}

/// What metrics are called.
#[derive(Clone, Debug, Deserialize)]
pub struct MetricsConfig {
    /// How compatible names begin.
    pub namespace: String,
    /// Names of clients that may be label values.
    pub client_names: Vec<String>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            namespace: "centrifugo".to_owned(),
            client_names: Vec::new(),
        }
    }
}

impl Config {
    /// How compatible metric names begin.
    pub(super) fn namespace(&self) -> &str {
        &self.centripetal.metrics.namespace
    }

    pub(super) fn naming(&self) -> Naming {
        let metrics = &self.centripetal.metrics;
        Naming {
            namespace: metrics.namespace.clone(),
            client_names: metrics.client_names.clone(),
            recovered_publications: self.prometheus.recovered_publications_histogram,
        }
    }
}

/// Limits and intervals of connections.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientConfig {
    /// Application ping period; `None` for none.
    pub ping_interval: Option<Duration>,
    /// Wait for pong; `None` when none is expected.
    pub pong_timeout: Option<Duration>,
    /// Grace after connection expiration.
    pub expired_close_delay: Duration,
    /// Grace after subscription expiration.
    pub expired_sub_close_delay: Duration,
    /// Time limit of the connect command.
    pub stale_close_delay: Duration,
    /// Subscriptions per connection.
    pub channel_limit: usize,
    /// Bytes queued per connection before it is closed as slow.
    pub queue_max_size: usize,
    /// How long what is ready waits for more; zero for not at all.
    pub write_delay: Duration,
    /// Messages that end this wait: 0 for 16, negative for any number.
    pub max_messages_in_frame: i64,
    /// Period of presence renewal and periodic checks.
    pub presence_update_interval: Duration,
    /// Commands of one connection at the same time; 0 and 1 mean one after another.
    pub concurrency: u32,
    /// Period of position checks; zero for none.
    pub channel_position_check_delay: Duration,
    /// Largest lag of a delivery to a positioned subscriber; zero for any.
    pub channel_position_max_time_lag: Duration,
    /// Connections per user on this node; 0 for any number.
    pub user_connection_limit: usize,
    /// Server time in the connect reply.
    pub connect_include_server_time: bool,
    /// Most publications of a history reply.
    pub history_max_publication_limit: usize,
    /// Most publications recovered.
    pub recovery_max_publication_limit: usize,
    /// Disconnects that connections which only listen get in place of errors.
    pub connect_code_to_unidirectional_disconnect: UnidirectionalDisconnects,
}

/// Section `client.connect_code_to_unidirectional_disconnect`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UnidirectionalDisconnects {
    /// Switched on.
    pub enabled: bool,
    /// Which error becomes which disconnect.
    pub transforms: Vec<UnidirectionalDisconnect>,
}

/// One rule of it.
#[derive(Clone, Debug, Deserialize)]
pub struct UnidirectionalDisconnect {
    /// The error.
    pub code: u32,
    /// The disconnect.
    pub to: DisconnectTarget,
}

/// Code and reason of a disconnect.
#[derive(Clone, Debug, Deserialize)]
pub struct DisconnectTarget {
    /// Code.
    pub code: u32,
    /// Reason.
    pub reason: String,
}

impl UnidirectionalDisconnects {
    pub(super) fn rules(&self) -> Unidirectional {
        let rules = self.transforms.iter().filter(|_| self.enabled);
        let rules = rules.map(|rule| {
            let to = Disconnect {
                code: rule.to.code,
                reason: rule.to.reason.clone().into(),
            };
            (rule.code, to)
        });
        Unidirectional(rules.collect())
    }
}

/// What a node reads of section `channel`.
#[derive(Clone, Debug, Deserialize)]
pub struct ChannelConfig {
    /// Longest channel name for clients, bytes.
    pub max_length: usize,
}

/// Section `node`.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeConfig {
    /// Node name; the server fills in host and port when empty.
    pub name: String,
    /// Period of metric snapshots in `info`.
    pub info_metrics_aggregate_interval: Duration,
}
