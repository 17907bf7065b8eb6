//! One connection as a state machine: commands, deliveries, completions and time go in, effects come out.
//!
//! Pure: no clock, no randomness, no runtime, no lock. The connection's task tells it the time with every input, carries its
//! effects out in order, and asks [`Session::deadline`] when to call [`Session::expired`].
//!
//! - `command`, `delivery`, `mail…`: what arrives.
//! - `completed`: a call that an earlier effect started has ended.
//! - `expired`: the deadline has passed.
//! - `ready`: whether another command may be given (client-protocol.md 4.12).

mod batch;
mod behind;
mod command;
mod connect;
mod delivery;
mod effects;
mod feed;
mod leave;
mod recovery;
mod refresh;
mod server_side;
mod settle;
mod subscribe;
mod subscription;
mod timers;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    model::{
        ClientError, ClientId, ClientInfo, Direction, Disconnect, Encoding, NodeId, Now, Rejection,
        UserId, Version,
    },
    protocol::{
        Push, Reply, ReplyBody,
        frame::{Framing, PositionFormat, WireForm},
    },
};

pub(crate) use effects::{
    Call, CallId, Effect, Effects, Identified, Join, Joined, Leave, Outcome, Refreshed,
    SubRefreshed, Whole,
};
pub(crate) use timers::{Config, Unidirectional};

use connect::Connecting;
use effects::CallId as Id;
use subscription::Table;
use timers::Timers;

/// A longer expiration is cut to this many seconds from now (client-protocol.md 0.2).
const MAX_TTL: i64 = 365 * 24 * 3600;

/// What a session is born with.
#[derive(Debug)]
pub(crate) struct Birth {
    /// Fresh connection id.
    pub(crate) client: ClientId,
    /// Encoding of the transport.
    pub(crate) encoding: Encoding,
    /// Framing of the transport.
    pub(crate) framing: Framing,
    /// The transport's close carries the reason; otherwise V2 gets a disconnect push.
    pub(crate) close_carries_reason: bool,
    /// The transport pings by itself.
    pub(crate) native_ping: bool,
    /// Which way messages go.
    pub(crate) direction: Direction,
    /// Secret of an emulated or unidirectional session, and the node an emulated one is on.
    pub(crate) session: Option<(Arc<str>, NodeId)>,
    /// A random number that spreads pings and checks over their intervals.
    pub(crate) seed: u32,
}

/// Where the connection stands (client-protocol.md 4.1).
#[derive(Debug)]
enum State {
    New,
    Connecting(Box<Connecting>),
    Connected,
    /// V2, connect answered with an error.
    Refused,
    Closed,
}

/// What a running call is for.
#[derive(Debug)]
enum Pending {
    Connect,
    Register,
    Subscribe(crate::model::SubscriptionKey),
    Join(crate::model::SubscriptionKey),
    Leave(crate::model::SubscriptionKey),
    Reply(u32),
    Message,
    Refresh(u32),
    SubRefresh(u32),
    Renew,
    SubRenew(crate::model::SubscriptionKey),
    Top(crate::model::SubscriptionKey),
    ReadOn(crate::model::SubscriptionKey),
    Nothing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    config: Arc<Config>,
    birth: Birth,
    version: Version,
    positions: PositionFormat,
    state: State,
    /// This client as others see it; replaced whole when the connection info changes.
    info: Arc<ClientInfo>,
    /// Kept for the hooks, never sent.
    meta: Bytes,
    /// Likewise.
    emulated: Arc<[(String, String)]>,
    expiry: Expiry,
    table: Table,
    timers: Timers,
    pending: Vec<(Id, Pending)>,
    last_call: u32,
    busy: u32,
}

/// Expiration of the connection.
#[derive(Clone, Copy, Debug, Default)]
struct Expiry {
    /// Unix seconds; `None` never.
    at: Option<i64>,
    /// The server refreshes by itself, the client is not told.
    server_side: bool,
}

impl Session {
    /// A session of a transport that was just established.
    pub(crate) fn new(config: Arc<Config>, birth: Birth, now: Now) -> Self {
        let info = Arc::new(ClientInfo {
            client: birth.client.clone(),
            ..ClientInfo::default()
        });
        let timers = Timers::new(&config, now);
        Self {
            config,
            birth,
            version: Version::V2,
            positions: PositionFormat::Offset,
            state: State::New,
            info,
            meta: Bytes::new(),
            emulated: Arc::default(),
            expiry: Expiry::default(),
            table: Table::default(),
            timers,
            pending: Vec::new(),
            last_call: 0,
            busy: 0,
        }
    }

    /// The first command was decoded and fixed the generation.
    pub(crate) fn decided(&mut self, version: Version) {
        self.version = version;
    }

    /// Wire form of everything written to this connection.
    pub(crate) fn form(&self) -> WireForm {
        WireForm {
            version: self.version,
            encoding: self.birth.encoding,
            positions: self.positions,
            framing: self.birth.framing,
            bare: self.is_unidirectional(),
        }
    }

    /// Number of subscriptions, those that are being made included.
    pub(crate) fn subscriptions(&self) -> usize {
        self.table.len()
    }

    /// Connection id.
    pub(crate) fn client(&self) -> &ClientId {
        &self.birth.client
    }

    /// User; empty before connect and for anonymous connections.
    pub(crate) fn user(&self) -> &UserId {
        &self.info.user
    }

    /// Connection meta; empty for none.
    pub(crate) fn meta(&self) -> &Bytes {
        &self.meta
    }

    /// Emulated headers that are kept for the hooks.
    pub(crate) fn emulated(&self) -> &Arc<[(String, String)]> {
        &self.emulated
    }

    /// Generation of the protocol; V2 until decided.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether the next command may be given. Connect is exclusive; otherwise `client.concurrency` counts.
    pub(crate) fn ready(&self) -> bool {
        match self.state {
            State::Connecting(_) | State::Closed => false,
            State::New | State::Connected | State::Refused => {
                self.busy < self.config.concurrency.max(1)
            }
        }
    }

    /// True for a connection that only listens.
    pub(crate) fn is_unidirectional(&self) -> bool {
        self.birth.direction == Direction::Push
    }

    /// True once the end was decided.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// True while commands other than connect are accepted.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// Ends the connection: the push that tells the peer where its transport cannot, then the close.
    pub(crate) fn close(&mut self, why: Disconnect, out: &mut Effects) {
        if self.is_closed() {
            return;
        }
        self.flush_all(&why, out);
        self.state = State::Closed;
        let why = why.cut();
        let tells = !self.birth.close_carries_reason && self.version == Version::V2;
        if tells && why != Disconnect::CONNECTION_CLOSED && why.code >= 3000 {
            self.push(
                Push {
                    channel: Default::default(),
                    body: crate::protocol::PushBody::Disconnect(why.clone()),
                },
                out,
            );
        }
        out.push(Effect::Close(why));
    }

    /// Ends the connection without a push: the transport has its own way to say why.
    pub(crate) fn abort(&mut self, why: Disconnect, out: &mut Effects) {
        if !self.is_closed() {
            self.state = State::Closed;
            out.push(Effect::Close(why));
        }
    }

    /// True while calls are running that were started by this session.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Starts a call.
    fn call(&mut self, call: Call, pending: Pending, out: &mut Effects) {
        self.last_call = self.last_call.wrapping_add(1);
        let id = CallId(self.last_call);
        self.pending.push((id, pending));
        out.push(Effect::Call(id, call));
    }

    /// Answers a command.
    fn reply(&mut self, id: u32, body: ReplyBody, out: &mut Effects) {
        self.busy = self.busy.saturating_sub(1);
        out.push(Effect::Reply(Reply { id, body }));
    }

    /// Refuses a command.
    fn reject(&mut self, id: u32, why: impl Into<Rejection>, out: &mut Effects) {
        match why.into() {
            Rejection::Error(error) => self.reply(id, ReplyBody::Error(error), out),
            Rejection::Disconnect(disconnect) => self.close(disconnect, out),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as a verb of the session, as its siblings do"
    )]
    fn push(&self, push: Push, out: &mut Effects) {
        out.push(Effect::Reply(Reply {
            id: 0,
            body: ReplyBody::Push(push),
        }));
    }

    /// A call has ended. Completions of calls of a closed session are ignored.
    pub(crate) fn completed(
        &mut self,
        now: Now,
        call: CallId,
        outcome: Outcome,
        out: &mut Effects,
    ) {
        let Some(at) = self.pending.iter().position(|(id, _)| *id == call) else {
            return;
        };
        let (_, pending) = self.pending.swap_remove(at);
        if self.pending.is_empty() && self.pending.capacity() > 8 {
            self.pending = Vec::new();
        }
        if self.is_closed() {
            return;
        }
        match (pending, outcome) {
            (Pending::Connect, Outcome::Connect(result)) => self.identified(now, result, out),
            (Pending::Register, Outcome::Registered(result)) => self.registered(now, result, out),
            (Pending::Subscribe(key), Outcome::Subscribe(result)) => {
                self.authorized(now, key, result, out)
            }
            (Pending::Join(key), Outcome::Joined(result)) => self.joined(now, key, result, out),
            (Pending::Leave(key), Outcome::Done) => self.left(key, out),
            (Pending::Reply(id), Outcome::Reply(result)) => match result {
                Ok(body) => self.reply(id, body, out),
                Err(why) => self.reject(id, why, out),
            },
            (Pending::Message, Outcome::Message(result)) => self.message_taken(result, out),
            (Pending::Refresh(id), Outcome::Refresh(result)) => {
                self.refreshed(now, id, result, out)
            }
            (Pending::SubRefresh(id), Outcome::SubRefresh(result)) => {
                self.sub_refreshed(now, id, result, out)
            }
            (Pending::Renew, Outcome::Renewed(result)) => self.renewed(now, result, out),
            (Pending::SubRenew(key), Outcome::SubRenewed(result)) => {
                self.sub_renewed(now, key, result, out)
            }
            (Pending::Top(key), Outcome::Top(top, withheld)) => {
                self.position_checked(now, key, (top, withheld), out)
            }
            (Pending::ReadOn(key), Outcome::ReadOn(page)) => self.caught_up(now, key, page, out),
            (Pending::Nothing, _) => {}
            // A call of another kind than it was started as is a defect of the driver; the peer is told to come again.
            (_, _) => self.close(Disconnect::SERVER_ERROR, out),
        }
    }

    fn message_taken(&mut self, result: Result<(), Rejection>, out: &mut Effects) {
        self.busy = self.busy.saturating_sub(1);
        match result {
            Err(Rejection::Disconnect(why)) if self.version == Version::V2 => self.close(why, out),
            // A send has no reply that could carry an error, and V1 drops what nobody handles.
            Ok(()) | Err(_) => {}
        }
    }

    /// This client as others in a channel see it.
    fn info_with(&self, chan_info: &Bytes) -> Arc<ClientInfo> {
        if chan_info.is_empty() {
            return Arc::clone(&self.info);
        }
        Arc::new(ClientInfo {
            chan_info: chan_info.clone(),
            ..(*self.info).clone()
        })
    }

    /// Seconds left until `at`, when the client is to be told; error 110 when less than one is left.
    fn ttl(now: Now, at: Option<i64>, server_side: bool) -> Result<Option<u32>, ClientError> {
        let Some(at) = at else {
            return Ok(None);
        };
        let left = at - now.unix();
        if left < 1 {
            return Err(ClientError::EXPIRED);
        }
        let ttl = u32::try_from(left).unwrap_or(u32::MAX);
        Ok((!server_side).then_some(ttl))
    }
}

#[cfg(test)]
mod tests;
