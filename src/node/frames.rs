//! Counters of frames by type (metrics.md 6), resolved once per transport so that a delivery pays an addition, not a lookup.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter};

use super::metrics::Metrics;
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
    "error",
];

/// Place of a publication push.
pub(super) const PUBLICATION: usize = 3;

/// Place of a connect, whichever way it is answered.
pub(super) const CONNECT: usize = 10;

/// Counters of one transport.
#[derive(Debug)]
pub(super) struct Frames {
    sent: Box<[IntCounter]>,
    sent_size: Box<[IntCounter]>,
    received: Box<[IntCounter]>,
    durations: Box<[Histogram]>,
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
        let resolve = |family: &prometheus::IntCounterVec| {
            NAMES
                .iter()
                .map(|name| family.with_label_values(&[transport, name, ""]))
                .collect()
        };
        let frames = Arc::new(Frames {
            sent: resolve(&metrics.wire.sent),
            sent_size: resolve(&metrics.wire.sent_size),
            received: resolve(&metrics.wire.received),
            durations: NAMES
                .iter()
                .map(|name| metrics.wire.command_duration.with_label_values(&[name, ""]))
                .collect(),
        });
        Arc::clone(self.0.write().entry(transport).or_insert(frames))
    }
}

impl Frames {
    /// Counts frames of one type that are about to be written.
    pub(super) fn sent(&self, kind: usize, frames: u64, bytes: usize) {
        self.sent[kind].inc_by(frames);
        self.sent_size[kind].inc_by(bytes as u64);
    }

    /// Observes how long a command took.
    pub(super) fn answered(&self, kind: usize, seconds: f64) {
        self.durations[kind].observe(seconds);
    }

    /// Counts a command.
    pub(super) fn received(&self, kind: usize) {
        self.received[kind].inc();
    }
}

/// Name of a frame type.
pub(super) const fn name(kind: usize) -> &'static str {
    NAMES[kind]
}

/// Type of a reply or push.
pub(super) const fn of_reply(body: &ReplyBody) -> usize {
    match body {
        ReplyBody::Ping => 0,
        ReplyBody::Pong => 1,
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
        ReplyBody::Error(_) => 22,
    }
}

/// Type of a command.
pub(super) const fn of_request(request: &Request) -> usize {
    match request {
        Request::Ping => 0,
        Request::Pong => 1,
        Request::Connect(_) => CONNECT,
        Request::Subscribe(_) => 11,
        Request::Publish(_) => 12,
        Request::Unsubscribe(_) => 13,
        Request::Rpc(_) => 14,
        Request::Presence(_) => 15,
        Request::PresenceStats(_) => 16,
        Request::History(_) => 17,
        Request::Refresh(_) => 18,
        Request::SubRefresh(_) => 19,
        Request::Send(_) => 20,
        Request::UnknownMethod | Request::Nothing => 21,
    }
}
