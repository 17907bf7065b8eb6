//! Counters of frames by type (metrics.md 6), resolved once per transport so that a delivery pays an addition, not a lookup.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::metrics::{self, Metrics};
use crate::protocol::{PushBody, ReplyBody, Request};

/// Frame types of metrics.md 3, in the order of their indices.
const NAMES: [&str; 23] = [
    "server_ping",
    "client_pong",
    "push_subscribe",
    "push_publication",
    "push_join",
    "push_leave",
    "push_unsubscribe",
    "push_message",
    "push_refresh",
    "push_disconnect",
    "connect",
    "subscribe",
    "publish",
    "unsubscribe",
    "rpc",
    "presence",
    "presence_stats",
    "history",
    "refresh",
    "sub_refresh",
    "send",
    "unknown",
    "push_connect",
];

/// Place of a publication push.
pub(super) const PUBLICATION: usize = 3;
/// Place of a subscribe.
pub(super) const SUBSCRIBE: usize = 11;
/// Place of the answer to a ping.
pub(super) const PONG: usize = 1;
/// Place of what is none of the others.
const UNKNOWN: usize = 21;

/// Place of a connect, whichever way it is answered.
pub(super) const CONNECT: usize = 10;

/// Counters of one transport. A series shows from its first use on.
#[derive(Debug)]
pub(super) struct Frames {
    transport: &'static str,
    sent: Kinds,
    received: Kinds,
    pongs: OnceLock<Histogram>,
}

/// Messages and bytes by frame type.
#[derive(Debug)]
struct Kinds {
    families: (IntCounterVec, IntCounterVec),
    series: [OnceLock<(IntCounter, IntCounter)>; NAMES.len()],
}

/// Counters by transport.
#[derive(Debug, Default)]
pub(super) struct ByTransport(RwLock<HashMap<&'static str, Arc<Frames>>>);

impl ByTransport {
    /// The counters of a transport; made on first use.
    pub(super) fn of(&self, transport: &'static str, metrics: &Metrics) -> Arc<Frames> {
        if let Some(frames) = self.0.read().get(transport) {
            return Arc::clone(frames);
        }
        let frames = Arc::new(Frames {
            transport,
            sent: Kinds::new(&metrics.wire.sent),
            received: Kinds::new(&metrics.wire.received),
            pongs: OnceLock::new(),
        });
        Arc::clone(self.0.write().entry(transport).or_insert(frames))
    }
}

impl Kinds {
    fn new(families: &(IntCounterVec, IntCounterVec)) -> Self {
        Self {
            families: families.clone(),
            series: [const { OnceLock::new() }; NAMES.len()],
        }
    }

    fn count(&self, transport: &str, kind: usize, frames: u64, bytes: usize) {
        let (messages, size) = self.series[kind].get_or_init(|| {
            let labels = [transport, NAMES[kind], ""];
            let (messages, size) = &self.families;
            (
                messages.with_label_values(&labels),
                size.with_label_values(&labels),
            )
        });
        messages.inc_by(frames);
        size.inc_by(bytes as u64);
    }
}

impl Frames {
    /// Counts frames of one type that are about to be written.
    pub(super) fn sent(&self, kind: usize, frames: u64, bytes: usize) {
        self.sent.count(self.transport, kind, frames, bytes);
    }

    /// Counts a command.
    pub(super) fn received(&self, kind: usize, bytes: usize) {
        self.received.count(self.transport, kind, 1, bytes);
    }

    /// A pong came so long after its ping.
    pub(super) fn pong(&self, metrics: &Metrics, seconds: f64) {
        self.pongs
            .get_or_init(|| metrics.wire.pongs.with_label_values(&[self.transport]))
            .observe(seconds);
    }
}

/// Place of a frame type among the durations of commands.
pub(super) fn method(kind: usize) -> Option<usize> {
    metrics::method(NAMES[kind])
}

/// Name of a frame type.
pub(super) const fn name(kind: usize) -> &'static str {
    NAMES[kind]
}

/// Type of a reply or push.
pub(super) const fn of_reply(body: &ReplyBody) -> usize {
    match body {
        ReplyBody::Ping => 0,
        ReplyBody::Push(push) => match push.body {
            PushBody::Connect(_) => CONNECT,
            PushBody::Subscribe(_) => 2,
            PushBody::Publication(_) => PUBLICATION,
            PushBody::Join(_) => 4,
            PushBody::Leave(_) => 5,
            PushBody::Unsubscribe(_) => 6,
            PushBody::Message(_) => 7,
            PushBody::Refresh(_) => 8,
            PushBody::Disconnect(_) => 9,
        },
        ReplyBody::Connect(_) => CONNECT,
        ReplyBody::Subscribe(_) => 11,
        ReplyBody::Publish => 12,
        ReplyBody::Unsubscribe => 13,
        ReplyBody::Rpc(_) => 14,
        ReplyBody::Presence(_) => 15,
        ReplyBody::PresenceStats(_) => 16,
        ReplyBody::History(_) => 17,
        ReplyBody::Refresh(_) => 18,
        ReplyBody::SubRefresh(_) => 19,
        ReplyBody::Error(_) | ReplyBody::Pong => UNKNOWN,
    }
}

/// Type of a command.
pub(super) const fn of_request(request: &Request) -> usize {
    match request {
        Request::Pong => PONG,
        Request::Connect(_) => CONNECT,
        Request::Subscribe(_) => SUBSCRIBE,
        Request::Publish(_) => 12,
        Request::Unsubscribe(_) => 13,
        Request::Rpc(_) => 14,
        Request::Presence(_) => 15,
        Request::PresenceStats(_) => 16,
        Request::History(_) => 17,
        Request::Refresh(_) => 18,
        Request::SubRefresh(_) => 19,
        Request::Send(_) => 20,
        Request::Ping | Request::UnknownMethod | Request::Nothing => UNKNOWN,
    }
}
