//! Results of publishes with an idempotency key (engines.md 1.3 rule 4).
//!
//! Keyed by the pair of channel and key; lives from the first publish on, whatever comes later.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::deadlines::{self, Deadlines};
use crate::model::{Channel, StreamPosition};

/// The results of one shard.
#[derive(Debug, Default)]
pub(super) struct Results {
    by_channel: HashMap<Channel, HashMap<Arc<str>, Remembered>>,
    deadlines: Deadlines<(Channel, Arc<str>)>,
}

#[derive(Debug)]
struct Remembered {
    position: StreamPosition,
    until: Instant,
}

impl Results {
    /// The remembered result of a key, unless its life is over.
    pub(super) fn find(
        &self,
        now: Instant,
        channel: &Channel,
        key: &str,
    ) -> Option<&StreamPosition> {
        let found = self.by_channel.get(channel)?.get(key)?;
        (found.until > now).then_some(&found.position)
    }

    /// Remembers the result of a first publish.
    pub(super) fn remember(
        &mut self,
        channel: &Channel,
        key: &str,
        position: StreamPosition,
        until: Instant,
    ) {
        let key: Arc<str> = Arc::from(key);
        self.deadlines
            .push(until, (channel.clone(), Arc::clone(&key)));
        self.by_channel
            .entry(channel.clone())
            .or_default()
            .insert(key, Remembered { position, until });
    }

    /// Forgets at most `batch` results whose life is over; true when there may be more.
    pub(super) fn sweep(&mut self, now: Instant, batch: usize) -> bool {
        for _ in 0..batch {
            let Some((_, (channel, key))) = self.deadlines.pop_due(now) else {
                deadlines::give_back(&mut self.by_channel);
                self.deadlines.give_back();
                return false;
            };
            self.forget(now, &channel, &key);
        }
        true
    }

    /// Forgets one result, unless the key was remembered anew since its deadline was queued.
    fn forget(&mut self, now: Instant, channel: &Channel, key: &str) {
        let Some(keys) = self.by_channel.get_mut(channel) else {
            return;
        };
        if keys.get(key).is_some_and(|found| found.until <= now) {
            keys.remove(key);
        }
        if keys.is_empty() {
            self.by_channel.remove(channel);
        } else {
            deadlines::give_back(keys);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_channel.values().map(HashMap::len).sum::<usize>() + self.deadlines.len()
    }
}
