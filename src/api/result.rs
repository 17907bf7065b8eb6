//! Results of the server API, the same values for HTTP, gRPC, batch and legacy.
//!
//! Field numbers and names are those of `proto/api.proto`, which a test compares. In JSON zero values are left out,
//! save for the fields that server-api.md 4.2 lists as always written.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{
    error::{Error, Failure},
    json,
};
use crate::{model, node};

/// Where a publication landed.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct PublishResult {
    /// Offset; 0 without history.
    #[prost(uint64, tag = "1")]
    #[serde(skip_serializing_if = "json::zero")]
    pub offset: u64,
    /// Epoch; empty without history.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
}

impl From<node::PublishResult> for PublishResult {
    fn from(result: node::PublishResult) -> Self {
        Self {
            offset: result.position.offset,
            epoch: result.position.epoch.to_string(),
        }
    }
}

/// One channel of a broadcast: an error or a result.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct PublishResponse {
    /// Set when it failed.
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Set when it succeeded.
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<PublishResult>,
}

impl From<Result<PublishResult, Error>> for PublishResponse {
    fn from(outcome: Result<PublishResult, Error>) -> Self {
        match outcome {
            Ok(result) => Self {
                error: None,
                result: Some(result),
            },
            Err(error) => Self {
                error: Some(error.into()),
                result: None,
            },
        }
    }
}

/// One entry per channel, in the order of the request.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct BroadcastResult {
    /// The entries.
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<PublishResponse>,
}

/// Declares results without fields.
macro_rules! empty {
    ($($(#[$meta:meta])* $name:ident,)+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, prost::Message, Serialize)]
        pub struct $name {}
    )+};
}

empty! {
    /// Done.
    SubscribeResult,
    /// Done.
    UnsubscribeResult,
    /// Done.
    DisconnectResult,
    /// Done.
    RefreshResult,
    /// Done.
    HistoryRemoveResult,
}

/// Who is in a channel, by client.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct PresenceResult {
    /// The connections.
    #[prost(btree_map = "string, message", tag = "1")]
    pub presence: BTreeMap<String, ClientInfo>,
}

/// What others see of a connection.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct ClientInfo {
    /// User.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Client.
    #[prost(string, tag = "2")]
    pub client: String,
    /// Info of the connection.
    #[prost(bytes = "bytes", tag = "3")]
    #[serde(
        skip_serializing_if = "Bytes::is_empty",
        serialize_with = "json::embed"
    )]
    pub conn_info: Bytes,
    /// Info of the subscription.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(
        skip_serializing_if = "Bytes::is_empty",
        serialize_with = "json::embed"
    )]
    pub chan_info: Bytes,
}

impl From<&model::ClientInfo> for ClientInfo {
    fn from(info: &model::ClientInfo) -> Self {
        Self {
            user: info.user.to_string(),
            client: info.client.to_string(),
            conn_info: info.conn_info.clone(),
            chan_info: info.chan_info.clone(),
        }
    }
}

/// How many are in a channel.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct PresenceStatsResult {
    /// Connections.
    #[prost(uint32, tag = "1")]
    pub num_clients: u32,
    /// Distinct users.
    #[prost(uint32, tag = "2")]
    pub num_users: u32,
}

/// A part of a stream.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct HistoryResult {
    /// Publications in the requested order.
    #[prost(message, repeated, tag = "1")]
    pub publications: Vec<Publication>,
    /// Epoch of the stream.
    #[prost(string, tag = "2")]
    pub epoch: String,
    /// Top offset.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// One kept publication.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Publication {
    /// Payload.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Publisher, when a client published.
    #[prost(message, optional, tag = "3")]
    pub info: Option<ClientInfo>,
    /// Offset.
    #[prost(uint64, tag = "4")]
    pub offset: u64,
    /// Tags.
    #[prost(btree_map = "string, string", tag = "5")]
    pub tags: BTreeMap<String, String>,
}

impl From<&model::Publication> for Publication {
    fn from(publication: &model::Publication) -> Self {
        Self {
            data: publication.data.clone(),
            info: publication.info.as_deref().map(Into::into),
            offset: publication.offset,
            tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        }
    }
}

/// A payload that is not JSON is written as `b64data`, so that one such publication does not make history unreadable.
impl Serialize for Publication {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let mut object = sink.serialize_struct("Publication", 4)?;
        if !self.data.is_empty() {
            match json::parse(&self.data) {
                Some(raw) => object.serialize_field("data", raw.as_ref())?,
                None => object.serialize_field("b64data", &STANDARD.encode(&self.data))?,
            }
        }
        if let Some(info) = &self.info {
            object.serialize_field("info", info)?;
        }
        if self.offset > 0 {
            object.serialize_field("offset", &self.offset)?;
        }
        if !self.tags.is_empty() {
            object.serialize_field("tags", &self.tags)?;
        }
        object.end()
    }
}

/// The nodes of the cluster.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct InfoResult {
    /// The nodes.
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeResult>,
}

/// One node.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct NodeResult {
    /// Identifier.
    #[prost(string, tag = "1")]
    pub uid: String,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// Connections.
    #[prost(uint32, tag = "4")]
    pub num_clients: u32,
    /// Distinct users.
    #[prost(uint32, tag = "5")]
    pub num_users: u32,
    /// Channels with a subscriber.
    #[prost(uint32, tag = "6")]
    pub num_channels: u32,
    /// Seconds since start.
    #[prost(uint32, tag = "7")]
    #[serde(skip_serializing_if = "json::zero")]
    pub uptime: u32,
    /// Snapshot of metrics.
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Snapshot>,
    /// Subscriptions.
    #[prost(uint32, tag = "10")]
    pub num_subs: u32,
}

impl From<model::NodeInfo> for NodeResult {
    fn from(info: model::NodeInfo) -> Self {
        Self {
            uid: info.uid.to_string(),
            name: info.name,
            version: info.version,
            num_clients: info.num_clients,
            num_users: info.num_users,
            num_channels: info.num_channels,
            uptime: info.uptime,
            metrics: info
                .metrics
                .map(|(interval, items)| Snapshot { interval, items }),
            num_subs: info.num_subs,
        }
    }
}

/// Snapshot of the metrics of a node (`Metrics` on the wire); `items` are always written, typed clients need them.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Snapshot {
    /// Seconds it covers.
    #[prost(double, tag = "1")]
    #[serde(skip_serializing_if = "json::zero", serialize_with = "json::number")]
    pub interval: f64,
    /// Values by name.
    #[prost(btree_map = "string, double", tag = "2")]
    #[serde(serialize_with = "json::numbers")]
    pub items: BTreeMap<String, f64>,
}

/// Answer of an RPC method.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct RpcResult {
    /// Data.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(
        skip_serializing_if = "Bytes::is_empty",
        serialize_with = "json::embed"
    )]
    pub data: Bytes,
}

/// Channels with subscribers, by name.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct ChannelsResult {
    /// The channels.
    #[prost(btree_map = "string, message", tag = "1")]
    pub channels: BTreeMap<String, ChannelInfo>,
}

/// Numbers of one channel.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct ChannelInfo {
    /// Subscriptions, cluster-wide.
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "json::zero")]
    pub num_clients: u32,
}
