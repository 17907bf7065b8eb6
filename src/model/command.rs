//! Server-initiated actions on connections: what the server API asks.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Batch, Channel, ClientId, Filter, LabelFilter, RecoveryMode, SlowPolicy, StreamPosition, UserId,
};

/// Options of one subscription, granted by the policy or given by the server (client-protocol.md 4.6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent channel options, each a key of config.md 7.6"
)]
pub struct SubscribeOptions {
    /// Keep presence of this subscription.
    pub presence: bool,
    /// Emit join and leave of this subscription.
    pub join_leave: bool,
    /// Deliver joins and leaves of others to this subscription.
    pub push_join_leave: bool,
    /// Track the position and guarantee gap-free delivery.
    pub positioned: bool,
    /// Give missed publications back; implies `positioned`.
    pub recoverable: bool,
    /// Stream or cache recovery.
    pub recovery_mode: RecoveryMode,
    /// Cache recovery also when the client did not ask for it.
    pub auto_cache_recover: bool,
    /// Deltas may be negotiated.
    pub delta: bool,
    /// A number in place of the channel's name may be negotiated.
    pub compaction: bool,
    /// Expiration in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// The server refreshes this subscription itself, the client is not told of an expiration.
    pub server_side_refresh: bool,
    /// Info others see as `chan_info`; empty for none.
    pub info: Bytes,
    /// Custom data of the subscribe reply or push; empty for none.
    pub data: Bytes,
    /// Clients may choose publications by their tags.
    pub allow_tags_filter: bool,
    /// Which publications it wants; `None` for all.
    pub filter: Option<Arc<Filter>>,
    /// How publications wait for each other.
    pub batch: Batch,
    /// What happens when the client reads too slowly.
    pub slow_policy: SlowPolicy,
    /// Where the permission came from.
    pub source: SubscribeSource,
}

impl SubscribeOptions {
    /// What happens when this subscriber reads too slowly: only a position can be recovered from.
    #[must_use]
    pub fn effective_slow_policy(&self) -> SlowPolicy {
        match self.slow_policy {
            SlowPolicy::Recover if !self.is_positioned() => SlowPolicy::Disconnect,
            policy => policy,
        }
    }

    /// The subscriber knows its position in the stream.
    #[must_use]
    pub const fn is_positioned(&self) -> bool {
        self.positioned || self.recoverable
    }
}

/// Where a subscription came from (tokens.md 8.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the table")]
pub enum SubscribeSource {
    #[default]
    Unknown = 0,
    ConnectionToken = 1,
    ConnectProxy = 2,
    SubscriptionToken = 3,
    SubscribeProxy = 4,
    UserLimited = 5,
    ClientAllowed = 6,
    ClientInsecure = 7,
    ConnectRequest = 8,
    PersonalChannel = 9,
    ServerApi = 10,
    StreamProxy = 13,
}

impl From<u32> for SubscribeSource {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::ConnectionToken,
            2 => Self::ConnectProxy,
            3 => Self::SubscriptionToken,
            4 => Self::SubscribeProxy,
            5 => Self::UserLimited,
            6 => Self::ClientAllowed,
            7 => Self::ClientInsecure,
            8 => Self::ConnectRequest,
            9 => Self::PersonalChannel,
            10 => Self::ServerApi,
            13 => Self::StreamProxy,
            _ => Self::Unknown,
        }
    }
}

/// Which connections an action is for; all given conditions must hold (server-api.md 7.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// User; empty addresses anonymous connections and nobody else, unless `all_users`.
    pub user: UserId,
    /// Only this connection.
    pub client: Option<ClientId>,
    /// Only the connection with this session identifier.
    pub session: Option<String>,
    /// Only connections whose labels fit.
    pub labels: Option<Box<LabelFilter>>,
    /// With an empty user: connections of every user.
    pub all_users: bool,
}

/// A server-side subscription to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeCommand {
    /// Channel to subscribe.
    pub channel: Channel,
    /// Options, overrides of the caller already applied.
    pub options: SubscribeOptions,
    /// Position to recover from.
    pub recover_since: Option<StreamPosition>,
}

/// A change of the expiration of connections (server-api.md 8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refresh {
    /// Close as expired.
    pub expired: bool,
    /// New expiration in Unix seconds; 0 never expires.
    pub expire_at: i64,
    /// Replaces the connection info when not empty.
    pub info: Bytes,
}
