//! Which channels this node wants from its engine: those with a local subscriber.
//!
//! Changes of one channel are made one after another, so that a late unsubscribe never undoes a newer subscribe; channels
//! do not wait for each other. A channel that has lost its last subscriber is kept for a while, as many come back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as Turns, Notify, OwnedMutexGuard},
    time::{Instant, sleep_until},
};

use super::Shared;
use crate::{engine::Error, hub::Subscriber, model::Channel};

/// Time from the last leave of a channel to the unsubscribe (engines.md 1.4).
const KEPT: Duration = Duration::from_secs(1);
/// Time after which an unsubscribe that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Unsubscribes at a time.
const AT_A_TIME: usize = 64;

const SHARDS: usize = 64;

/// The interest of a node in channels.
#[derive(Debug)]
pub(super) struct Interest {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    leaving: Mutex<Leaving>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    /// Channels the engine has confirmed.
    subscribed: HashSet<Channel>,
    /// Channels somebody works on.
    turns: HashMap<Channel, Arc<Turns<()>>>,
}

/// Channels without subscriber, by the time of their unsubscribe. A channel is here at most once.
#[derive(Debug, Default)]
struct Leaving {
    queue: BTreeMap<(Instant, u64), Channel>,
    places: HashMap<Channel, (Instant, u64)>,
    last: u64,
}

impl Leaving {
    /// False when it is there already.
    fn insert(&mut self, channel: &Channel, due: Instant) -> bool {
        if self.places.contains_key(channel) {
            return false;
        }
        self.last += 1;
        self.queue.insert((due, self.last), channel.clone());
        self.places.insert(channel.clone(), (due, self.last));
        true
    }

    fn remove(&mut self, channel: &Channel) {
        if let Some(place) = self.places.remove(channel) {
            self.queue.remove(&place);
        }
    }

    /// Takes what is due.
    fn take(&mut self, now: Instant) -> Vec<Channel> {
        let mut due = Vec::new();
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= now
        {
            let channel = first.remove();
            self.places.remove(&channel);
            due.push(channel);
        }
        due
    }

    fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }
}

/// The right to work on a channel, which is made when it is wanted and forgotten with the last who wants it.
struct Turn<'a> {
    shard: &'a Mutex<Shard>,
    channel: &'a Channel,
    turns: Arc<Turns<()>>,
}

impl Turn<'_> {
    async fn taken(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turns).lock_owned().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut shard = self.shard.lock();
        // The table's and this one: others are made under the lock that is held.
        if Arc::strong_count(&self.turns) == 2 {
            shard.turns.remove(self.channel);
        }
    }
}

impl Interest {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            leaving: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn shard(&self, channel: &Channel) -> &Mutex<Shard> {
        let index = self.hasher.hash_one(channel) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }

    fn turn<'a>(&'a self, channel: &'a Channel) -> Turn<'a> {
        let shard = self.shard(channel);
        let turns = Arc::clone(shard.lock().turns.entry(channel.clone()).or_default());
        Turn {
            shard,
            channel,
            turns,
        }
    }

    /// Adds a subscriber; the first of a channel subscribes the node to it, before anything else happens.
    pub(super) async fn join(
        &self,
        shared: &Shared,
        channel: &Channel,
        subscriber: Subscriber,
    ) -> Result<(), Error> {
        let turn = self.turn(channel);
        let _taken = turn.taken().await;
        shared.metrics.action("add_subscription");
        shared.hub.join(channel, subscriber);
        self.leaving.lock().remove(channel);
        if self.shard(channel).lock().subscribed.contains(channel) {
            return Ok(());
        }
        shared.metrics.action("broker_subscribe");
        shared.engine.broker.subscribe(channel).await?;
        self.shard(channel)
            .lock()
            .subscribed
            .insert(channel.clone());
        Ok(())
    }

    /// After a leave: without a subscriber the node is soon not interested any more.
    pub(super) fn settle(&self, shared: &Shared, channel: &Channel) {
        if !shared.hub.has(channel) {
            self.later(channel, KEPT);
        }
    }

    fn unconfirm(&self, channel: &Channel) {
        let mut shard = self.shard(channel).lock();
        shard.subscribed.remove(channel);
        let (len, capacity) = (shard.subscribed.len(), shard.subscribed.capacity());
        if capacity > 64 && len * 4 < capacity {
            shard.subscribed.shrink_to(len * 2);
        }
    }

    fn later(&self, channel: &Channel, wait: Duration) {
        if self.leaving.lock().insert(channel, Instant::now() + wait) {
            self.changed.notify_one();
        }
    }

    /// Unsubscribes from a channel that has still no subscriber.
    async fn unsubscribe(&self, shared: &Shared, channel: &Channel) {
        let turn = self.turn(channel);
        let _taken = turn.taken().await;
        if shared.hub.has(channel) {
            return;
        }
        // First: whatever comes of it, who joins next subscribes again.
        self.unconfirm(channel);
        shared.metrics.action("broker_unsubscribe");
        match shared.engine.broker.unsubscribe(channel).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                if shared.quiet.allows("unsubscribe", 0) {
                    tracing::error!(%error, %channel, "error unsubscribing from channel");
                }
                self.later(channel, RETRY);
            }
        }
    }
}

/// Unsubscribes from channels that nobody came back to, until the node stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let interest = &shared.interest;
    let working = async {
        loop {
            let changed = interest.changed.notified();
            let (due, next) = {
                let mut leaving = interest.leaving.lock();
                (leaving.take(Instant::now()), leaving.next())
            };
            if !due.is_empty() {
                futures_util::stream::iter(due)
                    .for_each_concurrent(AT_A_TIME, |channel| {
                        let shared = Arc::clone(&shared);
                        async move { shared.interest.unsubscribe(&shared, &channel).await }
                    })
                    .await;
            } else if let Some(next) = next {
                // What comes later is due later, save for a retry, which may wait for half a second more.
                sleep_until(next).await;
            } else {
                changed.await;
            }
        }
    };
    shared.stop.run_until_cancelled(working).await;
}

#[cfg(test)]
impl Interest {
    /// Nobody works on a channel.
    pub(super) fn is_idle(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.all(|shard| shard.lock().turns.is_empty())
    }
}
