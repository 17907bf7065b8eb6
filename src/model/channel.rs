//! Channel names and the options a namespace gives to its channels.

use std::{fmt, sync::Arc, time::Duration};

use super::SubscribeOptions;

/// Name of a channel. Cloning is a reference count.
///
/// Holds any text; who accepts which names is decided by the policy (client-protocol.md 5.1).
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

impl Channel {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the empty name, which no command may carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Channel {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl From<String> for Channel {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl std::borrow::Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a node needs to know of a channel to publish into it and to keep it (config.md 7.6).
///
/// Resolved from the channel's namespace by [`crate::hooks::Hooks::channel`]; permissions are not part of it,
/// they are decided by the hooks themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Namespace the channel belongs to, empty for channels without one. A metric label.
    pub namespace: String,
    /// Keep presence of this channel.
    pub presence: bool,
    /// Emit joins and leaves.
    pub join_leave: bool,
    /// Publications kept; history is on when this and `history_ttl` are both above zero.
    pub history_size: usize,
    /// Sliding life of the whole stream since the last publication; whole seconds.
    pub history_ttl: Duration,
    /// Life of offset and epoch; not less than `history_ttl`.
    pub history_meta_ttl: Duration,
    /// What a publication must look like.
    pub data_format: DataFormat,
    /// Publications of the server API are made for deltas, asked for or not.
    pub delta_publish: bool,
    /// Kind of subscription the channel serves.
    pub subscription_type: SubscriptionType,
    /// What the namespace gives to a server-side subscription: presence, join/leave, forced positioning and recovery.
    /// Callers put their overrides on a copy (server-api.md 8.3).
    pub subscribe: SubscribeOptions,
}

impl ChannelOptions {
    /// True when publications are kept in a stream (engines.md 1.3 rule 1).
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }
}

/// Payload check of `publication_data_format` (server-api.md 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataFormat {
    /// Anything but an empty payload.
    #[default]
    NonEmpty,
    /// One valid JSON document.
    Json,
    /// One valid JSON object.
    JsonObject,
    /// Anything, including nothing.
    Binary,
}

/// Kind of subscription a namespace serves (`subscription_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionType {
    /// A stream of publications.
    #[default]
    Stream,
    /// A map of keys, of whatever kind.
    Map,
    /// Keys polled from the backend.
    SharedPoll,
}

/// How publications of a channel wait for each other on their way to a subscriber (`batch_max_size`, `batch_max_delay`,
/// `batch_flush_latest`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// So many are written at once; 0 for any number.
    pub max_size: usize,
    /// How long the first one waits; zero switches batching off.
    pub max_delay: Duration,
    /// Only the newest publication of a batch is written.
    pub flush_latest: bool,
}

/// What happens to a subscription whose client reads too slowly (`slow_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The connection is closed with 3008.
    #[default]
    Disconnect,
    /// Only the newest publication is kept for it.
    Latest,
    /// Nothing is kept for it; it is brought up to date from history.
    Recover,
}

/// How missed publications are given back (`force_recovery_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// All publications after the position of the client.
    #[default]
    Stream,
    /// Only the newest publication.
    Cache,
}
