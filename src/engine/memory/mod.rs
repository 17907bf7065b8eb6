//! Single-node engine: history rings, idempotency results and presence in the memory of this process.
//!
//! Owns all streams and the one task that forgets what has expired. A publication takes the road of every engine:
//! reserve a slot in the event queue, then lock the channel's shard, append, send, unlock; nothing is awaited under
//! a lock. A publish without history and key touches no lock and keeps nothing. Never delivers by itself: the node
//! reads the event queue. A restart loses everything and begins new epochs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};
use tracing::Instrument as _;

use self::{
    presence::Members,
    results::Results,
    shards::Shards,
    stream::{Appended, Streams},
};
use super::{
    Broker, Control, Engine, Error, Event, EventSender, History, HistoryQuery, Presence,
    PresenceStats, PublishOptions, PublishResult, Slot, Suppressed,
};
use crate::model::{
    Channel, ChannelEvent, ClientId, ClientInfo, Control as ControlCommand, Epoch, NodeId,
    Publication, StreamPosition,
};

mod deadlines;
mod expiry;
mod presence;
mod results;
mod shards;
mod stream;
#[cfg(test)]
mod tests;

/// The memory engine. Implements [`Broker`], [`Presence`] and [`Control`].
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    /// The sweeping task; aborted when the engine is dropped without [`Broker::close`].
    tasks: Mutex<JoinSet<()>>,
}

/// What the engine and its sweeping task hold together.
#[derive(Debug)]
struct Shared {
    events: EventSender,
    closed: AtomicBool,
    /// Streams and idempotency results of a channel are under one lock: a publish decides with both.
    state: Shards<State>,
    presence: Shards<HashMap<Channel, Members>>,
}

/// What a shard keeps of its channels.
#[derive(Debug, Default)]
struct State {
    streams: Streams,
    results: Results,
}

impl Memory {
    /// Creates the engine and starts its sweeping task; must be called inside a Tokio runtime.
    ///
    /// Everything that happens in a channel goes into `events`.
    #[must_use]
    pub fn new(events: EventSender) -> Self {
        let shared = Arc::new(Shared {
            events,
            closed: AtomicBool::new(false),
            state: Shards::new(),
            presence: Shards::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(
            expiry::sweep_every_second(Arc::clone(&shared))
                .instrument(tracing::info_span!("memory_engine")),
        );
        Self {
            shared,
            tasks: Mutex::new(tasks),
        }
    }

    /// The engine as a node holds it.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        let memory = Arc::new(self);
        Engine {
            broker: Arc::clone(&memory) as Arc<dyn Broker>,
            presence: Arc::clone(&memory) as Arc<dyn Presence>,
            control: memory,
        }
    }
}

impl Shared {
    fn ensure_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// A place for one event of the channel. Checked again after the wait, for a close may have come in between.
    async fn reserve(&self, channel: &Channel) -> Result<Slot<'_>, Error> {
        self.ensure_open()?;
        let slot = self.events.reserve(channel).await?;
        self.ensure_open()?;
        Ok(slot)
    }

    /// Idempotency, version, append and announcement of one publication: one step under the channel's lock.
    fn publish_locked(
        &self,
        slot: Slot<'_>,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> PublishResult {
        let now = Instant::now();
        let idempotency = options.idempotency();
        let mut state = self.state.lock(channel);
        if let Some((key, _)) = idempotency
            && let Some(position) = state.results.find(now, channel, key)
        {
            return suppressed(position.clone(), Suppressed::Idempotency);
        }
        let position = if options.has_history() {
            match state.streams.append(now, channel, publication, options) {
                Appended::Suppressed(top) => return suppressed(top, Suppressed::Version),
                Appended::Accepted(publication, position) => {
                    slot.send(Event::Channel(
                        channel.clone(),
                        ChannelEvent::Publication(publication, position.epoch.clone()),
                    ));
                    position
                }
            }
        } else {
            slot.send(unkept(channel, publication));
            StreamPosition::default()
        };
        if let Some((key, ttl)) = idempotency {
            let until = deadlines::after(now, ttl);
            state
                .results
                .remember(channel, key, position.clone(), until);
        }
        PublishResult {
            position,
            suppressed: None,
        }
    }
}

fn suppressed(position: StreamPosition, why: Suppressed) -> PublishResult {
    PublishResult {
        position,
        suppressed: Some(why),
    }
}

/// The event of a publication without a stream: no offset, no epoch, whatever the caller had put there.
fn unkept(channel: &Channel, mut publication: Publication) -> Event {
    publication.offset = 0;
    publication.epoch = Epoch::default();
    Event::Channel(
        channel.clone(),
        ChannelEvent::Publication(Arc::new(publication), Epoch::default()),
    )
}

#[async_trait]
impl Broker for Memory {
    async fn subscribe(&self, _channel: &Channel) -> Result<(), Error> {
        self.shared.ensure_open()
    }

    async fn unsubscribe(&self, _channel: &Channel) -> Result<(), Error> {
        self.shared.ensure_open()
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let slot = self.shared.reserve(channel).await?;
        if options.has_history() || options.idempotency().is_some() {
            return Ok(self
                .shared
                .publish_locked(slot, channel, publication, options));
        }
        slot.send(unkept(channel, publication));
        Ok(PublishResult::default())
    }

    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error> {
        let slot = self.shared.reserve(channel).await?;
        slot.send(Event::Channel(channel.clone(), event));
        Ok(())
    }

    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error> {
        self.shared.ensure_open()?;
        query.validate()?;
        let mut state = self.shared.state.lock(channel);
        state.streams.read(Instant::now(), channel, query)
    }

    async fn remove_history(&self, channel: &Channel, _meta_ttl: Duration) -> Result<(), Error> {
        self.shared.ensure_open()?;
        let removed = {
            let mut state = self.shared.state.lock(channel);
            state.streams.clear(Instant::now(), channel)
        };
        // Freed outside the lock: a stream may hold very many payloads.
        drop(removed);
        Ok(())
    }

    async fn ready(&self) -> Result<(), Error> {
        self.shared.ensure_open()
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }
}

#[async_trait]
impl Presence for Memory {
    async fn add(&self, channel: &Channel, info: &Arc<ClientInfo>) -> Result<(), Error> {
        self.shared.ensure_open()?;
        let mut channels = self.shared.presence.lock(channel);
        match channels.get_mut(channel) {
            Some(members) => members.add(info),
            None => channels.entry(channel.clone()).or_default().add(info),
        }
        Ok(())
    }

    async fn remove(&self, channel: &Channel, client: &ClientId) -> Result<(), Error> {
        self.shared.ensure_open()?;
        let mut channels = self.shared.presence.lock(channel);
        if let Some(members) = channels.get_mut(channel) {
            members.remove(client);
            if members.is_empty() {
                channels.remove(channel);
                deadlines::give_back(&mut channels);
            }
        }
        Ok(())
    }

    async fn list(&self, channel: &Channel) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        self.shared.ensure_open()?;
        let channels = self.shared.presence.lock(channel);
        Ok(channels.get(channel).map(Members::list).unwrap_or_default())
    }

    async fn stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        self.shared.ensure_open()?;
        let channels = self.shared.presence.lock(channel);
        Ok(channels
            .get(channel)
            .map(Members::stats)
            .unwrap_or_default())
    }

    async fn ready(&self) -> Result<(), Error> {
        self.shared.ensure_open()
    }
}

#[async_trait]
impl Control for Memory {
    /// There is no other node.
    async fn send(&self, _to: Option<&NodeId>, _command: &ControlCommand) -> Result<(), Error> {
        self.shared.ensure_open()
    }
}
