//! The bounded queues between an engine and its node: N pumps, a channel always in the same one, so order is kept.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Error, Event};
use crate::model::Channel;

/// One pump's end of the queues. Cancel safe.
pub type EventReceiver = mpsc::Receiver<Event>;

/// The engine's end of the queues.
#[derive(Clone, Debug)]
pub struct EventSender {
    pumps: std::sync::Arc<[mpsc::Sender<Event>]>,
    hasher: RandomState,
    timeout: Duration,
}

/// A reserved place in a queue; using it cannot fail and does not wait.
pub type Slot<'a> = mpsc::Permit<'a, Event>;

/// Opens `pumps` queues of `capacity` events each; a reservation waits at most `timeout`.
#[must_use]
pub fn channel(
    pumps: usize,
    capacity: usize,
    timeout: Duration,
) -> (EventSender, Vec<EventReceiver>) {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..pumps.max(1)).map(|_| mpsc::channel(capacity)).unzip();
    (
        EventSender {
            pumps: senders.into(),
            hasher: RandomState::new(),
            timeout,
        },
        receivers,
    )
}

impl EventSender {
    /// Events that wait, by pump.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> {
        let taken = |pump: &mpsc::Sender<Event>| pump.max_capacity() - pump.capacity();
        self.pumps.iter().map(taken)
    }

    /// Reserves a place for an event of this channel.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is none within the time limit, [`Error::Closed`] when the node is gone.
    pub async fn reserve(&self, channel: &Channel) -> Result<Slot<'_>, Error> {
        self.reserve_for(channel.as_str()).await
    }

    /// Reserves a place for an event that keeps its order among those of the same key.
    ///
    /// # Errors
    /// As [`EventSender::reserve`].
    pub async fn reserve_for(&self, key: &str) -> Result<Slot<'_>, Error> {
        let pumps = self.pumps.len() as u64;
        let pump = usize::try_from(self.hasher.hash_one(key) % pumps).unwrap_or(0);
        if let Ok(slot) = self.pumps[pump].try_reserve() {
            return Ok(slot);
        }
        match tokio::time::timeout(self.timeout, self.pumps[pump].reserve()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_closed)) => Err(Error::Closed),
            Err(_elapsed) => Err(Error::Overloaded(self.timeout)),
        }
    }
}
