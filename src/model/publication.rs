//! What travels through a channel, and how it is handed to one subscriber.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;

use super::{Channel, ClientInfo, TraceContext};

/// Identity of one life of a stream; opaque. A stream that was lost or created anew has another one.
///
/// The empty epoch is `None` inside: it travels with every publication of a channel without history and must not allocate.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Epoch(Option<Arc<str>>);

impl Epoch {
    /// The epoch as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// True when nothing is known of the stream.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<&str> for Epoch {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }
}

impl From<String> for Epoch {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A place in the stream of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Number of the last publication, from 1; 0 is before the first. Below 2⁵³.
    pub offset: u64,
    /// Life of the stream the offset counts in; empty when unknown.
    pub epoch: Epoch,
}

/// Tags of a publication; shared, `None` when there are none.
pub type Tags = Option<Arc<BTreeMap<String, String>>>;

/// One message of a channel (client-protocol.md 1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Position in the stream, from 1; 0 when the channel keeps no history.
    pub offset: u64,
    /// Epoch to tell clients: set on the publication with offset 1, otherwise empty.
    pub epoch: Epoch,
    /// Payload, byte for byte as published.
    pub data: Bytes,
    /// Publisher, only when a client published.
    pub info: Option<Arc<ClientInfo>>,
    /// Tags given by the publisher.
    pub tags: Tags,
    /// Version given by the publisher; 0 for none.
    pub version: u64,
    /// When the publishing node took it, Unix milliseconds; used to measure lag, never sent to clients.
    pub time: i64,
    /// The span that published, when the trace is recorded; never sent to clients. Boxed, as most have none.
    pub trace: Option<Box<TraceContext>>,
}

/// Something that happens in a channel, on its way from the engine to the subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// A publication and, for streams, the epoch it belongs to (empty without history).
    Publication(Arc<Publication>, Epoch),
    /// A client joined.
    Join(Arc<ClientInfo>),
    /// A client left.
    Leave(Arc<ClientInfo>),
    /// Publications were lost for good: a positioned subscriber must recover by itself (engines.md 1.10). Who stands in the
    /// epoch of this position, at it or past it, has missed nothing; without one everybody has.
    InsufficientState(Option<StreamPosition>),
}

/// Names one subscription of one connection, also across a quick leave and re-join of the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey {
    /// Place in the connection's table.
    pub slot: u32,
    /// Counts the subscriptions of the connection; a late delivery of an older one is recognised by it.
    pub generation: u32,
}

/// A channel event together with its channel: one value, shared by all its subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Channel the event happened in.
    pub channel: Channel,
    /// What happened.
    pub event: ChannelEvent,
    /// Somebody wants to know when it has reached everybody.
    pub watch: Option<Watch>,
}

/// Kept by everyone who has still to do with an event. What is inside is dropped when the last one lets go.
#[derive(Clone)]
pub struct Watch {
    _inside: Arc<dyn Send + Sync>,
}

impl Watch {
    /// Something that notices by its own end.
    #[must_use]
    pub fn new(inside: Arc<dyn Send + Sync>) -> Self {
        Self { _inside: inside }
    }
}

/// Who watches is no part of what happened.
impl PartialEq for Watch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Watch {}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// One event handed to one subscriber. Two reference counts, no copy.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The subscription it is for.
    pub key: SubscriptionKey,
    /// What happened where.
    pub broadcast: Arc<Broadcast>,
    /// Finished bytes in the subscriber's wire form; `None` when the payload cannot be written in it.
    pub frame: Option<Bytes>,
}
