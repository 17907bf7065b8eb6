//! What an operator sets about clients, channels and namespaces (config.md 7.6, 8.9, 8.10, 8.11).
//!
//! Plain values in the shape of the whole configuration tree. Their rules (config.md 9) are checked when a policy is
//! built from them.

use std::time::Duration;

use serde::Deserialize;

/// Everything a policy is built from.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Section `client`.
    pub client: ClientConfig,
    /// Section `channel`.
    pub channel: ChannelConfig,
    /// Section `rpc`.
    pub rpc: RpcConfig,
    /// Section `centripetal`, as far as it decides about permissions.
    pub centripetal: OwnConfig,
}

/// The keys of section `client` that decide about permissions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ClientConfig {
    /// No authentication, every permission (development).
    pub insecure: bool,
    /// Connect as anonymous without a token.
    pub allow_anonymous_connect_without_token: bool,
    /// The channel every user gets.
    pub subscribe_to_user_personal_channel: PersonalChannelConfig,
}

/// Section `client.subscribe_to_user_personal_channel`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PersonalChannelConfig {
    /// Switch on.
    pub enabled: bool,
    /// Namespace of the channel; empty for none.
    pub personal_channel_namespace: String,
    /// Keep only the newest connection of a user.
    pub single_connection: bool,
}

/// Section `channel`.
#[derive(Clone, Debug, Deserialize)]
pub struct ChannelConfig {
    /// Channels without a namespace.
    pub without_namespace: ChannelOptionsConfig,
    /// Namespaces.
    pub namespaces: Vec<NamespaceConfig>,
    /// Life of offset and epoch where a namespace does not say.
    pub history_meta_ttl: Duration,
    /// Payload check where a namespace does not say.
    pub publication_data_format: String,
    /// Longest channel name of clients, bytes.
    pub max_length: usize,
    /// Marks channels that need a token.
    pub private_prefix: String,
    /// Between namespace and the rest.
    pub namespace_boundary: String,
    /// Before the user list.
    pub user_boundary: String,
    /// Between users.
    pub user_separator: String,
}

/// One entry of `channel.namespaces`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NamespaceConfig {
    /// Name, unique.
    pub name: String,
    /// Table Channel options.
    #[serde(flatten)]
    pub options: ChannelOptionsConfig,
}

/// Table Channel options (config.md 7.6), as far as streams use it.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each a key of config.md 7.6"
)]
pub struct ChannelOptionsConfig {
    /// Keep presence.
    pub presence: bool,
    /// Emit joins and leaves.
    pub join_leave: bool,
    /// Deliver joins and leaves without being asked.
    pub force_push_join_leave: bool,
    /// Publications kept.
    pub history_size: usize,
    /// How long they are kept.
    pub history_ttl: Duration,
    /// Life of offset and epoch; zero falls back to `channel.history_meta_ttl`.
    pub history_meta_ttl: Duration,
    /// Positioning for all subscribers.
    pub force_positioning: bool,
    /// Clients may ask for positioning.
    pub allow_positioning: bool,
    /// Recovery for all subscribers.
    pub force_recovery: bool,
    /// Clients may ask for recovery.
    pub allow_recovery: bool,
    /// Empty, `stream` or `cache`.
    pub force_recovery_mode: String,
    /// Latest publication on every subscribe.
    pub auto_cache_recover: bool,
    /// Delta types clients may ask for.
    pub allowed_delta_types: Vec<String>,
    /// Clients may filter by tags.
    pub allow_tags_filter: bool,
    /// Delta for every publish.
    pub delta_publish: bool,
    /// Clients may ask for numbers in place of channel names.
    pub allow_channel_compaction: bool,
    /// Publications of clients do not come back to them.
    pub exclude_publisher: bool,
    /// So many publications are written at once.
    pub batch_max_size: usize,
    /// How long the first one waits.
    pub batch_max_delay: Duration,
    /// Only the newest publication of a batch is written.
    pub batch_flush_latest: bool,
    /// `disconnect` (the same as empty), `latest` or `recover`.
    pub slow_policy: String,
    /// Subscribe with the empty user, in addition to the next.
    pub allow_subscribe_for_anonymous: bool,
    /// Subscribe without a token.
    pub allow_subscribe_for_client: bool,
    /// Publish with the empty user, in addition.
    pub allow_publish_for_anonymous: bool,
    /// Publish while subscribed.
    pub allow_publish_for_subscriber: bool,
    /// Publish.
    pub allow_publish_for_client: bool,
    /// Presence with the empty user, in addition.
    pub allow_presence_for_anonymous: bool,
    /// Presence while subscribed.
    pub allow_presence_for_subscriber: bool,
    /// Presence.
    pub allow_presence_for_client: bool,
    /// History with the empty user, in addition.
    pub allow_history_for_anonymous: bool,
    /// History while subscribed.
    pub allow_history_for_subscriber: bool,
    /// History.
    pub allow_history_for_client: bool,
    /// The user list in a channel name is honoured.
    pub allow_user_limited_channels: bool,
    /// Pattern for the name after the namespace; lifts the ASCII rule.
    pub channel_regex: String,
    /// Payload check; empty falls back to `channel.publication_data_format`.
    pub publication_data_format: String,
    /// Ask the backend on subscribe.
    pub subscribe_proxy_enabled: bool,
    /// Proxy to ask then.
    pub subscribe_proxy_name: String,
    /// Ask the backend on publish.
    pub publish_proxy_enabled: bool,
    /// Proxy to ask then.
    pub publish_proxy_name: String,
    /// Ask the backend when a subscription expires.
    pub sub_refresh_proxy_enabled: bool,
    /// Proxy to ask then.
    pub sub_refresh_proxy_name: String,
    /// Feed subscriptions from a backend stream.
    pub subscribe_stream_proxy_enabled: bool,
    /// Proxy that streams then.
    pub subscribe_stream_proxy_name: String,
    /// Clients may send into that stream.
    pub subscribe_stream_proxy_bidirectional: bool,
    /// Empty, `stream`, `map`, `map_clients`, `map_users` or `shared_poll`.
    pub subscription_type: String,
}

/// The keys of section `centripetal` that decide about publications.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OwnConfig {
    /// `delta_publish` counts for publications that a proxy allowed, too.
    pub publish_proxy_honours_delta_publish: bool,
}

/// Section `rpc`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RpcConfig {
    /// Methods whose name has no namespace.
    pub without_namespace: RpcOptionsConfig,
    /// Namespaces of methods.
    pub namespaces: Vec<RpcNamespaceConfig>,
    /// Between namespace and the rest of a method.
    pub namespace_boundary: String,
    /// Built-in method.
    pub ping: RpcPingConfig,
}

/// One entry of `rpc.namespaces`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RpcNamespaceConfig {
    /// Name, unique.
    pub name: String,
    /// What is done with its methods.
    #[serde(flatten)]
    pub options: RpcOptionsConfig,
}

/// What is done with methods of calls.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RpcOptionsConfig {
    /// Ask the backend.
    pub proxy_enabled: bool,
    /// Proxy to ask then.
    pub proxy_name: String,
}

/// Section `rpc.ping`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RpcPingConfig {
    /// Switch on.
    pub enabled: bool,
    /// Its name.
    pub method: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            centripetal: OwnConfig::default(),
            channel: ChannelConfig {
                without_namespace: ChannelOptionsConfig::default(),
                namespaces: Vec::new(),
                history_meta_ttl: Duration::from_hours(720),
                publication_data_format: String::new(),
                max_length: 255,
                private_prefix: "$".to_owned(),
                namespace_boundary: ":".to_owned(),
                user_boundary: "#".to_owned(),
                user_separator: ",".to_owned(),
            },
            rpc: RpcConfig {
                without_namespace: RpcOptionsConfig::default(),
                namespaces: Vec::new(),
                namespace_boundary: ":".to_owned(),
                ping: RpcPingConfig {
                    enabled: false,
                    method: "ping".to_owned(),
                },
            },
        }
    }
}
