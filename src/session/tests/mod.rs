//! A session without a runtime: commands in, effects out, calls answered by hand, time moved by hand.

mod batches;
mod commands;
mod connect;
mod delivery;
mod deltas;
mod filters;
mod interleavings;
mod leave;
mod refresh;
mod renew;
mod subscribe;
mod timers;
mod uni;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::*;
use crate::{
    model::{
        Broadcast, Channel, ChannelEvent, Complete, Delivery, Direction, Epoch, Frame, Publication,
        RecoveryMode, StreamPosition, SubscribeOptions, SubscriptionKey,
    },
    protocol::{
        Command, ConnectResult, Push, PushBody, Request, SubscribeRequest, SubscribeResult,
    },
};

/// Unix seconds at which every test begins.
const BEGIN: i64 = 1_700_000_000;

fn config() -> Config {
    Config {
        version: "test".to_owned(),
        ping_interval: Some(Duration::from_secs(25)),
        pong_timeout: Some(Duration::from_secs(8)),
        stale_close_delay: Duration::from_secs(10),
        expired_close_delay: Duration::from_secs(25),
        expired_sub_close_delay: Duration::from_secs(25),
        presence_update_interval: Duration::from_secs(27),
        position_check_delay: Duration::from_secs(40),
        position_max_time_lag: Duration::ZERO,
        channel_limit: 4,
        channel_max_length: 16,
        queue_max_size: 1000,
        concurrency: 1,
        history_limit: 300,
        recovery_limit: 300,
        include_server_time: false,
        unsubscribe_wait: Duration::from_secs(5),
        unidirectional: Unidirectional::default(),
    }
}

/// The other end of a session.
struct Wire {
    session: Session,
    now: Now,
    calls: Vec<(CallId, Call)>,
    replies: Vec<Reply>,
    frames: Vec<Bytes>,
    closed: Option<Disconnect>,
    refused: bool,
    unconnected: Option<ClientError>,
    last_id: u32,
}

impl Wire {
    fn with(config: Config, version: Version) -> Self {
        Self::towards(config, version, Direction::Both)
    }

    fn towards(config: Config, version: Version, direction: Direction) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
        let now = Now {
            instant: Instant::now(),
            unix_ms: BEGIN * 1000,
        };
        let birth = Birth {
            client: ClientId::from("me"),
            encoding: Encoding::Json,
            framing: Framing::WebSocket,
            close_carries_reason: direction == Direction::Both,
            native_ping: false,
            direction,
            session: (direction != Direction::Both).then(|| ("secret".into(), "node".into())),
            seed: 0,
        };
        let mut session = Session::new(Arc::new(config), birth, now);
        session.decided(version);
        Self {
            session,
            now,
            calls: Vec::new(),
            replies: Vec::new(),
            frames: Vec::new(),
            closed: None,
            refused: false,
            unconnected: None,
            last_id: 0,
        }
    }

    fn new(version: Version) -> Self {
        Self::with(config(), version)
    }

    /// Connected as user 42.
    fn connected(version: Version) -> Self {
        Self::connected_with(config(), version, identified())
    }

    fn connected_with(config: Config, version: Version, identified: Identified) -> Self {
        let mut wire = Self::with(config, version);
        wire.send(Request::Connect(Box::default()));
        wire.answer(Outcome::Connect(Ok(Box::new(identified))));
        wire.answer(Outcome::Registered(Ok(())));
        wire
    }

    fn run(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Reply(reply) => self.replies.push(reply),
                Effect::Frame(frame) => self.frames.push(frame),
                Effect::Complete(_) => self.frames.push(Bytes::from_static(COMPLETE)),
                Effect::Call(id, call) => self.calls.push((id, call)),
                Effect::Refused => self.refused = true,
                Effect::Unconnected(error) => self.unconnected = Some(error),
                Effect::Close(why) => self.closed = Some(why),
            }
        }
    }

    fn send_id(&mut self, id: u32, request: Request) {
        let mut out = Effects::new();
        self.session
            .command(self.now, Command { id, request }, &mut out);
        self.run(out);
    }

    /// Sends a command with the next id, which is returned.
    fn send(&mut self, request: Request) -> u32 {
        self.last_id += 1;
        self.send_id(self.last_id, request);
        self.last_id
    }

    /// Answers the oldest call that waits for this kind of outcome.
    fn answer(&mut self, outcome: Outcome) {
        let wanted = self.calls.iter().position(|(_, call)| fits(call, &outcome));
        let at = wanted.unwrap_or_else(|| panic!("no call for {outcome:?} in {:?}", self.calls));
        let (id, _) = self.calls.remove(at);
        let mut out = Effects::new();
        self.session.completed(self.now, id, outcome, &mut out);
        self.run(out);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let mut out = Effects::new();
        self.session.delivery(self.now, delivery, &mut out);
        self.run(out);
    }

    /// Moves time to every deadline on the way.
    fn pass(&mut self, by: Duration) {
        let end = self.now.later(by);
        while let Some(at) = self.session.deadline().filter(|at| *at <= end.instant) {
            self.now = self
                .now
                .later(at.saturating_duration_since(self.now.instant));
            let mut out = Effects::new();
            self.session.expired(self.now, &mut out);
            self.run(out);
        }
        self.now = end;
    }

    /// Subscribes and lets everything succeed; returns the key and the result.
    fn subscribe(
        &mut self,
        options: SubscribeOptions,
        top: StreamPosition,
    ) -> (SubscriptionKey, SubscribeResult) {
        let id = self.send(subscribe("ch"));
        self.answer(Outcome::Subscribe(Ok(Box::new(options))));
        let key = self.join_key();
        self.answer(Outcome::Joined(Ok(Joined {
            publications: Vec::new(),
            top,
            ..Joined::default()
        })));
        match self.reply_to(id) {
            ReplyBody::Subscribe(result) => (key, *result),
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// Key of the join that is waiting.
    fn join_key(&self) -> SubscriptionKey {
        let join = self.calls.iter().rev().find_map(|(_, call)| match call {
            Call::Join(join) => Some(join.key),
            _ => None,
        });
        join.expect("a join is waiting")
    }

    fn reply_to(&self, id: u32) -> ReplyBody {
        let reply = self.replies.iter().find(|reply| reply.id == id);
        reply
            .unwrap_or_else(|| {
                panic!(
                    "no reply to {id}: {:?}, closed {:?}",
                    self.replies, self.closed
                )
            })
            .body
            .clone()
    }

    fn error_of(&self, id: u32) -> u32 {
        match self.reply_to(id) {
            ReplyBody::Error(error) => error.code,
            other => panic!("no error: {other:?}"),
        }
    }

    fn close_code(&self) -> Option<u32> {
        self.closed.as_ref().map(|why| why.code)
    }

    fn connect_result(&self) -> ConnectResult {
        match self.reply_to(1) {
            ReplyBody::Connect(result) => *result,
            other => panic!("not connected: {other:?}"),
        }
    }

    /// Bodies of pushes, in order.
    fn pushes(&self) -> Vec<PushBody> {
        let bodies = self.replies.iter().filter_map(|reply| match &reply.body {
            ReplyBody::Push(Push { body, .. }) => Some(body.clone()),
            _ => None,
        });
        bodies.collect()
    }

    fn pings(&self) -> usize {
        self.replies
            .iter()
            .filter(|reply| reply.body == ReplyBody::Ping)
            .count()
    }

    /// Calls waiting, by name.
    fn waiting(&self) -> Vec<&'static str> {
        self.calls.iter().map(|(_, call)| name(call)).collect()
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Connect(_) => "connect",
        Call::Register { .. } => "register",
        Call::Deregister(_) => "deregister",
        Call::Subscribe(_) => "subscribe",
        Call::Join(_) => "join",
        Call::AnnounceJoin(..) => "announce join",
        Call::Leave(_) => "leave",
        Call::Message(_) => "message",
        Call::Refresh(_) => "refresh",
        Call::SubRefresh { .. } => "sub_refresh",
        Call::Renew => "renew",
        Call::SubRenew(_) => "sub_renew",
        Call::RenewPresence(_) => "renew presence",
        Call::Top(..) => "top",
        Call::ReadOn { .. } => "read on",
        Call::Publish { .. } => "publish",
        Call::Presence { .. } => "presence",
        Call::PresenceStats { .. } => "presence_stats",
        Call::History { .. } => "history",
        Call::Rpc { .. } => "rpc",
    }
}

fn fits(call: &Call, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Connect(_) => name(call) == "connect",
        Outcome::Registered(_) => name(call) == "register",
        Outcome::Subscribe(_) => name(call) == "subscribe",
        Outcome::Joined(_) => name(call) == "join",
        Outcome::Message(_) => name(call) == "message",
        Outcome::Refresh(_) => name(call) == "refresh",
        Outcome::SubRefresh(_) => name(call) == "sub_refresh",
        Outcome::Renewed(_) => name(call) == "renew",
        Outcome::SubRenewed(_) => name(call) == "sub_renew",
        Outcome::Top(..) => name(call) == "top",
        Outcome::ReadOn(_) => name(call) == "read on",
        Outcome::Done => matches!(
            name(call),
            "leave" | "announce join" | "renew presence" | "deregister"
        ),
        Outcome::Reply(_) => {
            matches!(
                name(call),
                "publish" | "presence" | "presence_stats" | "history" | "rpc"
            )
        }
    }
}

fn identified() -> Identified {
    Identified {
        user: "42".into(),
        ..Identified::default()
    }
}

fn subscribe(channel: &str) -> Request {
    Request::Subscribe(Box::new(SubscribeRequest {
        channel: channel.into(),
        ..SubscribeRequest::default()
    }))
}

fn recover(channel: &str, offset: u64, epoch: &str) -> Request {
    Request::Subscribe(Box::new(SubscribeRequest {
        channel: channel.into(),
        recover: true,
        offset,
        epoch: epoch.to_owned(),
        ..SubscribeRequest::default()
    }))
}

fn recoverable() -> SubscribeOptions {
    SubscribeOptions {
        positioned: true,
        recoverable: true,
        ..SubscribeOptions::default()
    }
}

fn position(offset: u64, epoch: &str) -> StreamPosition {
    StreamPosition {
        offset,
        epoch: epoch.into(),
    }
}

fn publication(offset: u64) -> Arc<Publication> {
    Arc::new(Publication {
        offset,
        data: Bytes::from_static(b"1"),
        ..Publication::default()
    })
}

/// What stands for the complete publication behind a delta.
const COMPLETE: &[u8] = b"complete";

/// A publication for one subscription; its frame is the offset as text.
fn delivery(key: SubscriptionKey, offset: u64, epoch: &str) -> Delivery {
    let event = ChannelEvent::Publication(publication(offset), Epoch::from(epoch));
    let frame = Frame::Finished(Bytes::from(offset.to_string()));
    Delivery {
        key,
        broadcast: Arc::new(Broadcast {
            channel: Channel::from("ch"),
            event,
            watch: None,
        }),
        skipped: 0,
        frame,
    }
}
