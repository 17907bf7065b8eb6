//! What travels through a channel, and how it is handed to one subscriber.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{Channel, ClientId, ClientInfo, TraceContext};

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
    /// Payload of the publication right before it in the stream, when it was published for deltas; never kept.
    pub previous: Option<Bytes>,
    /// `data` is a delta against the payload before; only on the way to or in a client.
    pub delta: bool,
    /// The connection that does not get it, usually the publisher; never sent to clients.
    pub except: Option<ClientId>,
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
    /// What is written.
    pub frame: Frame,
    /// So many publications right before this one were kept from the subscriber by its tags filter.
    pub skipped: u64,
}

/// The newest publications of a stream that a tags filter kept from a subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Everything after this offset up to `last` was kept from it.
    pub after: u64,
    /// The newest publication of the stream that was looked at.
    pub last: StreamPosition,
}

/// What one class of subscribers is sent; shared by all of them.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Finished bytes.
    Finished(Bytes),
    /// Finished bytes of a delta, for who has the payload before; the others are sent the complete publication.
    Delta(Bytes, Arc<Complete>),
    /// Nothing: it only moves the position.
    Withheld,
    /// The payload cannot be written in the encoding of the connection.
    Inappropriate,
}

impl Frame {
    /// Bytes it counts for.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Finished(bytes) | Self::Delta(bytes, _) => bytes.len(),
            Self::Withheld | Self::Inappropriate => 0,
        }
    }
}

impl From<Option<Bytes>> for Frame {
    fn from(finished: Option<Bytes>) -> Self {
        finished.map_or(Self::Inappropriate, Self::Finished)
    }
}

/// The complete publication behind a delta: finished by the first subscriber of the class who needs it, shared by the others.
#[derive(Debug, Default)]
pub struct Complete(OnceLock<Option<Bytes>>);

impl Complete {
    /// The finished bytes; `make` is asked once.
    pub fn get_or_make(&self, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        self.0.get_or_init(make).clone()
    }
}
