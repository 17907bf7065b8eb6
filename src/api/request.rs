//! Requests of the server API, the same values for HTTP, gRPC, batch and legacy.
//!
//! Field numbers and names are those of `proto/api.proto`, which a test compares; the JSON side is server-api.md 4.1.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::MapAccess;

use super::json::{Fields, Place};

/// Declares messages that are read from Protobuf and from JSON alike.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {$(
            $(#[$field_meta:meta])*
            pub $field:ident: $type:ty,
        )*}
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name {$(
            $(#[$field_meta])*
            pub $field: $type,
        )*}

        impl Fields for $name {
            fn field<'de, A: MapAccess<'de>>(
                &mut self,
                _name: &str,
                _values: &mut A,
            ) -> Result<bool, A::Error> {
                $(
                    if _name.eq_ignore_ascii_case(stringify!($field).trim_start_matches("r#")) {
                        _values.next_value_seed(Place(&mut self.$field))?;
                        return Ok(true);
                    }
                )*
                Ok(false)
            }
        }
    )+};
}

message! {
    /// Publishes into one channel (server-api.md 8.1).
    pub struct PublishRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
        /// Payload.
        #[prost(bytes = "bytes", tag = "2")]
        pub data: Bytes,
        /// Payload as base64; wins when not empty.
        #[prost(string, tag = "3")]
        pub b64data: String,
        /// Do not keep it in history.
        #[prost(bool, tag = "4")]
        pub skip_history: bool,
        /// Tags.
        #[prost(btree_map = "string, string", tag = "5")]
        pub tags: BTreeMap<String, String>,
        /// Idempotency key; empty for none.
        #[prost(string, tag = "6")]
        pub idempotency_key: String,
        /// Compute a delta for subscribers that negotiated them.
        #[prost(bool, tag = "7")]
        pub delta: bool,
        /// Version; 0 for none.
        #[prost(uint64, tag = "8")]
        pub version: u64,
        /// Epoch of the version.
        #[prost(string, tag = "9")]
        pub version_epoch: String,
        /// The client that does not get it; empty for none. Own.
        #[prost(string, tag = "100")]
        pub exclude_client: String,
    }

    /// Publishes into many channels (server-api.md 8.2); the other fields as in [`PublishRequest`].
    pub struct BroadcastRequest {
        /// Channels; at least one.
        #[prost(string, repeated, tag = "1")]
        pub channels: Vec<String>,
        /// Payload.
        #[prost(bytes = "bytes", tag = "2")]
        pub data: Bytes,
        /// Payload as base64; wins when not empty.
        #[prost(string, tag = "3")]
        pub b64data: String,
        /// Do not keep it in history.
        #[prost(bool, tag = "4")]
        pub skip_history: bool,
        /// Tags.
        #[prost(btree_map = "string, string", tag = "5")]
        pub tags: BTreeMap<String, String>,
        /// Idempotency key, applied to each channel; empty for none.
        #[prost(string, tag = "6")]
        pub idempotency_key: String,
        /// Compute a delta for subscribers that negotiated them.
        #[prost(bool, tag = "7")]
        pub delta: bool,
        /// Version; 0 for none.
        #[prost(uint64, tag = "8")]
        pub version: u64,
        /// Epoch of the version.
        #[prost(string, tag = "9")]
        pub version_epoch: String,
        /// The client that does not get it; empty for none. Own.
        #[prost(string, tag = "100")]
        pub exclude_client: String,
    }

    /// Makes server-side subscriptions (server-api.md 8.3).
    pub struct SubscribeRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
        /// User; empty for anonymous connections.
        #[prost(string, tag = "2")]
        pub user: String,
        /// Expiration in Unix seconds; 0 for never.
        #[prost(int64, tag = "3")]
        pub expire_at: i64,
        /// Info of the connection in this channel.
        #[prost(bytes = "bytes", tag = "4")]
        pub info: Bytes,
        /// The same as base64.
        #[prost(string, tag = "5")]
        pub b64info: String,
        /// Only this client.
        #[prost(string, tag = "6")]
        pub client: String,
        /// Data of the subscribe push.
        #[prost(bytes = "bytes", tag = "7")]
        pub data: Bytes,
        /// The same as base64.
        #[prost(string, tag = "8")]
        pub b64data: String,
        /// Position to recover from.
        #[prost(message, optional, tag = "9")]
        pub recover_since: Option<StreamPosition>,
        /// Overrides of namespace options.
        #[prost(message, optional, tag = "10")]
        pub r#override: Option<SubscribeOptionOverride>,
        /// Only this session.
        #[prost(string, tag = "11")]
        pub session: String,
        /// Accepted and ignored.
        #[prost(message, optional, boxed, tag = "12")]
        pub label_filter: Option<Box<FilterNode>>,
        /// Accepted and ignored.
        #[prost(bool, tag = "13")]
        pub all_users: bool,
    }

    /// Overrides of namespace options; an absent one leaves the namespace's.
    pub struct SubscribeOptionOverride {
        /// Keep presence.
        #[prost(message, optional, tag = "1")]
        pub presence: Option<BoolValue>,
        /// Emit joins and leaves.
        #[prost(message, optional, tag = "2")]
        pub join_leave: Option<BoolValue>,
        /// Recovery.
        #[prost(message, optional, tag = "3")]
        pub force_recovery: Option<BoolValue>,
        /// Positioning.
        #[prost(message, optional, tag = "4")]
        pub force_positioning: Option<BoolValue>,
        /// Deliver joins and leaves of others.
        #[prost(message, optional, tag = "5")]
        pub force_push_join_leave: Option<BoolValue>,
    }

    /// A boolean that can be absent; in JSON an object, never a bare boolean.
    pub struct BoolValue {
        /// The value.
        #[prost(bool, tag = "1")]
        pub value: bool,
    }

    /// A place in a stream.
    pub struct StreamPosition {
        /// Offset.
        #[prost(uint64, tag = "1")]
        pub offset: u64,
        /// Epoch; empty is not checked.
        #[prost(string, tag = "2")]
        pub epoch: String,
    }

    /// A filter by labels. Parsed, so that wrong types are noticed, and ignored.
    pub struct FilterNode {
        /// Logical operator; empty for a leaf.
        #[prost(string, tag = "1")]
        pub op: String,
        /// Label.
        #[prost(string, tag = "2")]
        pub key: String,
        /// Comparison.
        #[prost(string, tag = "3")]
        pub cmp: String,
        /// Operand.
        #[prost(string, tag = "4")]
        pub val: String,
        /// Operands.
        #[prost(string, repeated, tag = "5")]
        pub vals: Vec<String>,
        /// Children.
        #[prost(message, repeated, tag = "6")]
        pub nodes: Vec<FilterNode>,
    }

    /// Ends subscriptions (server-api.md 8.4).
    pub struct UnsubscribeRequest {
        /// Channel; an empty one only yields a push.
        #[prost(string, tag = "1")]
        pub channel: String,
        /// User; empty for anonymous connections.
        #[prost(string, tag = "2")]
        pub user: String,
        /// Only this client.
        #[prost(string, tag = "3")]
        pub client: String,
        /// Only this session.
        #[prost(string, tag = "4")]
        pub session: String,
        /// Accepted and ignored.
        #[prost(message, optional, boxed, tag = "5")]
        pub label_filter: Option<Box<FilterNode>>,
        /// Accepted and ignored.
        #[prost(bool, tag = "6")]
        pub all_users: bool,
    }

    /// Closes connections (server-api.md 8.5).
    pub struct DisconnectRequest {
        /// User; empty for anonymous connections.
        #[prost(string, tag = "1")]
        pub user: String,
        /// Code and reason; 3503 when absent.
        #[prost(message, optional, tag = "2")]
        pub disconnect: Option<Disconnect>,
        /// Only this client.
        #[prost(string, tag = "3")]
        pub client: String,
        /// Clients that stay.
        #[prost(string, repeated, tag = "4")]
        pub whitelist: Vec<String>,
        /// Only this session.
        #[prost(string, tag = "5")]
        pub session: String,
        /// Accepted and ignored.
        #[prost(message, optional, boxed, tag = "6")]
        pub label_filter: Option<Box<FilterNode>>,
        /// Accepted and ignored.
        #[prost(bool, tag = "7")]
        pub all_users: bool,
    }

    /// Code and reason of a close, used as given.
    pub struct Disconnect {
        /// Code.
        #[prost(uint32, tag = "1")]
        pub code: u32,
        /// Reason.
        #[prost(string, tag = "2")]
        pub reason: String,
    }

    /// Changes the expiration of connections (server-api.md 8.6).
    pub struct RefreshRequest {
        /// User; empty for anonymous connections.
        #[prost(string, tag = "1")]
        pub user: String,
        /// Only this client.
        #[prost(string, tag = "2")]
        pub client: String,
        /// Close as expired.
        #[prost(bool, tag = "3")]
        pub expired: bool,
        /// New expiration in Unix seconds; 0 for never.
        #[prost(int64, tag = "4")]
        pub expire_at: i64,
        /// New connection info.
        #[prost(bytes = "bytes", tag = "5")]
        pub info: Bytes,
        /// Only this session.
        #[prost(string, tag = "6")]
        pub session: String,
        /// Accepted and ignored.
        #[prost(message, optional, boxed, tag = "7")]
        pub label_filter: Option<Box<FilterNode>>,
        /// Accepted and ignored.
        #[prost(bool, tag = "8")]
        pub all_users: bool,
    }

    /// Who is in a channel (server-api.md 8.7).
    pub struct PresenceRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
    }

    /// How many are in a channel (server-api.md 8.8).
    pub struct PresenceStatsRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
    }

    /// Reads history (server-api.md 8.9).
    pub struct HistoryRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
        /// 0 for the position only, below 0 for everything.
        #[prost(int32, tag = "2")]
        pub limit: i32,
        /// Start position.
        #[prost(message, optional, tag = "3")]
        pub since: Option<StreamPosition>,
        /// Newest first.
        #[prost(bool, tag = "4")]
        pub reverse: bool,
    }

    /// Drops history (server-api.md 8.10).
    pub struct HistoryRemoveRequest {
        /// Channel; required.
        #[prost(string, tag = "1")]
        pub channel: String,
    }

    /// Nodes of the cluster (server-api.md 8.11).
    pub struct InfoRequest {}

    /// Calls a registered method (server-api.md 8.12).
    pub struct RpcRequest {
        /// Name; required.
        #[prost(string, tag = "1")]
        pub method: String,
        /// Parameters.
        #[prost(bytes = "bytes", tag = "2")]
        pub params: Bytes,
    }

    /// Channels with subscribers (server-api.md 8.13).
    pub struct ChannelsRequest {
        /// Glob; empty for all.
        #[prost(string, tag = "1")]
        pub pattern: String,
    }

    /// One command of a batch; at most one field is run (server-api.md 9).
    pub struct Command {
        /// Publish.
        #[prost(message, optional, boxed, tag = "4")]
        pub publish: Option<Box<PublishRequest>>,
        /// Broadcast.
        #[prost(message, optional, boxed, tag = "5")]
        pub broadcast: Option<Box<BroadcastRequest>>,
        /// Subscribe.
        #[prost(message, optional, boxed, tag = "6")]
        pub subscribe: Option<Box<SubscribeRequest>>,
        /// Unsubscribe.
        #[prost(message, optional, boxed, tag = "7")]
        pub unsubscribe: Option<Box<UnsubscribeRequest>>,
        /// Disconnect.
        #[prost(message, optional, boxed, tag = "8")]
        pub disconnect: Option<Box<DisconnectRequest>>,
        /// Presence.
        #[prost(message, optional, boxed, tag = "9")]
        pub presence: Option<Box<PresenceRequest>>,
        /// Presence numbers.
        #[prost(message, optional, boxed, tag = "10")]
        pub presence_stats: Option<Box<PresenceStatsRequest>>,
        /// History.
        #[prost(message, optional, boxed, tag = "11")]
        pub history: Option<Box<HistoryRequest>>,
        /// Dropping history.
        #[prost(message, optional, boxed, tag = "12")]
        pub history_remove: Option<Box<HistoryRemoveRequest>>,
        /// Nodes.
        #[prost(message, optional, boxed, tag = "13")]
        pub info: Option<Box<InfoRequest>>,
        /// RPC.
        #[prost(message, optional, boxed, tag = "14")]
        pub rpc: Option<Box<RpcRequest>>,
        /// Refresh.
        #[prost(message, optional, boxed, tag = "15")]
        pub refresh: Option<Box<RefreshRequest>>,
        /// Channels.
        #[prost(message, optional, boxed, tag = "16")]
        pub channels: Option<Box<ChannelsRequest>>,
    }
}
