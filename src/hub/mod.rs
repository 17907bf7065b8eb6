//! Who on this node listens to what: connections by client and by user, subscribers by channel, all in 64 shards.
//!
//! Synchronous: nothing here awaits, and no lock is held while anything but a queue push happens.
//! Never calls an engine and never looks into a session.

mod audience;
mod fanout;
mod mailbox;
mod numbers;
mod registry;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use crate::{
    model::{Channel, Filter, SlowPolicy, SubscriptionKey, Withheld},
    protocol::frame::{Style, WireForm},
};

use audience::Audience;
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
    /// Which publications it wants; `None` for all.
    pub(crate) filter: Option<Arc<Filter>>,
    /// What happens when its connection reads too slowly.
    pub(crate) slow: SlowPolicy,
    /// It knows its position, so it can be brought up to date from history.
    pub(crate) positioned: bool,
}

/// Subscribers by channel.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Box<[RwLock<HashMap<Channel, Audience>>]>,
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

    fn shard(&self, channel: &Channel) -> &RwLock<HashMap<Channel, Audience>> {
        let index = self.hasher.hash_one(channel) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }

    /// Adds a subscriber; true when it is the first of its channel on this node.
    pub(crate) fn join(&self, channel: &Channel, subscriber: Subscriber) -> bool {
        let mut shard = self.shard(channel).write();
        let subscribers = shard.entry(channel.clone()).or_default();
        let first = subscribers.is_empty();
        if subscriber.style.compact && subscribers.number == 0 {
            subscribers.number = self.numbers.take();
        }
        if subscribers.insert(subscriber) {
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
        if !subscribers.remove(&(mailbox.serial(), key)) {
            return false;
        }
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if subscribers.is_empty() {
            let number = subscribers.number;
            shard.remove(channel);
            self.numbers.give(number);
            return true;
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

    /// What the tags filter of a subscriber kept from it last; `None` for a subscriber without one.
    pub(crate) fn withheld(
        &self,
        channel: &Channel,
        mailbox: &Mailbox,
        key: SubscriptionKey,
    ) -> Option<Withheld> {
        let shard = self.shard(channel).read();
        shard.get(channel)?.withheld(&(mailbox.serial(), key))
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
