//! Who on this node listens to what: connections by client and by user, subscribers by channel, all in 64 shards.
//!
//! Synchronous: nothing here awaits, and no lock is held while anything but a queue push happens.
//! Never calls an engine and never looks into a session.

mod fanout;
mod mailbox;
mod numbers;
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
    protocol::frame::{Style, WireForm},
};

pub(crate) use mailbox::{Mail, Mailbox};
use numbers::Numbers;
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
    /// What it negotiated beside that.
    pub(crate) style: Style,
    /// Whether it wants joins and leaves.
    pub(crate) join_leave: bool,
}

/// The subscribers of one channel.
#[derive(Debug, Default)]
struct Subscribers {
    by_place: IndexMap<(u64, SubscriptionKey), Subscriber, RandomState>,
    /// Stands for the channel's name in compact pushes; 0 until somebody wants one.
    number: u32,
}

/// Subscribers by channel.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Box<[RwLock<std::collections::HashMap<Channel, Subscribers>>]>,
    hasher: RandomState,
    subscriptions: AtomicU64,
    numbers: Numbers,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            subscriptions: AtomicU64::new(0),
            numbers: Numbers::default(),
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
        let first = subscribers.by_place.is_empty();
        if subscriber.style.compact && subscribers.number == 0 {
            subscribers.number = self.numbers.take();
        }
        let place = (subscriber.mailbox.serial(), subscriber.key);
        if subscribers.by_place.insert(place, subscriber).is_none() {
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
        let number = subscribers.number;
        let subscribers = &mut subscribers.by_place;
        if subscribers.swap_remove(&(mailbox.serial(), key)).is_none() {
            return false;
        }
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if subscribers.is_empty() {
            shard.remove(channel);
            self.numbers.give(number);
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

    /// The number that stands for a channel's name; 0 when nobody has asked for one.
    pub(crate) fn number(&self, channel: &Channel) -> u32 {
        let shard = self.shard(channel).read();
        shard
            .get(channel)
            .map_or(0, |subscribers| subscribers.number)
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
                visit(channel, subscribers.by_place.len());
            }
        }
    }
}

#[cfg(test)]
mod tests;
