//! What a session wants done: frames to write, calls to make, the end. Values only; the connection's task carries them out.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    model::{
        Broadcast, Channel, ClientError, ClientInfo, Complete, Disconnect, Publication, Rejection,
        StreamPosition, SubscribeOptions, SubscriptionKey, UserId, Withheld,
    },
    protocol::{
        ConnectRequest, Reply, ReplyBody, SubscribeRequest,
        frame::{Look, Style, WireForm},
    },
};

/// Names a call between its start and its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallId(pub(crate) u32);

/// One thing to do, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Encode and write.
    Reply(Reply),
    /// Write finished bytes.
    Frame(Bytes),
    /// Write the complete publication behind a delta that this client has no use for.
    Complete(Whole),
    /// Start a call; its outcome comes back through `Session::completed`.
    Call(CallId, Call),
    /// The connect was refused on V2: what is queued is written, then the connection lingers without use.
    Refused,
    /// The connect of a connection that only listens failed with this error; the disconnect made of it follows.
    Unconnected(ClientError),
    /// Flush (except for 3000 and 3008) and close the transport.
    Close(Disconnect),
}

/// A publication that is to be finished on need.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The publication.
    pub(crate) broadcast: Arc<Broadcast>,
    /// Its finished bytes, or their place.
    pub(crate) complete: Arc<Complete>,
    /// How the subscription wants it.
    pub(crate) look: Look,
}

/// A question or an action that may take time. Calls of one connection may run at the same time.
#[derive(Debug)]
pub(crate) enum Call {
    /// Ask the hooks who this is.
    Connect(Box<ConnectRequest>),
    /// Register the identified connection with the hub, within the limit of its user. With `single_connection`, the
    /// user's other connections are closed when presence of that channel shows another client.
    Register {
        user: UserId,
        single_connection: Option<Channel>,
    },
    /// The connect of this user failed after registration (V1 goes on unconnected).
    Deregister(UserId),
    /// Ask the hooks for a subscription.
    Subscribe(Box<SubscribeRequest>),
    /// The connection has expired, and the server refreshes it: ask the hooks.
    Renew,
    /// The same for a subscription.
    SubRenew(Channel),
    /// Register the subscriber, add presence, read history.
    Join(Box<Join>),
    /// Tell others that this client joined.
    AnnounceJoin(Channel, Arc<ClientInfo>),
    /// Undo a join: hub, presence, leave.
    Leave(Leave),
    /// Ask the hooks, then publish. `subscribed` holds the channel info of an established subscription.
    Publish {
        channel: Channel,
        data: Bytes,
        kind: i32,
        subscribed: bool,
        info: Arc<ClientInfo>,
    },
    /// Read presence.
    Presence { channel: Channel, subscribed: bool },
    /// Read numbers of presence.
    PresenceStats { channel: Channel, subscribed: bool },
    /// Read history.
    History {
        channel: Channel,
        subscribed: bool,
        limit: usize,
        since: Option<StreamPosition>,
        reverse: bool,
    },
    /// Remote call.
    Rpc { method: String, data: Bytes },
    /// Message without answer.
    Message(Bytes),
    /// Check a connection token.
    Refresh(String),
    /// Check a subscription token.
    SubRefresh { channel: Channel, token: String },
    /// Renew presence entries.
    RenewPresence(Vec<(Channel, Arc<ClientInfo>)>),
    /// Read the top of a stream, to compare with the position of a subscription; before that, what its filter kept from it.
    Top(Channel, SubscriptionKey),
    /// Read the publications after a position for a subscription that fell behind; with `resume` the mailbox takes deliveries
    /// for it again before that.
    ReadOn {
        channel: Channel,
        key: SubscriptionKey,
        since: StreamPosition,
        limit: usize,
        resume: bool,
    },
}

/// The engine's part of a subscribe.
#[derive(Debug)]
pub(crate) struct Join {
    /// Channel.
    pub(crate) channel: Channel,
    /// The subscription.
    pub(crate) key: SubscriptionKey,
    /// How its frames look.
    pub(crate) form: WireForm,
    /// What was negotiated beside that.
    pub(crate) style: Style,
    /// Granted options.
    pub(crate) options: SubscribeOptions,
    /// Who joins, for presence.
    pub(crate) info: Arc<ClientInfo>,
    /// Read what was missed since this position, as the recovery mode says; otherwise only the top.
    pub(crate) since: Option<StreamPosition>,
    /// Most publications read.
    pub(crate) limit: usize,
}

/// The end of a subscription.
#[derive(Debug)]
pub(crate) struct Leave {
    /// Channel.
    pub(crate) channel: Channel,
    /// The subscription.
    pub(crate) key: SubscriptionKey,
    /// Remove this entry from presence.
    pub(crate) presence: bool,
    /// Tell others.
    pub(crate) announce: Option<Arc<ClientInfo>>,
}

/// What the engine found at a join.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// Publications after the asked position, ascending; in cache mode the newest one.
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Top of the stream; empty for channels without history.
    pub(crate) top: StreamPosition,
    /// Stands for the channel's name in pushes; 0 for none.
    pub(crate) number: u32,
}

/// Who connected, and what comes with it.
#[derive(Debug, Default)]
pub(crate) struct Identified {
    /// User, empty for anonymous.
    pub(crate) user: UserId,
    /// Expiration in Unix seconds.
    pub(crate) expire_at: Option<i64>,
    /// The server refreshes the connection itself.
    pub(crate) server_side_refresh: bool,
    /// Connection info.
    pub(crate) info: Bytes,
    /// Connection meta, for the hooks only.
    pub(crate) meta: Bytes,
    /// Emulated headers, for the hooks only.
    pub(crate) headers: Arc<[(String, String)]>,
    /// Custom data of the reply.
    pub(crate) data: Bytes,
    /// Server-side subscriptions.
    pub(crate) channels: BTreeMap<Channel, SubscribeOptions>,
    /// See [`Call::Register`].
    pub(crate) single_connection: Option<Channel>,
}

/// New expiration of the connection.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    /// Expiration in Unix seconds.
    pub(crate) expire_at: Option<i64>,
    /// Replaces the connection info when not empty.
    pub(crate) info: Bytes,
    /// Replaces the connection meta when given.
    pub(crate) meta: Option<Bytes>,
    /// Server-side channels of the new token, when it speaks of channels.
    pub(crate) channels: Option<Vec<Channel>>,
}

/// New expiration of a subscription.
#[derive(Debug, Default)]
pub(crate) struct SubRefreshed {
    /// Channel of the command, or of the token.
    pub(crate) channel: Channel,
    /// Expiration in Unix seconds.
    pub(crate) expire_at: Option<i64>,
    /// Replaces the channel info, also when empty.
    pub(crate) info: Bytes,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Of [`Call::Connect`].
    Connect(Result<Box<Identified>, Rejection>),
    /// Of [`Call::Register`].
    Registered(Result<(), Rejection>),
    /// Of [`Call::Subscribe`].
    Subscribe(Result<Box<SubscribeOptions>, Rejection>),
    /// Of [`Call::Join`].
    Joined(Result<Joined, Rejection>),
    /// Of every call that is answered by one reply.
    Reply(Result<ReplyBody, Rejection>),
    /// Of [`Call::Message`].
    Message(Result<(), Rejection>),
    /// Of [`Call::Refresh`].
    Refresh(Result<Refreshed, Rejection>),
    /// Of [`Call::SubRefresh`].
    SubRefresh(Result<SubRefreshed, Rejection>),
    /// Of [`Call::Renew`].
    Renewed(Result<Refreshed, Rejection>),
    /// Of [`Call::SubRenew`]; `None` ends the subscription.
    SubRenewed(Result<Option<SubRefreshed>, Rejection>),
    /// Of [`Call::Top`]; `None` when it could not be read.
    Top(Option<StreamPosition>, Option<Withheld>),
    /// Of [`Call::ReadOn`]; `None` when it could not be read.
    ReadOn(Option<Joined>),
    /// Of a call without answer.
    Done,
}

/// Effects in the order they are to be carried out; reused between calls.
pub(crate) type Effects = Vec<Effect>;
