//! Which channels this node wants from its engine: those with a local subscriber.
//!
//! Changes of one channel are made one after another, so that a late unsubscribe never undoes a newer subscribe.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::Mutex;

use super::Shared;
use crate::{engine::Error, hub::Subscriber, model::Channel};

const LOCKS: usize = 64;

/// Serialises the interest in a channel.
#[derive(Debug)]
pub(super) struct Interest {
    locks: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Interest {
    pub(super) fn new() -> Self {
        Self {
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }

    fn lock(&self, channel: &Channel) -> &Mutex<()> {
        let index = self.hasher.hash_one(channel) % LOCKS as u64;
        &self.locks[usize::try_from(index).unwrap_or(0)]
    }

    /// Adds a subscriber; the first of a channel subscribes the node to it, before anything else happens.
    pub(super) async fn join(
        &self,
        shared: &Shared,
        channel: &Channel,
        subscriber: Subscriber,
    ) -> Result<(), Error> {
        let _guard = self.lock(channel).lock().await;
        shared.metrics.action("add_subscription");
        if shared.hub.join(channel, subscriber) {
            shared.metrics.action("broker_subscribe");
            shared.engine.broker.subscribe(channel).await?;
        }
        Ok(())
    }

    /// After a leave: without a subscriber the node is not interested any more.
    pub(super) async fn settle(&self, shared: &Shared, channel: &Channel) {
        let _guard = self.lock(channel).lock().await;
        if shared.hub.has(channel) {
            return;
        }
        shared.metrics.action("broker_unsubscribe");
        if let Err(error) = shared.engine.broker.unsubscribe(channel).await {
            tracing::error!(%error, %channel, "error unsubscribing from channel");
        }
    }
}
