//! Commands, replies and pushes as values, the same for both generations and encodings (client-protocol.md 1.3 to 1.9).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::frame::PositionFormat;
use crate::model::{
    Channel, ClientError, ClientId, ClientInfo, Disconnect, FilterNode, Publication,
    StreamPosition, Unsubscribe,
};

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Correlates the reply; 0 for pongs and (usually) sends.
    pub id: u32,
    /// What is asked.
    pub request: Request,
}

/// What a command asks. The first request field in the order of client-protocol.md 1.3 counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Identify the connection.
    Connect(Box<ConnectRequest>),
    /// Start a subscription.
    Subscribe(Box<SubscribeRequest>),
    /// End a subscription of this channel.
    Unsubscribe(Channel),
    /// Publish into a channel.
    Publish(PublishRequest),
    /// Who is in this channel.
    Presence(Channel),
    /// How many are in this channel.
    PresenceStats(Channel),
    /// Read history.
    History(HistoryRequest),
    /// Remote call.
    Rpc(RpcRequest),
    /// Message without reply.
    Send(Bytes),
    /// New connection token.
    Refresh(String),
    /// New subscription token.
    SubRefresh(SubRefreshRequest),
    /// V1: client ping (method 7), answered with the id alone.
    Ping,
    /// V2: answer to a server ping (id 0 and no `send`).
    Pong,
    /// V1: a method number nobody knows; error 104.
    UnknownMethod,
    /// V2: an id but no usable request (also `ping`); disconnect 3501.
    Nothing,
}

/// Connect (fields of client-protocol.md 1.7).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectRequest {
    /// Connection token.
    pub token: String,
    /// Custom data.
    pub data: Bytes,
    /// Wanted or known server-side subscriptions.
    pub subs: BTreeMap<Channel, SubscribeRequest>,
    /// SDK or application name.
    pub name: String,
    /// Application version.
    pub version: String,
    /// Emulated request headers.
    pub headers: BTreeMap<String, String>,
    /// Offered features.
    pub flag: i64,
    /// Dictionary the client holds.
    pub dict: String,
    /// Application context.
    pub profile: String,
}

/// Subscribe (fields of client-protocol.md 1.7; those of map subscriptions only as far as they are served).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "wire message")]
pub struct SubscribeRequest {
    /// Channel; empty inside `ConnectRequest.subs`.
    pub channel: Channel,
    /// Subscription token.
    pub token: String,
    /// Recover from the given position.
    pub recover: bool,
    /// V1 position, low half.
    pub seq: u32,
    /// V1 position, high half.
    pub r#gen: u32,
    /// Epoch of the position.
    pub epoch: String,
    /// Last offset the client processed.
    pub offset: u64,
    /// Custom data.
    pub data: Bytes,
    /// Ask for positioning.
    pub positioned: bool,
    /// Ask for recovery.
    pub recoverable: bool,
    /// Ask for joins and leaves.
    pub join_leave: bool,
    /// Wanted delta type.
    pub delta: String,
    /// Only publications with such tags. One that is too large or too deep to be read is kept as the empty filter, which is
    /// invalid like it.
    pub tags_filter: Option<Box<FilterNode>>,
    /// Bit 0: numeric channel ids; bit 1: fail instead of an unrecovered subscription.
    pub flag: i64,
    /// 0 stream, 1–3 map, 4 shared poll.
    pub kind: i32,
}

/// Publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishRequest {
    /// Channel.
    pub channel: Channel,
    /// Payload.
    pub data: Bytes,
    /// 0 stream, 1 map.
    pub kind: i32,
}

/// History, after the V1 forms are resolved (client-protocol.md 1.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Channel.
    pub channel: Channel,
    /// 0 position only, below 0 as many as allowed; `None` when a V1 client gave no limit information.
    pub limit: Option<i32>,
    /// Start position.
    pub since: Option<StreamPosition>,
    /// Newest first.
    pub reverse: bool,
}

/// Remote call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpcRequest {
    /// Parameters.
    pub data: Bytes,
    /// Method name, may be empty.
    pub method: String,
}

/// A frame of commands that comes by a request of its own (client-protocol.md 3.5).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EmulationRequest {
    /// The node the session is on.
    pub node: String,
    /// The session, a secret.
    pub session: String,
    /// The frame; of JSON sessions a JSON string that holds it.
    pub data: Bytes,
}

impl std::fmt::Debug for EmulationRequest {
    /// Without the session and the frame, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulationRequest")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// New subscription token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubRefreshRequest {
    /// Channel; some SDKs leave it out.
    pub channel: Channel,
    /// Token.
    pub token: String,
    /// 0 refresh, 1 track, 2 untrack.
    pub kind: i32,
}

/// One reply, push or ping.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Id of the command; 0 for pushes and pings.
    pub id: u32,
    /// Content.
    pub body: ReplyBody,
}

/// Content of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyBody {
    /// The command failed.
    Error(ClientError),
    /// Something happened.
    Push(Push),
    /// V2 server ping: a completely empty reply.
    Ping,
    /// V1: reply to a client ping, the id alone.
    Pong,
    /// Connected.
    Connect(Box<ConnectResult>),
    /// Subscribed.
    Subscribe(Box<SubscribeResult>),
    /// Unsubscribed.
    Unsubscribe,
    /// Published.
    Publish,
    /// Presence.
    Presence(PresenceResult),
    /// Presence numbers.
    PresenceStats(PresenceStatsResult),
    /// History.
    History(HistoryResult),
    /// Result of a remote call.
    Rpc(Bytes),
    /// Connection refreshed.
    Refresh(RefreshResult),
    /// Subscription refreshed.
    SubRefresh(SubRefreshResult),
}

/// Result of connect. In V1 only client, version, expires, ttl, data and subs are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectResult {
    /// Connection id.
    pub client: ClientId,
    /// Server version.
    pub version: String,
    /// Seconds until expiration (written with `expires: true`); `None` when the client has nothing to refresh.
    pub ttl: Option<u32>,
    /// Custom data.
    pub data: Bytes,
    /// Server-side subscriptions.
    pub subs: BTreeMap<Channel, SubscribeResult>,
    /// Seconds between pings; 0 for none.
    pub ping: u32,
    /// Pings are to be answered.
    pub pong: bool,
    /// Emulation and unidirectional transports: session.
    pub session: String,
    /// Emulation: node.
    pub node: String,
    /// Server time, Unix milliseconds; 0 for none.
    pub time: i64,
}

/// Result of subscribe.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "wire message")]
pub struct SubscribeResult {
    /// Seconds until expiration (written with `expires: true`); `None` when the client has nothing to refresh.
    pub ttl: Option<u32>,
    /// Recovery is on.
    pub recoverable: bool,
    /// Current epoch.
    pub epoch: String,
    /// Missed publications, in the order they are written.
    pub publications: Vec<Arc<Publication>>,
    /// How `publications` carry their position on V1; `None` as the rest of the connection. Ignored on V2.
    pub publication_positions: Option<PositionFormat>,
    /// Recovery succeeded.
    pub recovered: bool,
    /// Position.
    pub offset: u64,
    /// Positioned.
    pub positioned: bool,
    /// Custom data.
    pub data: Bytes,
    /// A recovery was attempted (V2).
    pub was_recovering: bool,
    /// Deltas are granted (V2).
    pub delta: bool,
    /// Number that stands for the channel in pushes (V2); 0 for none.
    pub number: u32,
}

/// Presence of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceResult {
    /// Entries by connection.
    pub presence: BTreeMap<ClientId, Arc<ClientInfo>>,
}

/// Numbers of a channel's presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStatsResult {
    /// Connections.
    pub num_clients: u32,
    /// Distinct users.
    pub num_users: u32,
}

/// History.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryResult {
    /// Publications in the asked order.
    pub publications: Vec<Arc<Publication>>,
    /// Current epoch.
    pub epoch: String,
    /// Top offset.
    pub offset: u64,
}

/// Result of refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshResult {
    /// Connection id.
    pub client: ClientId,
    /// Server version; written in V1 only.
    pub version: String,
    /// Seconds until expiration (written with `expires: true`).
    pub ttl: Option<u32>,
}

/// Result of sub_refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubRefreshResult {
    /// Seconds until expiration (written with `expires: true`).
    pub ttl: Option<u32>,
}

/// Something that happened, told without being asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Channel; empty for message, connect, disconnect and refresh.
    pub channel: Channel,
    /// What happened.
    pub body: PushBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum PushBody {
    /// A publication.
    Publication(Arc<Publication>),
    /// Someone joined.
    Join(Arc<ClientInfo>),
    /// Someone left.
    Leave(Arc<ClientInfo>),
    /// The subscription ended.
    Unsubscribe(Unsubscribe),
    /// Direct message.
    Message(Bytes),
    /// A server-side subscription started.
    Subscribe(SubscribePush),
    /// Connected: the first push of a unidirectional connection.
    Connect(Box<ConnectResult>),
    /// The connection is about to be closed.
    Disconnect(Disconnect),
    /// The expiration changed: seconds left, `None` when it does not expire any more.
    Refresh(Option<u32>),
}

/// A server-side subscription started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribePush {
    /// Recovery is on.
    pub recoverable: bool,
    /// Position.
    pub position: StreamPosition,
    /// Positioned.
    pub positioned: bool,
    /// Custom data.
    pub data: Bytes,
}
