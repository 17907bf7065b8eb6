//! Who on this node listens to what: connections by client and by user, subscribers by channel, all in 64 shards.
//!
//! Synchronous: nothing here awaits, and no lock is held while anything but a queue push happens.
//! Never calls an engine and never looks into a session.

mod fanout;
mod mailbox;
mod registry;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indexmap::IndexMap;
use parking_lot::RwLock;

use crate::{
    model::{Channel, SubscriptionKey},
    protocol::frame::WireForm,
};

pub(crate) use mailbox::{Mail, Mailbox};
pub(crate) use registry::Registry;

const SHARDS: usize = 64;

/// One subscription as the hub sees it.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    /// Where its deliveries go.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Which subscription of the connection it is.
    pub(crate) key: SubscriptionKey,
    /// How its frames look.
    pub(crate) form: WireForm,
    /// Whether it wants joins and leaves.
    pub(crate) join_leave: bool,
}

type Subscribers = IndexMap<(u64, SubscriptionKey), Subscriber, RandomState>;

/// Subscribers by channel.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Box<[RwLock<std::collections::HashMap<Channel, Subscribers>>]>,
    hasher: RandomState,
    subscriptions: AtomicU64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            subscriptions: AtomicU64::new(0),
        }
    }

    fn shard(&self, channel: &Channel) -> &RwLock<std::collections::HashMap<Channel, Subscribers>> {
        let index = self.hasher.hash_one(channel) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }

    /// Adds a subscriber; true when it is the first of its channel on this node.
    pub(crate) fn join(&self, channel: &Channel, subscriber: Subscriber) -> bool {
        let mut shard = self.shard(channel).write();
        let subscribers = shard.entry(channel.clone()).or_default();
        let first = subscribers.is_empty();
        let place = (subscriber.mailbox.serial(), subscriber.key);
        if subscribers.insert(place, subscriber).is_none() {
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    /// Removes a subscriber; true when it was the last of its channel on this node.
    /// A key of an older generation removes nothing newer.
    pub(crate) fn leave(&self, channel: &Channel, mailbox: &Mailbox, key: SubscriptionKey) -> bool {
        let mut shard = self.shard(channel).write();
        let Some(subscribers) = shard.get_mut(channel) else {
            return false;
        };
        if subscribers.swap_remove(&(mailbox.serial(), key)).is_none() {
            return false;
        }
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if subscribers.is_empty() {
            shard.remove(channel);
            return true;
        }
        // A burst of subscribers must not keep its memory when it is gone.
        if subscribers.capacity() > 64 && subscribers.len() * 4 < subscribers.capacity() {
            subscribers.shrink_to(subscribers.len() * 2);
        }
        false
    }

    /// True when the channel has a subscriber on this node.
    pub(crate) fn has(&self, channel: &Channel) -> bool {
        self.shard(channel).read().contains_key(channel)
    }

    /// Number of channels with a subscriber.
    pub(crate) fn channels(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Number of subscriptions.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Calls `visit` for every channel and its number of subscribers, a shard at a time.
    pub(crate) fn each_channel(&self, mut visit: impl FnMut(&Channel, usize)) {
        for shard in &*self.shards {
            for (channel, subscribers) in &*shard.read() {
                visit(channel, subscribers.len());
            }
        }
    }
}

#[cfg(test)]
mod tests;
