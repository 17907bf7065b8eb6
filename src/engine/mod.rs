//! Where publications are ordered, kept and spread between nodes.
//!
//! Three narrow traits ([`Broker`], [`Presence`], [`Control`]) and one stream of [`Event`]s towards the node:
//! engines never call back. The stream is bounded: a publish first reserves its slot in it, so nothing is ever dropped
//! between an engine and the hub. Knows nothing of wire formats, connections or subscribers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::model::{
    Channel, ChannelEvent, ClientId, ClientInfo, Control as ControlCommand, Epoch, NodeId,
    Publication, StreamPosition,
};

#[cfg(test)]
pub(crate) mod contract;
mod events;
pub mod memory;
pub mod redis;
pub(crate) mod sequencer;
mod timed;
pub mod wire;

pub use events::{EventReceiver, EventSender, Slot, channel as event_channel};
pub(crate) use timed::timed;

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The `since` epoch is not the present one; carries the present position (error 112 for clients).
    #[error("position of another epoch")]
    UnrecoverablePosition(StreamPosition),
    /// `since` with offset 0 read backwards (error 107 for clients).
    #[error("reverse read from offset zero")]
    BadQuery,
    /// The event queue stayed full for `centripetal.publish_timeout`.
    #[error("no slot in the event queue within {0:?}")]
    Overloaded(Duration),
    /// A channel name that this engine cannot keep apart from others (error 107 for clients).
    #[error("channel name cannot be used: {0}")]
    BadChannel(&'static str),
    /// Redis did not do what it was asked, or nobody knows whether it did.
    #[error(transparent)]
    Redis(#[from] redis::Failure),
    /// The engine has been closed.
    #[error("engine is closed")]
    Closed,
}

/// How one publication is kept (engines.md 1.1).
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// Publications kept; 0 for none.
    pub history_size: usize,
    /// Sliding life of the stream, whole seconds; zero for no history.
    pub history_ttl: Duration,
    /// Life of offset and epoch, whole seconds.
    pub history_meta_ttl: Duration,
    /// A second publish of the same channel and key within `idempotent_result_ttl` returns the first result.
    pub idempotency_key: Option<String>,
    /// Life of idempotency results.
    pub idempotent_result_ttl: Duration,
    /// Epoch the publication's `version` counts in; empty counts in any.
    pub version_epoch: String,
    /// Give subscribers the payload of the publication before, to make a delta of (engines.md 1.3 rule 6).
    pub use_delta: bool,
}

/// Life of offset and epoch when the caller gives none (engines.md 1.1).
const DEFAULT_META_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Life of idempotency results when the caller gives none (engines.md 1.1).
const DEFAULT_IDEMPOTENT_RESULT_TTL: Duration = Duration::from_secs(300);

impl PublishOptions {
    /// True when the publication is appended to a stream (engines.md 1.3 rule 1).
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }

    /// Life of the stream as engines apply it.
    pub(crate) fn ttl(&self) -> Duration {
        whole_seconds(self.history_ttl, Duration::ZERO)
    }

    /// Life of offset and epoch as engines apply it.
    pub(crate) fn meta_ttl(&self) -> Duration {
        whole_seconds(self.history_meta_ttl, DEFAULT_META_TTL)
    }

    /// Key and life of the idempotency result, when the publish has a key.
    pub(crate) fn idempotency(&self) -> Option<(&str, Duration)> {
        let key = self.idempotency_key.as_deref()?;
        let ttl = whole_seconds(self.idempotent_result_ttl, DEFAULT_IDEMPOTENT_RESULT_TTL);
        (!key.is_empty()).then_some((key, ttl))
    }
}

/// Lives count in whole seconds; a fraction below one second must not become "at once" or "for ever" (engines.md 1.3 rule 9).
fn whole_seconds(ttl: Duration, default: Duration) -> Duration {
    if ttl.is_zero() {
        return default;
    }
    Duration::from_secs(ttl.as_secs().max(1))
}

/// Why a publish delivered nothing although it succeeded (engines.md 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppressed {
    /// The idempotency key was seen before.
    Idempotency,
    /// A newer or equal version is there.
    Version,
}

/// Where a publication landed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishResult {
    /// Position; zero and empty without history.
    pub position: StreamPosition,
    /// Set when nothing was delivered.
    pub suppressed: Option<Suppressed>,
}

/// Which part of a stream is read (engines.md 1.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Start after (before, when `reverse`) this position; `None` from the end of the retained part.
    pub since: Option<StreamPosition>,
    /// Most publications returned; `None` for all, `Some(0)` for the position only.
    pub limit: Option<usize>,
    /// Newest first.
    pub reverse: bool,
    /// Life of offset and epoch, moved by every read.
    pub meta_ttl: Duration,
}

impl HistoryQuery {
    /// Refuses what no engine answers: reading backwards from before the first publication (engines.md 1.5).
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let from_zero = self.since.as_ref().is_some_and(|since| since.offset == 0);
        if self.reverse && from_zero {
            return Err(Error::BadQuery);
        }
        Ok(())
    }

    /// Life of offset and epoch as engines apply it.
    pub(crate) fn meta_ttl(&self) -> Duration {
        whole_seconds(self.meta_ttl, DEFAULT_META_TTL)
    }
}

/// A read part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Publications in the asked order.
    pub publications: Vec<Arc<Publication>>,
    /// Top of the stream.
    pub position: StreamPosition,
}

/// Something for the node.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something happened in a channel.
    Channel(Channel, ChannelEvent),
    /// The same, but it was missed at first and has been read from history, maybe with many others at once.
    Late(Channel, ChannelEvent),
    /// Another node says something.
    Control(NodeId, Box<ControlCommand>),
}

/// Orders, keeps and spreads publications.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Starts to receive a channel: everything published after the return becomes an [`Event`]. Idempotent.
    async fn subscribe(&self, channel: &Channel) -> Result<(), Error>;

    /// Ends receiving a channel. Idempotent.
    async fn unsubscribe(&self, channel: &Channel) -> Result<(), Error>;

    /// Appends (when there is history) and spreads one publication; its `offset` and `epoch` are assigned here.
    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error>;

    /// Spreads a join or a leave; at most once, never kept.
    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error>;

    /// Reads history; creates the stream's epoch when there is none.
    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error>;

    /// Forgets the publications, keeps offset and epoch.
    async fn remove_history(&self, channel: &Channel, meta_ttl: Duration) -> Result<(), Error>;

    /// Whether it could do its work now; asked for the readiness of the node.
    async fn ready(&self) -> Result<(), Error>;

    /// Stops reader tasks; later calls fail with [`Error::Closed`].
    async fn close(&self);
}

/// Numbers of a channel's presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Connections.
    pub clients: usize,
    /// Distinct users; the empty user counts as one.
    pub users: usize,
}

/// Who is in a channel.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Adds or renews an entry.
    async fn add(&self, channel: &Channel, info: &Arc<ClientInfo>) -> Result<(), Error>;

    /// Removes an entry.
    async fn remove(&self, channel: &Channel, client: &ClientId) -> Result<(), Error>;

    /// All entries by connection.
    async fn list(&self, channel: &Channel) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error>;

    /// Numbers only.
    async fn stats(&self, channel: &Channel) -> Result<PresenceStats, Error>;

    /// Whether it could do its work now.
    async fn ready(&self) -> Result<(), Error>;
}

/// Carries commands to the other nodes, at most once. A node's own commands never come back to it, and what other nodes
/// send becomes an [`Event`] in the queue of [`ControlCommand::order_key`].
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Sends a command to one node, or to all others.
    async fn send(&self, to: Option<&NodeId>, command: &ControlCommand) -> Result<(), Error>;

    /// Stands for everything that nodes have to agree on to share channels; `None` where there is nothing.
    fn scheme(&self) -> Option<String> {
        None
    }
}

/// The three halves of an engine together, as a node holds them.
#[derive(Clone)]
pub struct Engine {
    /// Publications.
    pub broker: Arc<dyn Broker>,
    /// Presence.
    pub presence: Arc<dyn Presence>,
    /// Actions between nodes.
    pub control: Arc<dyn Control>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Epoch of a new stream: eight random letters (engines.md 0).
pub(crate) fn new_epoch() -> Epoch {
    use rand::RngExt as _;
    let mut rng = rand::rng();
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let text: String = (0..8)
        .map(|_| char::from(letters[rng.random_range(0..letters.len())]))
        .collect();
    Epoch::from(text)
}
